"""What upstream's word and requests about it must do, said a second time: from docs/upstream.md, not from the deciders."""

import copy
from datetime import datetime
from typing import Any

import msgspec

from events.requests import RequestAsk
from events.upstream import RecordUpstream
from tests.proof.accounts import LARGEST, Account, Deal, Invoice, Naming, Plan, Rule, Said

FAILED = ("failed", "cancelled")
OVER = {
    "cancelled": "SUBSCRIPTION_INACTIVE",
    "failed": "SUBSCRIPTION_INACTIVE",
    "expired": "SUBSCRIPTION_EXPIRED",
}
GIVEN = {"top_up": "top_up", "refund_to_wallet": "refund", "dispute": "dispute_reversal",
         "payment_reversal": "payment_reversal"}  # fmt: skip
TAKEN = {"top_up": "top_up_reversal", "refund_to_wallet": "refund_reversal", "dispute": "dispute",
         "payment_reversal": "invoice_payment"}  # fmt: skip
CHANGES_TOLD = ("status", "cancel_at_next_billing_date", "next_billing_date")


def tell(account: Account, ask: RecordUpstream, currencies: set[str]) -> Said:
    """Of each object the newest counts; what is not newer changes nothing."""
    named, recorded = _name(account, ask), _hear(account, ask, currencies)
    fact = named or recorded
    return Said("applied", fact=fact) if fact else Said("unchanged")


def _name(account: Account, ask: RecordUpstream) -> int:
    """0, where nobody has to be called anything new."""
    said = msgspec.to_builtins(ask.customer)
    when = ask.told.time if said.get("name") or said.get("email") else ""
    nobody: dict[str, Any] = {
        "name": "",
        "email": "",
        "phone_number": None,
        "metadata": {},
        "preferred_locale": None,
    }
    if account.profile is None:
        account.profile = nobody | said
    elif account.named is None or account.closed or when <= account.named.when or said == account.named.said:
        return 0
    account.profile |= said
    account.named = Naming(when, said)
    return account.record()


def _hear(account: Account, ask: RecordUpstream, currencies: set[str]) -> int:
    """0, where as much is known."""
    kind = ask.TYPE.partition(".")[0]
    if kind == "upstream":
        return account.record()
    told = msgspec.to_builtins(getattr(ask, kind))
    name, moment = told[f"{kind}_id"], (ask.told.time, str(ask.told.updated or ""))
    object_ = kind, told["payment_id"] if kind in ("refund", "dispute") else "", name
    if moment <= account.heard.get(object_, ("", "")):
        return 0
    account.heard[object_] = moment
    if kind == "licence_key":
        return account.record(f"licence_key {name}")
    if kind == "subscription":
        _answer(account, account.plans.setdefault(name, Plan()), told)
        return account.record(f"subscription {name}")
    deal = account.deals.setdefault(told["payment_id"], Deal())
    if kind == "payment":
        _give_back_invoice(account, deal, told, ask.told.time)
        deal.payment = told
    elif kind == "refund":
        asked = deal.asked.get(name, {}) if "amount" not in told else {}
        deal.refunds[name] = told | asked
    else:
        deal.disputes[name] = told
    settle(account, deal, currencies)
    return account.record(f"payment {told['payment_id']}")


def _answer(account: Account, plan: Plan, told: dict[str, Any]) -> None:
    """The next news of a subscription answers what was asked; later ones, where they name it, that it is done after all."""
    if plan.request and (plan.is_open or told.get("request_id") == plan.request):
        wanted = {field: value for field, value in plan.asked.items() if field in CHANGES_TOLD}
        as_asked = all(told.get(field) == value for field, value in wanted.items())
        if plan.is_open or as_asked:
            account.notes.append(("answered", told["subscription_id"], plan.request, as_asked))
    plan.status, plan.is_open = told["status"], False


def _give_back_invoice(account: Account, deal: Deal, told: dict[str, Any], moment: str) -> None:
    """Once for each time that a payment of it turns to failed: what was settled until then."""
    turns = told["status"] in FAILED and (deal.payment is None or deal.payment["status"] not in FAILED)
    invoice = account.invoices.get(told.get("invoice_id", ""), Invoice())
    part = sum(amount for when, amount in invoice.open if _by_then(when, moment))
    if not turns or not part or deal.from_wallet[invoice.currency] + part > LARGEST:
        return
    account.record(f"invoice {told['invoice_id']}")
    account.notes.append(("returned", told["invoice_id"], told["payment_id"], invoice.currency, part))
    deal.from_wallet[invoice.currency] += part
    invoice.open = [one for one in invoice.open if not _by_then(one[0], moment)]


def _by_then(settled: str, failed: str) -> bool:
    """Two clocks may be two seconds apart."""
    apart = datetime.fromisoformat(settled) - datetime.fromisoformat(failed)
    return apart.total_seconds() <= 2


def wanted(deal: Deal) -> dict[Rule, int]:
    """What each rule should have moved in all, in the order of the document; whatever was done for anything else: 0."""
    paid = deal.payment
    if paid is None:
        return {}
    name, currency, total = paid["payment_id"], paid["currency"], paid["total_amount"]
    succeeded, failed = paid["status"] == "succeeded", paid["status"] in FAILED
    is_top_up = paid.get("wallet_action") == "top_up"
    found = {
        ("payment_reversal", own, name): part if failed else 0
        for own, part in sorted(deal.from_wallet.items())
    }
    done = {ref: one for ref, one in sorted(deal.refunds.items()) if one["status"] == "succeeded"}
    to_card = sum(_part(one, paid, total) for one in done.values() if not _into_wallet(one))
    room = max(0, total - to_card) if succeeded and not is_top_up else 0
    for ref, one in sorted(deal.refunds.items()):
        if _into_wallet(one):
            part = min(_part(one, paid, 0), room) if ref in done else 0
            found["refund_to_wallet", currency, ref] = part
            room -= part
    if is_top_up:
        left = max(0, total - paid.get("tax", 0) - to_card) if succeeded else 0
        found["top_up", currency, name] = left
        for ref, one in sorted(deal.disputes.items()):
            claim = _part(one, paid, total)
            part = 0 if one["dispute_status"] in ("dispute_won", "dispute_cancelled") else min(claim, left)
            found["dispute", currency, ref] = -part
            left -= part
    rest = sorted(rule for rule in deal.done if rule not in found)
    return found | dict.fromkeys(rest, 0)


def settle(account: Account, deal: Deal, currencies: set[str]) -> dict[Rule, str]:
    """Move what is missing. What could not be given, and why: then nothing is taken either."""
    gaps = {rule: amount - deal.done[rule] for rule, amount in wanted(deal).items()}
    withheld: dict[Rule, str] = {}
    for rule, gap in gaps.items():
        if gap > 0 and (why := _give(account, deal, rule, gap, currencies)):
            withheld[rule] = why
    for rule, gap in gaps.items():
        if gap < 0 and not withheld:
            _take(account, deal, rule, -gap)
    return withheld


def _give(account: Account, deal: Deal, rule: Rule, amount: int, currencies: set[str]) -> str:
    name, currency, reference = rule
    forgiven = min(amount, deal.lacking[rule])
    if forgiven:
        deal.lacking[rule] -= forgiven
        deal.done[rule] += forgiven
        account.notes.append(("short", currency, -forgiven, deal.lacking[rule], TAKEN[name], reference))
        account.record()
    credit = amount - forgiven
    why = _not_credited(account, currency, credit, currencies)
    if credit and not why:
        account.move(currency, credit, GIVEN[name], reference)
        account.record()
        deal.done[rule] += credit
    return why if credit else ""


def _take(account: Account, deal: Deal, rule: Rule, amount: int) -> None:
    """As far as it is there."""
    name, currency, reference = rule
    there = min(amount, account.balances.get(currency, 0))
    deal.done[rule] -= amount
    if there:
        account.move(currency, -there, TAKEN[name], reference)
        account.record()
    if there < amount:
        deal.lacking[rule] += amount - there
        account.notes.append(("short", currency, amount - there, deal.lacking[rule], TAKEN[name], reference))
        account.record()


def _not_credited(account: Account, currency: str, amount: int, currencies: set[str]) -> str:
    if account.closed:
        return "CUSTOMER_CLOSED"
    if currency not in currencies:
        return "UNSUPPORTED_CURRENCY"
    return "BALANCE_LIMIT_EXCEEDED" if account.balances.get(currency, 0) + amount > LARGEST else ""


def _part(one: dict[str, Any], paid: dict[str, Any], otherwise: int) -> int:
    """Of a refund or dispute: all, where it has no amount; `otherwise`, where that is in another currency."""
    if one.get("currency", paid["currency"]) != paid["currency"]:
        return otherwise
    amount: int = one.get("amount", paid["total_amount"])
    return amount


def _into_wallet(refund: dict[str, Any]) -> bool:
    return refund.get("wallet_action") == "refund_to_wallet"


def request(account: Account, ask: RequestAsk, currencies: set[str], made: str, when: str) -> Said:
    """Of a customer who is known and not closed. `made`: the id that the service gave to what follows."""
    kind, fields = ask.TYPE, msgspec.to_builtins(ask)
    match kind:
        case "wallet.request_top_up.v1":
            return _top_up(account, fields, currencies)
        case "wallet.settle_invoice.v1":
            return _settle_invoice(account, fields, currencies, when)
        case "subscription.request_change.v1":
            return _change(account, fields, made)
        case "refund.request.v1" | "refund.to_wallet.v1":
            return _refund(account, fields, currencies, made, to_wallet=kind == "refund.to_wallet.v1")
        case _:
            raise NotImplementedError(kind)


def _top_up(account: Account, fields: dict[str, Any], currencies: set[str]) -> Said:
    currency, amount = fields["currency"], fields["amount"]
    if why := _not_credited(account, currency, amount, currencies):
        return Said("refused", why)
    account.notes.append(("top_up_asked", currency, amount))
    return Said("applied")


def _settle_invoice(account: Account, fields: dict[str, Any], currencies: set[str], when: str) -> Said:
    name, currency, amount = fields["invoice_id"], fields["currency"], fields["amount"]
    invoice = account.invoices.get(name, Invoice())
    if account.blocked:
        return Said("refused", "CUSTOMER_BLOCKED")
    if currency not in currencies or invoice.currency not in ("", currency):
        return Said("refused", "UNSUPPORTED_CURRENCY")
    if sum(one for _, one in invoice.open) + amount > LARGEST:
        return Said("refused", "BALANCE_LIMIT_EXCEEDED")
    before = account.balances.get(currency, 0)
    applied = min(before, amount)
    account.invoices[name] = Invoice(currency, [*invoice.open, (when, applied)])
    account.notes.append(("settled", name, currency, amount, applied))
    if applied:
        account.move(currency, -applied, "invoice_payment", name)
        account.record()
    fact = account.record(f"invoice {name}")
    return Said("applied", fact=fact, before=before, after=before - applied)


def _change(account: Account, fields: dict[str, Any], made: str) -> Said:
    name = fields["subscription_id"]
    plan = account.plans.get(name)
    if plan is None:
        return Said("refused", "NOT_FOUND")
    if plan.status in OVER:
        return Said("refused", OVER[plan.status])
    if plan.is_open:
        return Said("refused", "EXISTING_SUBSCRIPTION_CHANGE_PROCESSING")
    plan.request, plan.asked, plan.is_open = made, fields["change"], True
    account.notes.append(("change_asked", name, made))
    return Said("applied", fact=account.record(f"subscription {name}"))


def _refund(
    account: Account, fields: dict[str, Any], currencies: set[str], made: str, *, to_wallet: bool
) -> Said:
    deal = account.deals.get(fields["payment_id"], Deal())
    items = [item["amount"] for item in fields.get("items", ())]
    amount = sum(items) if items else fields.get("amount")
    if why := refund_refused(deal, fields.get("currency"), amount, to_wallet=to_wallet):
        return Said("refused", why)
    assert deal.payment is not None
    name, currency, part = fields["payment_id"], deal.payment["currency"], amount or refundable(deal)
    is_partial = part < deal.payment["total_amount"]
    refund = {"refund_id": made, "payment_id": name, "amount": part, "currency": currency}
    if not to_wallet:
        deal.refunds[made] = refund | {"status": "requested"}
        deal.asked[made] = {"amount": part, "currency": currency}
        account.notes.append(("refund_asked", made, name, currency, part, is_partial))
        return Said("applied", fact=account.record(f"payment {name}"))
    trial = copy.deepcopy(account)
    own = trial.deals[name]
    own.refunds[made] = refund | {"status": "succeeded", "wallet_action": "refund_to_wallet"}
    withheld = settle(trial, own, currencies).get(("refund_to_wallet", currency, made))
    if withheld:
        return Said("refused", withheld)
    vars(account).update(vars(trial))
    account.notes.append(("refund_made", made, name, currency, part, is_partial))
    return Said("applied", fact=account.record(f"payment {name}"))


def refundable(deal: Deal) -> int:
    """What was paid less all refunds that have not failed."""
    if deal.payment is None:
        return 0
    total: int = deal.payment["total_amount"]
    paid = deal.payment
    given_back = sum(_part(one, paid, total) for one in deal.refunds.values() if one["status"] != "failed")
    return max(0, total - given_back)


def refund_refused(deal: Deal, currency: str | None, amount: int | None, *, to_wallet: bool) -> str:
    """The first reason of the table that fits, "" for none."""
    paid, left = deal.payment, refundable(deal)
    is_open = any(one["status"] not in ("succeeded", "failed") for one in deal.refunds.values())
    if paid is None:
        return "NOT_FOUND"
    reasons = {
        "PAYMENT_NOT_SUCCEEDED": paid["status"] != "succeeded",
        "UNSUPPORTED_CURRENCY": currency not in (None, paid["currency"]),
        "ZERO_AMOUNT_PAYMENT_REFUND_NOT_ALLOWED": not paid["total_amount"],
        "REFUND_TO_WALLET_NOT_ALLOWED": to_wallet and paid.get("wallet_action") == "top_up",
        "EXISTING_REFUND_REQUEST_PROCESSING": is_open and not (to_wallet and left),
        "PAYMENT_ALREADY_REFUNDED": not left,
        "REFUND_AMOUNT_EXCEEDS_PAID_AMOUNT": amount is not None and amount > left,
    }
    return next((code for code, fits in reasons.items() if fits), "")
