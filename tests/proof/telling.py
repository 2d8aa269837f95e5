"""What upstream says in a story: drawn without memory, told with it."""

from msgspec import UNSET
from msgspec.structs import replace

from events.codec import micros
from events.commands import AnyAsk
from events.requests import RefundToWallet, RequestRefund, SettleInvoice
from events.upstream import Named, RecordDispute, RecordRefund, RecordSubscription, RecordUpstream
from tests.fakes.simulation import START_MICROS
from tests.proof.oracle import Request
from tests.proof.stories import ASKED, moment

NEWS_A_MOMENT = 8
SPREAD = 10
"""Seconds over which settlements are spread: some are older than the news, some are not."""


class Telling:
    """What upstream has said in a story: of one object at one moment it says one thing, however often."""

    def __init__(self) -> None:
        self._news = 0
        self._said: dict[tuple[str, str, str], RecordUpstream] = {}
        self._made: dict[tuple[str, str, str], tuple[str, AnyAsk]] = {}

    def settled(self, request: Request) -> Request:
        """News get the id of what was asked last, where they mean that, and a key: intake's word for what it knows.

        Their time goes on with the story, and who is named when is a function of it; a settlement's does, too.
        """
        if not isinstance(request.ask, RecordUpstream | SettleInvoice):
            return request
        self._news += 1
        if isinstance(request.ask, SettleInvoice):
            return request._replace(effective=moment(self._news % SPREAD + self._news // NEWS_A_MOMENT))
        seconds = (micros(request.ask.told.time) - START_MICROS) // 1_000_000 + self._news // NEWS_A_MOMENT
        told = replace(request.ask.told, time=moment(seconds))
        who = (
            Named(name=f"Mai {seconds % 10}", email="mai@example.com")
            if request.ask.customer.name
            else Named()
        )
        ask = self._answering(request, replace(request.ask, told=told, customer=who))
        key = f"{ask.TYPE} {_name(ask)} {ask.told.time} {ask.told.updated or ''}"
        known = self._said.setdefault((request.tenant, request.customer, key), ask)
        return request._replace(ask=known, key=f"{key} {request.key or ''}")

    def note(self, request: Request, made: str) -> None:
        """What the service made of it."""
        if made:
            self._made[request.tenant, request.customer, _kind(request.ask)] = made, request.ask

    def _answering(self, request: Request, ask: RecordUpstream) -> RecordUpstream:
        """A refund or dispute is of one payment; the last that was asked for, of the one it was asked for."""
        made, wish = self._made.get((request.tenant, request.customer, _kind(ask)), ("", None))
        if isinstance(ask, RecordRefund):
            name, payment_id = ask.refund.refund_id, ask.refund.payment_id
            if name == ASKED and isinstance(wish, RequestRefund | RefundToWallet):
                name, payment_id = made, wish.payment_id
            else:
                name = f"{name}_{payment_id}"
            return replace(ask, refund=replace(ask.refund, refund_id=name, payment_id=payment_id))
        if isinstance(ask, RecordDispute):
            own = f"{ask.dispute.dispute_id}_{ask.dispute.payment_id}"
            return replace(ask, dispute=replace(ask.dispute, dispute_id=own))
        if isinstance(ask, RecordSubscription) and ask.subscription.request_id == ASKED:
            return replace(ask, subscription=replace(ask.subscription, request_id=made or UNSET))
        return ask


def _kind(ask: AnyAsk) -> str:
    return ask.TYPE.partition(".")[0]


def _name(ask: RecordUpstream) -> str:
    kind = _kind(ask)
    return "" if kind == "upstream" else str(getattr(getattr(ask, kind), f"{kind}_id"))
