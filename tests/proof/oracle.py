"""What the ledger must do, said a second time: from docs/api.md and docs/reliability.md, not from the decider.

One dictionary of customers, one request after the other. It shares the names of commands with the service, no rule.
What upstream says is in deals.py.
"""

import copy
import json
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from events.commands import AnyAsk
from events.requests import RequestAsk
from events.upstream import RecordUpstream
from tests.proof import deals
from tests.proof.accounts import LARGEST, Account, Keyless, Said

RETRY_MINUTES = 15
ANOTHER_FAILED = "ANOTHER_ENTRY_FAILED"


class Request(NamedTuple):
    """What somebody asks; `tries` is how often the SDK has sent it before, `minute` when.

    `made`: the id that the service gave to what follows, where it follows; an oracle cannot guess it. `effective`: of a
    settlement, the moment from which it counts.
    """

    tenant: str
    customer: str
    ask: AnyAsk
    key: str | None = None
    tries: int = 0
    minute: float = 0.0
    made: str = ""
    effective: str = ""

    @property
    def content(self) -> str:
        """The same for the same request."""
        fields = msgspec.to_builtins(self.ask)
        return json.dumps([self.ask.TYPE, fields], sort_keys=True)


class Oracle:
    """Ask it what the service is asked; it knows the right answer."""

    def __init__(self, currencies: set[str]) -> None:
        self.currencies = currencies
        self.accounts: dict[tuple[str, str], Account] = {}

    def account(self, tenant: str, customer: str) -> Account:
        """An empty one for somebody that nobody knows: nothing of him is kept by looking."""
        return self.accounts.get((tenant, customer)) or Account()

    def ask(self, request: Request) -> Said:
        """The one right answer, and what follows from it."""
        account = self.accounts.setdefault((request.tenant, request.customer), Account())
        if request.key is not None:
            return self._keyed(account, request)
        return self._repeated(account, request) or self._new(account, request)

    def enter(self, requests: Sequence[Request], together: bool) -> list[Said]:
        """Entries of one bulk record, each with a key: like one by one, or all or none of a customer's."""
        if not together:
            return [self.ask(request) for request in requests]
        said: dict[int, Said] = {}
        for customer in dict.fromkeys(request.customer for request in requests):
            own = [place for place, request in enumerate(requests) if request.customer == customer]
            said |= zip(own, self._all_or_none([requests[place] for place in own]), strict=True)
        return [said[place] for place in range(len(requests))]

    def _all_or_none(self, requests: Sequence[Request]) -> list[Said]:
        account = self.accounts.setdefault((requests[0].tenant, requests[0].customer), Account())
        contents = {key: content for key, (content, _) in account.keys.items()}
        fits = [contents.setdefault(str(one.key), one.content) == one.content for one in requests]
        known = {str(one.key) for one in requests} & account.keys.keys()
        if all(fits):
            fresh: dict[str, Request] = {}
            for one in requests:
                if str(one.key) not in known:
                    fresh.setdefault(str(one.key), one)
            failed = any(account.keys[key][1].outcome == "refused" for key in known)
            self._decide_together(account, list(fresh.values()), failed)
        said = []
        for request, right in zip(requests, fits, strict=True):
            if not right:
                said.append(Said("key_reused"))
            elif str(request.key) in account.keys:
                before = account.keys[str(request.key)][1]
                said.append(before._replace(replayed=str(request.key) in known))
                known.add(str(request.key))
            else:
                said.append(Said("key_reused", ANOTHER_FAILED))
        return said

    def _decide_together(self, account: Account, fresh: Sequence[Request], failed: bool) -> None:
        """On a copy first: where one is refused, all are; that one for its own reason."""
        trial, reasons = copy.deepcopy(account), {}
        for place, request in enumerate(fresh if not failed else ()):
            found = self._decided(trial, request)
            if found.outcome == "refused":
                failed, reasons = True, {place: found}
                break
        for place, request in enumerate(fresh):
            no = reasons.get(place, Said("refused", ANOTHER_FAILED))
            found = no if failed else self._decided(account, request)
            found = found._replace(fact=account.record())
            account.keys[str(request.key)] = request.content, found

    def _keyed(self, account: Account, request: Request) -> Said:
        assert request.key is not None
        if request.key in account.keys:
            content, said = account.keys[request.key]
            return said._replace(replayed=True) if content == request.content else Said("key_reused")
        said = self._new(account, request)
        if said.outcome != "unchanged":
            account.keys[request.key] = request.content, said
        return said

    def _repeated(self, account: Account, request: Request) -> Said | None:
        """A help, no promise: the SDK's automatic retry finds its earlier self, once."""
        for earlier in account.keyless:
            fits = (earlier.content, earlier.tries) == (request.content, request.tries - 1)
            if fits and request.minute - earlier.minute <= RETRY_MINUTES:
                earlier.tries, earlier.minute = request.tries, request.minute
                return earlier.said._replace(replayed=True)
        return None

    def _new(self, account: Account, request: Request) -> Said:
        said = self._decided(account, request)
        if not said.fact and said.outcome != "unchanged":
            said = said._replace(fact=account.record())
        if request.key is None:
            account.keyless.append(Keyless(request.content, request.tries, request.minute, said))
        return said

    def _decided(self, account: Account, request: Request) -> Said:
        """`fact` is 0 where it is the next of the customer's."""
        ask = request.ask
        if isinstance(ask, RecordUpstream):
            return deals.tell(account, ask, self.currencies)
        kind, fields = ask.TYPE, msgspec.to_builtins(ask)
        if kind == "customer.erase.v1":
            return self._erase(account)
        if account.closed:
            return Said("refused", "CUSTOMER_CLOSED")
        if kind == "customer.register.v1":
            if account.profile is not None:
                return Said("refused", "CUSTOMER_EXISTS")
            account.profile = {"phone_number": None, "metadata": {}, "preferred_locale": None} | fields
            return Said("applied")
        if account.profile is None:
            return Said("refused", "NOT_FOUND")
        if isinstance(ask, RequestAsk):
            return deals.request(account, ask, self.currencies, request.made, request.effective)
        if kind == "customer.change_profile.v1":
            account.named = None  # from now on he is who he says he is
            account.profile |= {name: value for name, value in fields.items() if name in account.profile}
            return Said("applied")
        if kind in ("customer.block.v1", "customer.unblock.v1"):
            elsewhere = "block_id" in fields  # of a block that is over: stories know no id of one in force
            account.blocked = kind == "customer.block.v1" or (account.blocked and elsewhere)
            return Said("applied")
        if kind == "customer.close.v1":
            if any(account.balances.values()):
                return Said("refused", "WALLET_NOT_EMPTY")
            account.closed = True
            return Said("applied")
        if kind == "wallet.debit.v1" and account.blocked:
            return Said("refused", "CUSTOMER_BLOCKED")
        if kind in ("wallet.credit.v1", "wallet.debit.v1"):
            sign = 1 if kind == "wallet.credit.v1" else -1
            why = fields.get("cause", "adjustment"), fields.get("reference", "")
            return self._move(account, fields["currency"], sign * fields["amount"], *why)
        raise NotImplementedError(kind)

    def _erase(self, account: Account) -> Said:
        if account.profile is None:
            return Said("refused", "NOT_FOUND")
        if not account.closed:
            return Said("refused", "CUSTOMER_NOT_CLOSED")
        if account.erased:
            return Said("refused", "CUSTOMER_ERASED")
        account.erased = True
        account.profile |= {"name": "", "email": "", "phone_number": None, "metadata": {}}
        return Said("applied")

    def _move(self, account: Account, currency: str, change: int, cause: str, reference: str) -> Said:
        before = account.balances.get(currency, 0)
        after = before + change
        if currency not in self.currencies:
            return Said("refused", "UNSUPPORTED_CURRENCY")
        if after < 0:
            return Said("refused", "INSUFFICIENT_WALLET_FUNDS", before=before)
        if after > LARGEST:
            return Said("refused", "BALANCE_LIMIT_EXCEEDED")
        account.move(currency, change, cause, reference)
        return Said("applied", before=before, after=after)
