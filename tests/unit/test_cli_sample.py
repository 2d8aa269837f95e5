"""The sample's stories: the same at every run, with everything that a first look should show."""

import unicodedata
from collections import Counter

from msgspec import convert, to_builtins

from events.commands import CreditWallet, DebitWallet, RegisterCustomer
from events.facts import Cause
from services.sample.plan import stories
from services.upstream.people import people


def test_every_run_tells_the_same() -> None:
    assert stories() == stories()


def test_there_is_enough_to_look_at() -> None:
    told = stories()
    entries, refusals, currencies, causes = 0, 0, Counter[str](), set[Cause]()
    for story in told:
        balances = Counter[str]()
        for move in story.upstream + story.merchant:
            if not move.is_credit and move.amount > balances[move.currency]:
                refusals += 1
                continue
            balances[move.currency] += move.amount if move.is_credit else -move.amount
            currencies[move.currency] += 1
            causes.add(move.cause)
            entries += 1
    assert len(told) >= 300
    assert entries >= 5_000
    assert refusals >= 200
    assert set(currencies) == {"USD", "INR"}
    assert min(currencies.values()) > 1_000
    assert causes >= {Cause.TOP_UP, Cause.PROMOTION, Cause.PURCHASE, Cause.REFUND, Cause.ADJUSTMENT}


def test_names_are_of_the_whole_world() -> None:
    letters = "".join(person.name for person in people())
    scripts = {unicodedata.name(letter).split()[0] for letter in letters if letter.isalpha()}
    assert scripts >= {"LATIN", "ARABIC", "CJK", "DEVANAGARI", "HIRAGANA", "HANGUL", "CYRILLIC", "HEBREW"}
    assert any(unicodedata.category(letter) == "So" for letter in letters), "emoji"
    assert sum(person.name.startswith("Nguyễn ") for person in people()) > 3


def test_nobody_is_real() -> None:
    for person in people():
        assert person.email.endswith("@example.com")
        assert person.phone_number is None or person.phone_number.startswith("+120255501")
    assert len({person.email for person in people()}) == len(people())


def test_every_key_is_used_once() -> None:
    keys = [story.key for story in stories()]
    keys += [move.key for story in stories() for move in story.upstream + story.merchant]
    assert len(keys) == len(set(keys))


def test_everything_asked_is_what_the_ledger_takes() -> None:
    """Within all limits of the published language: a refusal is for lack of money only."""
    for story in stories():
        convert(
            {name: value for name, value in story.person._asdict().items() if value is not None},
            RegisterCustomer,
        )
        for move in story.upstream + story.merchant:
            asked = {name: value for name, value in move._asdict().items() if value is not None}
            convert(to_builtins(asked), CreditWallet if move.is_credit else DebitWallet)
