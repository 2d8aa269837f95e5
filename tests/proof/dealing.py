"""Upstream's word and requests about it in front of the running service: told by Kafka, asked by both ways, read by HTTP."""

import time
from typing import Any, NamedTuple

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule
from msgspec import UNSET

from events.codec import timestamp
from events.commands import CreditWallet, DebitWallet
from events.requests import (
    RefundToWallet,
    RequestAsk,
    RequestRefund,
    RequestTopUp,
    SettleInvoice,
)
from tests.proof.accounts import Said
from tests.proof.model import OPEN, answer_of, run
from tests.proof.oracle import Request
from tests.proof.service import NAMES, STEPS_MAX, AskingMachine, started
from tests.proof.stories import beginnings, newscasts, wished
from tests.proof.telling import Telling

NAME = NAMES[0]

moves = st.one_of(*(
    st.builds(kind, currency=st.just("USD"), amount=st.integers(1, 9)) for kind in (CreditWallet, DebitWallet)
))  # fmt: skip


class Answer(NamedTuple):
    """In the oracle's words, and the id of what was made."""

    said: Said
    made: str


class DealingMachine(AskingMachine):
    """One customer of one business, whom upstream has named."""

    def __init__(self) -> None:
        super().__init__()
        self.telling = Telling()
        self.customer = self.ids[NAME]

    @initialize(told=beginnings)
    def began(self, told: list[Request]) -> None:
        for one in told:
            self.told(one)

    @rule(told=newscasts)
    def told(self, told: Request) -> None:
        """As intake says it to the ledger."""
        self.count()
        request = self.telling.settled(self._own(told))
        reply = self.service.ask(self.tenant, self.customer, request.ask, request.key)
        self._reached(reply.position)
        found, said = answer_of(reply, 0), self.oracle.ask(request)
        assert found == said._replace(fact=0), request

    @rule(wish=wished, http=st.booleans())
    def wished(self, wish: Request, http: bool) -> None:
        self.count()
        wish = self.telling.settled(self._own(wish))
        by_http = http and wish.key is None and isinstance(wish.ask, RequestAsk) and self._way(wish.ask)
        if by_http:  # counts from now on, and all that upstream says was before
            wish = wish._replace(effective=timestamp(time.time_ns() // 1_000))
        found = self._by_http(*by_http) if by_http else self._by_kafka(wish)
        self.telling.note(wish, found.made)
        said = self.oracle.ask(wish._replace(made=found.made))._replace(fact=0)
        assert found.said == (said._replace(before=None, after=None) if by_http else said), wish

    @rule(ask=moves)
    def moved(self, ask: CreditWallet | DebitWallet) -> None:
        self.count()
        request = Request(str(self.tenant), self.customer, ask)
        assert self._by_kafka(request).said == self.oracle.ask(request)._replace(fact=0)

    @rule()
    def read(self) -> None:
        self.count()
        self.shown(NAME)
        account = self.oracle.account(str(self.tenant), self.customer)
        for name, deal in account.deals.items():
            shown = self.get(self.customer, f"/payments/{name}")
            if deal.payment is None:
                assert shown.status_code == 404
                continue
            payment = shown.json()
            assert (payment["status"], payment["total_amount"]) == (
                deal.payment["status"],
                deal.payment["total_amount"],
            )
            refunds = {one["refund_id"]: one["status"] for one in payment["refunds"]}
            assert refunds == {ref: _shown(one["status"]) for ref, one in deal.refunds.items()}
            disputes = {one["dispute_id"]: one["dispute_status"] for one in payment["disputes"]}
            assert disputes == {ref: one["dispute_status"] for ref, one in deal.disputes.items()}

    def teardown(self) -> None:
        self.read()

    def _own(self, request: Request) -> Request:
        return request._replace(tenant=str(self.tenant), customer=self.customer)

    def _reached(self, position: str) -> None:
        if position:
            self.positions[self.customer] = position

    def _way(self, ask: RequestAsk) -> tuple[str, dict[str, Any]] | None:
        """How HTTP says it; None for what it does not say, or answers without the ledger."""
        fields = msgspec.to_builtins(ask)
        if isinstance(ask, RequestRefund | RefundToWallet):
            deal = self.oracle.account(str(self.tenant), self.customer).deals.get(ask.payment_id)
            if (
                deal is None
                or deal.payment is None
                or (isinstance(ask, RequestRefund) and ask.items is not UNSET)
            ):
                return None
            if isinstance(ask, RequestRefund):
                return None if ask.amount is not UNSET else ("/refunds", fields)
            return "/v1/refunds/to-wallet", fields
        if isinstance(ask, RequestTopUp | SettleInvoice) and ask.currency in OPEN:
            kind = "top-ups" if isinstance(ask, RequestTopUp) else "settlements"
            return f"/v1/customers/{self.customer}/wallets/{kind}", fields
        return None

    def _by_http(self, path: str, body: dict[str, Any]) -> Answer:
        """What it refers to has to be visible, as it is to whoever asks."""
        self.get(self.customer, f"/customers/{self.customer}")
        answer = self.service.http.post(path, json=body, headers=self.headers)
        assert answer.status_code < 500, answer.text
        found = answer.json()
        self._reached(answer.headers.get("ledger-position", ""))
        if answer.status_code == 200:
            made = [found.get(name) for name in ("refund_id", "settlement_id", "request_id")]
            return Answer(Said("applied"), next(filter(None, made)))
        assert "ledger-position" in answer.headers, answer.text
        return Answer(Said("refused", found["code"]), "")

    def _by_kafka(self, request: Request) -> Answer:
        reply = self.service.ask(self.tenant, self.customer, request.ask, request.key, request.effective)
        self._reached(reply.position)
        return Answer(answer_of(reply, 0), reply.object_id)


def _shown(status: str) -> str:
    """What upstream has not said anything of is pending."""
    return "pending" if status == "requested" else status


def dealing(machine: type[AskingMachine]) -> type[DealingMachine]:
    """The machine in front of the service that another one is in front of."""
    return type("DealingMachine", (DealingMachine,), {"service": machine.service})


def service(seed: int, steps: int) -> tuple[int, str | None]:
    """So many steps against a running service, half of them about purchases, and the smallest difference."""
    done = 0
    with started() as machine:
        for each in (machine, dealing(machine)):
            own, different = run(each, seed, steps // 2, STEPS_MAX)
            done += own
            if different is not None:
                return done, different
    return done, None
