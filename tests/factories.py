"""Valid events without a ledger: chained per shard and sealed, as the relay would publish them."""

import os
from collections.abc import Callable, Iterable
from typing import NamedTuple
from uuid import UUID

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from events.codec import (
    decode_envelope,
    decode_fact,
    digest,
    encode_envelope,
    encode_fact,
    genesis,
    timestamp,
)
from events.commands import Origin
from events.envelope import Envelope
from events.facts import (
    COUNTER_ACCOUNTS,
    AnyFact,
    Cause,
    CustomerBlocked,
    CustomerClosed,
    CustomerFact,
    CustomerProfileChanged,
    CustomerRegistered,
    CustomerUnblocked,
    Refusal,
    WalletCredited,
    WalletDebited,
    WalletDebitRefused,
)
from events.ids import CustomerId, Tenant, derived, position, stream_id, stream_name
from events.personal import Personal
from events.sealing import KEY_BYTES, seal
from events.sharding import shard_of
from services.ledger.domain.customer import INITIAL, Customer, evolve

TENANT = Tenant("biz_factory", "live")
START_MICROS = 1_790_000_000_000_000
STEP_MICROS = 1_000


class Record(NamedTuple):
    """One message of `ledger.events`."""

    shard: int
    sequence: int
    key: bytes
    value: bytes


class EventFactory:
    """A ledger's memory in small: chains, stream versions, balances and data keys.

    `data_key` names where keys come from, e.g. `lambda owner: ring.get_or_create([owner])[owner]`;
    without it they are random and live in `keys`. The factory judges nothing: a debit below zero is an error of
    the test (AssertionError).
    """

    def __init__(
        self, ledger_id: str = "factory", shards: int = 4, data_key: Callable[[UUID], bytes] | None = None
    ) -> None:
        self.shards = shards
        self.keys: dict[UUID, bytes] = {}
        self.records: list[Record] = []
        self._data_key = data_key or (lambda _: os.urandom(KEY_BYTES))
        self._heads = {shard: genesis(ledger_id, shard) for shard in range(shards)}
        self._sequences = dict.fromkeys(range(shards), 0)
        self._versions: dict[tuple[Tenant, str], int] = {}
        self._balances: dict[tuple[Tenant, str, str], int] = {}
        self._blocks: dict[tuple[Tenant, str], CustomerBlocked] = {}
        self._now = START_MICROS

    def registered(
        self,
        customer_id: str,
        name: str = "Nguyễn Văn A",
        email: str = "a@example.com",
        *,
        phone_number: str | UnsetType | None = UNSET,
        metadata: dict[str, str | int | float | bool] | UnsetType = UNSET,
        preferred_locale: str | UnsetType = UNSET,
        tenant: Tenant = TENANT,
    ) -> Record:
        personal = Personal(name=name, email=email, phone_number=phone_number, metadata=metadata)
        fact = CustomerRegistered(personal=personal, preferred_locale=preferred_locale)
        return self.append(customer_id, fact, tenant)

    def profile_changed(
        self,
        customer_id: str,
        personal: Personal | UnsetType = UNSET,
        *,
        preferred_locale: str | UnsetType | None = UNSET,
        tenant: Tenant = TENANT,
    ) -> Record:
        fact = CustomerProfileChanged(personal=personal, preferred_locale=preferred_locale)
        return self.append(customer_id, fact, tenant)

    def blocked(
        self,
        customer_id: str,
        reason: str | UnsetType = UNSET,
        *,
        identifier: str | UnsetType = UNSET,
        tenant: Tenant = TENANT,
    ) -> Record:
        """Again, if he was blocked already: the same entry, since then."""
        personal = Personal(reason=reason, identifier=identifier)
        known = self._blocks.get((tenant, customer_id))
        if known is not None:
            return self.append(customer_id, replace(known, personal=personal), tenant)
        block_id = derived("blk_", f"{tenant} {customer_id} {len(self.records)}")
        record = self.append(customer_id, CustomerBlocked(block_id=block_id, personal=personal), tenant)
        since = decode_envelope(record.value).time
        self._blocks[tenant, customer_id] = CustomerBlocked(block_id=block_id, since=since)
        return record

    def unblocked(self, customer_id: str, tenant: Tenant = TENANT) -> Record:
        """Also where there is no block to end."""
        known = self._blocks.pop((tenant, customer_id), None)
        return self.append(
            customer_id, CustomerUnblocked(block_id=known.block_id if known else UNSET), tenant
        )

    def closed(self, customer_id: str, tenant: Tenant = TENANT) -> Record:
        return self.append(customer_id, CustomerClosed(), tenant)

    def credited(
        self,
        customer_id: str,
        amount: int,
        currency: str = "USD",
        *,
        cause: Cause = Cause.TOP_UP,
        reason: str | None = None,
        tenant: Tenant = TENANT,
    ) -> Record:
        return self._moved(WalletCredited, customer_id, amount, currency, cause, reason, tenant)

    def debited(
        self,
        customer_id: str,
        amount: int,
        currency: str = "USD",
        *,
        cause: Cause = Cause.PURCHASE,
        reason: str | None = None,
        tenant: Tenant = TENANT,
    ) -> Record:
        return self._moved(WalletDebited, customer_id, amount, currency, cause, reason, tenant)

    def debit_refused(
        self, customer_id: str, amount: int, currency: str = "USD", tenant: Tenant = TENANT
    ) -> Record:
        fact = WalletDebitRefused(
            refusal=Refusal.INSUFFICIENT_WALLET_FUNDS,
            currency=currency,
            amount=amount,
            balance=self.balance(customer_id, currency, tenant),
            cause=Cause.PURCHASE,
        )
        return self.append(customer_id, fact, tenant)

    def balance(self, customer_id: str, currency: str = "USD", tenant: Tenant = TENANT) -> int:
        return self._balances.get((tenant, customer_id, currency), 0)

    def told(
        self, customer_id: str, stream: str, fact: AnyFact, came: object = UNSET, tenant: Tenant = TENANT
    ) -> Record:
        """Upstream said so, in the stream of its object; `came`: the object as it came."""
        personal = UNSET if came is UNSET else Personal(foreign=came)  # type: ignore[arg-type]
        return self.append(customer_id, replace(fact, personal=personal), tenant, stream)

    def append(self, customer_id: str, fact: AnyFact, tenant: Tenant = TENANT, stream: str = "") -> Record:
        """The fact as the next event of its shard, sealed, chained and kept in `records`."""
        shard = shard_of(customer_id, self.shards)
        stream = stream or stream_name("customer", customer_id)
        sequence = self._sequences[shard] + 1
        version = self._versions.get((tenant, f"{customer_id} {stream}"), 0) + 1
        self._now += STEP_MICROS
        at = position(shard, sequence)
        if fact.personal is not UNSET:
            fact = seal(fact, self.key_of(customer_id, tenant), stream, at)
        value = encode_envelope(
            Envelope(
                id=at,
                source=f"/shards/{shard}",
                type=fact.TYPE,
                subject=customer_id,
                time=timestamp(self._now),
                effectivetime=timestamp(self._now),
                sequence=f"{sequence:020d}",
                previoushash=self._heads[shard].hex(),
                stream=stream,
                streamversion=version,
                businessid=tenant.business_id,
                mode=tenant.mode,  # type: ignore[arg-type]
                origin=Origin.API,
                actor="key_factory",
                causationid=f"cmd_{shard}_{sequence}",
                correlationid=f"cor_{shard}_{sequence}",
                keyhash=digest(f"key {shard} {sequence}".encode()).hex(),
                requesthash="1:" + digest(f"request {shard} {sequence}".encode()).hex(),
                commandid=f"cmd_{shard}_{sequence}",
                commandposition=sequence - 1,
                data=encode_fact(fact),
            )
        )
        self._heads[shard] = digest(value)
        self._sequences[shard] = sequence
        self._versions[tenant, f"{customer_id} {stream}"] = version
        self.records.append(Record(shard, sequence, customer_id.encode(), value))
        return self.records[-1]

    def key_of(self, customer_id: str, tenant: Tenant = TENANT) -> bytes:
        """The data key of a customer, made on first use."""
        owner = stream_id(tenant, stream_name("customer", customer_id))
        if owner not in self.keys:
            self.keys[owner] = self._data_key(owner)
        return self.keys[owner]

    def _moved(
        self,
        kind: type[WalletCredited] | type[WalletDebited],
        customer_id: str,
        amount: int,
        currency: str,
        cause: Cause,
        reason: str | None,
        tenant: Tenant,
    ) -> Record:
        before = self.balance(customer_id, currency, tenant)
        after = before + (amount if kind is WalletCredited else -amount)
        assert after >= 0, f"the test takes {amount} from {before}"
        self._balances[tenant, customer_id, currency] = after
        count = len(self.records)
        fact = kind(
            entry_id=derived("wle_", f"{tenant} {customer_id} {count}"),
            currency=currency,
            amount=amount,
            balance_before=before,
            balance_after=after,
            cause=cause,
            counter_account=COUNTER_ACCOUNTS[cause],
            personal=UNSET if reason is None else Personal(reason=reason),
        )
        return self.append(CustomerId(customer_id), fact, tenant)


def customer_fact(envelope: Envelope) -> CustomerFact:
    """Of an event in a stream of customers."""
    fact = decode_fact(envelope)
    assert isinstance(fact, CustomerFact)
    return fact


def fold(history: Iterable[tuple[CustomerFact, str]], customer: Customer = INITIAL) -> Customer:
    """State after a history of facts and the times they were recorded at."""
    for fact, recorded in history:
        customer = evolve(customer, fact, recorded)
    return customer


def signed(fact: CustomerFact) -> int:
    """What a fact does to its wallet, in minor units: + credit, - debit, 0 for what moves nothing."""
    match fact:
        case WalletCredited(amount=amount):
            return amount
        case WalletDebited(amount=amount):
            return -amount
        case _:
            return 0
