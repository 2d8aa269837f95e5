"""What became of a command, on `ledger.replies`. No personal data; kept for minutes."""

from enum import StrEnum

from msgspec import UNSET, Struct, UnsetType


class Outcome(StrEnum):
    """APPLIED and REFUSED are facts with a receipt; the others left nothing behind. UNCHANGED: nothing new was said."""

    APPLIED = "applied"
    REFUSED = "refused"
    UNCHANGED = "unchanged"
    KEY_REUSED = "key_reused"
    LATE = "late"
    UNAVAILABLE = "unavailable"
    MALFORMED = "malformed"
    FAILED = "failed"


class Reply(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`correlation` is the asker's; `position` is where the outcome stands, `code` why it was refused.

    `object_id` is what was made besides an entry: a refund, a request, a settlement; `applied` of `amount` the wallet
    paid. `entries`: of a bulk record, one for each of its entries in their order; `position` is then the highest of theirs.
    """

    correlation: str
    outcome: Outcome
    code: str = ""
    message: str = ""
    position: str = ""
    replayed: bool = False
    time: str = ""
    registered: str = ""
    block_id: str = ""
    blocked: str = ""
    entry_id: str = ""
    currency: str = ""
    amount: int | UnsetType = UNSET
    balance_before: int | UnsetType = UNSET
    balance_after: int | UnsetType = UNSET
    object_id: str = ""
    is_partial: bool = False
    applied: int | UnsetType = UNSET
    entries: "list[Reply]" = []
