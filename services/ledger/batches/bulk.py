"""Records of many commands: each entry as if it came alone, or all of a customer's entries or none."""

from collections.abc import Sequence
from uuid import UUID

from events.codec import decode_envelope, decode_fact
from events.commands import CreditWallet, DebitWallet
from events.facts import CustomerCommandRefused, CustomerFact, Refusal, WalletDebitRefused
from events.ids import parse_position
from events.replies import Outcome, Reply
from services.ledger.batches.admission import Asked, Bulk, Rejected
from services.ledger.batches.batch import Batch
from services.ledger.batches.outcomes import Decided, Unsure
from services.ledger.batches.receipts import Receipt, ReceiptKey
from services.ledger.domain.together import Move, decide_together, refuse_together

_REFUSED = CustomerCommandRefused | WalletDebitRefused


def take(batch: Batch, bulk: Bulk) -> None:
    """Decide all entries; one answer holds their outcomes, in their order."""
    if bulk.otherwise is not None:
        replies = _known_or(batch, bulk.entries, bulk.otherwise)
    else:
        replies = _together(batch, bulk.entries) if bulk.all_or_nothing else _singly(batch, bulk.entries)
    highest = max((reply.position for reply in replies if reply.position), key=parse_position, default="")
    answer = Reply(correlation="", outcome=Outcome.APPLIED, position=highest, entries=replies)
    batch.dispose(bulk.record, bulk.command, answer)


def _singly(batch: Batch, entries: Sequence[Asked]) -> list[Reply]:
    replies = []
    for asked in entries:
        replies += batch.guarded([asked], lambda asked=asked: [batch.outcome(asked)])  # type: ignore[misc]
    return replies


def _known_or(batch: Batch, entries: Sequence[Asked], otherwise: Rejected) -> list[Reply]:
    """Answers of receipts; where there is none, nothing happens any more."""
    declined = Reply(
        correlation="", outcome=otherwise.outcome, code=otherwise.code, message=otherwise.message
    )
    replies = []
    for asked in entries:
        known = batch.prior(asked.key) is not None
        replies += batch.guarded(
            [asked],
            lambda asked=asked, known=known: [batch.outcome(asked) if known else declined],  # type: ignore[misc]
        )
    return replies


def _together(batch: Batch, entries: Sequence[Asked]) -> list[Reply]:
    """Customer by customer, in the order of their first entries."""
    places: dict[UUID, list[int]] = {}
    for place, asked in enumerate(entries):
        places.setdefault(asked.key.stream, []).append(place)
    replies: dict[int, Reply] = {}
    for group in places.values():
        own = [entries[place] for place in group]
        replies |= zip(group, batch.guarded(own, lambda own=own: _group(batch, own)), strict=True)  # type: ignore[misc]
    return [replies[place] for place in range(len(entries))]


def _group(batch: Batch, entries: Sequence[Asked]) -> list[Reply]:
    """What has a receipt has happened. The rest is decided together, if nothing of this customer failed before."""
    prints = [batch.hashed(asked) for asked in entries]
    priors = [batch.prior(asked.key) for asked in entries]
    reused = _reused(entries, prints, priors)
    if reused and not batch.sure:
        raise Unsure  # nothing is recorded, so the commit would not see that some of it happened before
    fresh: dict[ReceiptKey, tuple[Asked, str]] = {}
    for asked, hashed, prior in zip(entries, prints, priors, strict=True):
        if prior is None and not reused:
            fresh.setdefault(asked.key, (asked, hashed))
    told = dict(zip(fresh, _decided(batch, list(fresh.values()), priors), strict=True))
    replies = []
    for place, asked in enumerate(entries):
        if place in reused:
            replies.append(_nothing("IDEMPOTENCY_KEY_REUSED"))
        elif asked.key in told:
            replies.append(told.pop(asked.key))
        elif (receipt := batch.prior(asked.key)) is not None:  # of before, or of the same key in this record
            replies.append(batch.repeated(asked, receipt))
        else:
            replies.append(_nothing(Refusal.ANOTHER_ENTRY_FAILED.value))
    return replies


def _decided(
    batch: Batch, fresh: Sequence[tuple[Asked, str]], priors: Sequence[Receipt | None]
) -> list[Reply]:
    if not fresh:
        return []
    asks = [_move(asked) for asked, _ in fresh]
    customer = batch.customer(fresh[0][0].key.stream)
    facts: list[CustomerFact]
    if (failed := _failed_before(priors)) is not None:
        facts = refuse_together(asks, customer, failed)
    else:
        ids = [asked.command.id for asked, _ in fresh]
        facts = decide_together(asks, customer, [batch.given(asked) for asked, _ in fresh], ids)
    return batch.settle([Decided(*one, [fact]) for one, fact in zip(fresh, facts, strict=True)])


def _reused(entries: Sequence[Asked], prints: Sequence[str], priors: Sequence[Receipt | None]) -> set[int]:
    """Places whose key belongs to another request, of before or of this record."""
    known = {asked.key: prior.request_hash for asked, prior in zip(entries, priors, strict=True) if prior}
    return {
        place
        for place, (asked, hashed) in enumerate(zip(entries, prints, strict=True))
        if known.setdefault(asked.key, hashed) != hashed
    }


def _failed_before(priors: Sequence[Receipt | None]) -> str | None:
    """The command of an entry that was refused, when this record or another one brought it before."""
    for prior in priors:
        if prior is not None and isinstance(decode_fact(envelope := decode_envelope(prior.event)), _REFUSED):
            return envelope.commandid
    return None


def _nothing(code: str) -> Reply:
    """Neither applied nor recorded: a key belongs to another request."""
    return Reply(correlation="", outcome=Outcome.KEY_REUSED, code=code)


def _move(asked: Asked) -> Move:
    assert isinstance(asked.ask, CreditWallet | DebitWallet), "a bulk record is made of nothing else"
    return asked.ask
