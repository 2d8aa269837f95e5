"""What each projection makes of events, and that it does not matter how they are cut into batches."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from events.codec import decode_envelope
from events.facts import Cause
from events.ids import Tenant
from events.personal import Personal
from services.projections.chain import read
from services.projections.read_models import accounts, blocklist, customers, ledger_entries, wallets
from tests.factories import TENANT, EventFactory
from tests.unit.projections.reading import Tables, events_of, opened, records_of, start

OTHER = Tenant("biz_other", "test")


def test_a_customer_is_what_was_registered_and_then_changed() -> None:
    factory = EventFactory()
    factory.registered(
        "cus_1", "Trần Thị B", "b@example.com", phone_number="+84 90", metadata={"tier": "gold", "n": 1}
    )
    factory.profile_changed("cus_1", Personal(name="Trần B", phone_number=None), preferred_locale="vi")
    [row] = customers.fold(events_of(factory))
    assert (row.name, row.email, row.phone_number) == ("Trần B", "b@example.com", None)
    assert (row.metadata, row.preferred_locale) == ({"tier": "gold", "n": 1}, "vi")
    assert row.registered
    assert row.created_at < row.updated_at


def test_a_change_alone_says_only_what_it_changes() -> None:
    factory = EventFactory()
    factory.registered("cus_1")
    factory.profile_changed("cus_1", Personal(email="new@example.com"), preferred_locale=None)
    _, changed = events_of(factory)
    [row] = customers.fold([changed])
    assert not row.registered
    assert row.email == "new@example.com"
    assert (row.name, row.phone_number, row.metadata) == (UNSET, UNSET, UNSET)
    assert row.preferred_locale is None


def test_personal_data_whose_key_is_gone_leaves_empty_rows() -> None:
    factory = EventFactory()
    factory.registered("cus_1", phone_number="+1", metadata={"a": "b"})
    factory.credited("cus_1", 500, reason="a gift")
    factory.keys.clear()
    events = events_of(factory)
    [customer] = customers.fold(events)
    assert (customer.name, customer.email, customer.phone_number, customer.metadata) == ("", "", None, {})
    [entry] = ledger_entries.rows(events)
    assert (entry.reason, entry.amount_minor) == (UNSET, 500)


def test_a_customer_is_blocked_until_his_block_ends_and_closed_for_good() -> None:
    factory = EventFactory()
    factory.registered("cus_1")
    first = decode_envelope(factory.blocked("cus_1", "fraud").value)
    factory.blocked("cus_1", "fraud, I am sure")
    [row] = customers.fold(events_of(factory))
    [entry] = blocklist.fold(events_of(factory))
    assert (row.blocked_at, row.blocklist_entry_id) == (first.time, entry.block_id)
    assert (entry.made, entry.created_at, entry.unblocked_at) == (True, first.time, UNSET)
    assert (entry.reason, entry.identifier) == ("fraud, I am sure", "cus_1")
    ended = decode_envelope(factory.unblocked("cus_1").value)
    factory.unblocked("cus_1")
    closed = decode_envelope(factory.closed("cus_1").value)
    [row] = customers.fold(events_of(factory))
    [entry] = blocklist.fold(events_of(factory))
    assert (row.blocked_at, row.blocklist_entry_id, row.closed_at) == (None, None, closed.time)
    assert entry.unblocked_at == ended.time


def test_a_block_of_a_later_batch_changes_what_it_speaks_of() -> None:
    factory = EventFactory()
    factory.registered("cus_1")
    factory.blocked("cus_1", "fraud", identifier="a@example.com")
    factory.blocked("cus_1")
    factory.unblocked("cus_1")
    _, made, again, ended = events_of(factory)
    [entry] = blocklist.fold([made])
    assert (entry.reason, entry.identifier) == ("fraud", "a@example.com")
    [entry] = blocklist.fold([again, ended])
    assert (entry.made, entry.reason, entry.unblocked_at) == (False, UNSET, ended.envelope.time)


def test_a_wallet_is_its_newest_entry() -> None:
    factory = EventFactory()
    factory.credited("cus_1", 500)
    factory.credited("cus_1", 7, "INR")
    newest = factory.debited("cus_1", 200)
    factory.debit_refused("cus_1", 999)
    by_currency = {row.currency: row for row in wallets.fold(events_of(factory))}
    assert {currency: row.balance_minor for currency, row in by_currency.items()} == {"USD": 300, "INR": 7}
    assert by_currency["USD"].sequence == newest.sequence


def test_entries_say_which_way_and_why() -> None:
    factory = EventFactory()
    factory.credited("cus_1", 500, cause=Cause.PROMOTION, reason="welcome 🎁")
    factory.debited("cus_1", 200)
    factory.debit_refused("cus_1", 999)
    credit, debit = ledger_entries.rows(events_of(factory))
    assert (credit.is_credit, credit.amount_minor, credit.balance_before_minor, credit.balance_after_minor) == (
        True, 500, 0, 500,
    )  # fmt: skip
    assert (credit.cause, credit.counter_account, credit.reason) == ("promotion", "promotions", "welcome 🎁")
    assert (debit.is_credit, debit.amount_minor, debit.balance_after_minor) == (False, 200, 300)
    assert debit.reason is UNSET


def test_a_movement_has_two_sides() -> None:
    factory = EventFactory()
    factory.credited("cus_1", 500)
    factory.debited("cus_1", 200)
    found = {posting.account: posting.added_minor for posting in accounts.fold(events_of(factory))}
    assert found == {"wallets": "300", "gateway:upstream": "-500", "merchant:sales": "200"}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["credit", "debit", "refuse", "change", "clear", "block", "unblock", "close"]),
        st.sampled_from(["cus_1", "cus_2", "cus_3"]),
        st.sampled_from([TENANT, OTHER]),
        st.sampled_from(["USD", "INR"]),
        st.integers(1, 2**53 - 1),
    ),
    max_size=30,
)


def history(steps: list[tuple[str, str, Tenant, str, int]]) -> EventFactory:
    factory = EventFactory(shards=2)
    known = set()
    for act, customer_id, tenant, currency, number in steps:
        if (customer_id, tenant) not in known:
            factory.registered(customer_id, f"name {number}", metadata={"n": number}, tenant=tenant)
            known.add((customer_id, tenant))
        balance = factory.balance(customer_id, currency, tenant)
        if act == "credit" and balance + number < 2**53:
            factory.credited(customer_id, number, currency, tenant=tenant, reason=f"reason {number}")
        elif act == "debit" and balance:
            factory.debited(customer_id, number % balance + 1, currency, tenant=tenant)
        elif act == "refuse":
            factory.debit_refused(customer_id, number, currency, tenant)
        elif act == "change":
            factory.profile_changed(
                customer_id, Personal(name=f"changed {number}", phone_number="+1"), tenant=tenant
            )
        elif act == "clear":
            cleared = Personal(phone_number=None, metadata={})
            factory.profile_changed(customer_id, cleared, preferred_locale="en", tenant=tenant)
        elif act == "block":
            factory.blocked(customer_id, f"reason {number}" if number % 2 else UNSET, tenant=tenant)
        elif act == "unblock":
            factory.unblocked(customer_id, tenant)
        elif act == "close":
            factory.closed(customer_id, tenant)
    return factory


@given(STEPS, st.data())
def test_batches_and_repeats_do_not_show_in_the_rows(
    steps: list[tuple[str, str, Tenant, str, int]], data: st.DataObject
) -> None:
    factory = history(steps)
    whole = Tables()
    whole.apply(events_of(factory))

    records, seen, parts = records_of(factory.records), start(factory.shards), Tables()
    at = 0
    while at < len(records):
        back = data.draw(st.integers(0, at), label="go back")
        ahead = data.draw(st.integers(1, len(records) - at), label="go ahead")
        reading = read(seen, records[at - back : at + ahead])
        assert not reading.breaks
        parts.apply(opened(factory.keys, reading))
        seen |= reading.checkpoints()
        at += ahead
    assert vars(parts) == vars(whole)


@given(STEPS)
def test_the_books_balance_and_wallets_are_the_sum_of_their_entries(
    steps: list[tuple[str, str, Tenant, str, int]],
) -> None:
    factory = history(steps)
    tables = Tables()
    tables.apply(events_of(factory))
    trial: defaultdict[tuple[str, ...], int] = defaultdict(int)
    for (_, business_id, mode, currency, _account), balance in tables.accounts.items():
        trial[business_id, mode, currency] += balance
    assert not any(trial.values())
    for (business_id, mode, customer_id, currency), wallet in tables.wallets.items():
        moved = sum(
            entry["amount_minor"] if entry["is_credit"] else -entry["amount_minor"]
            for entry in tables.entries.values()
            if (entry["business_id"], entry["mode"], entry["customer_id"], entry["currency"])
            == (business_id, mode, customer_id, currency)
        )
        assert (
            wallet["balance_minor"]
            == moved
            == factory.balance(customer_id, currency, Tenant(business_id, mode))
        )
