"""Who the customers are: invented, the same at every run, with names as the world writes them."""

from collections.abc import Iterator
from itertools import islice, product
from typing import NamedTuple

Metadata = dict[str, str | int | bool]


class Person(NamedTuple):
    """The body of `POST /customers`."""

    name: str
    email: str
    phone_number: str | None
    preferred_locale: str
    metadata: Metadata


class Culture(NamedTuple):
    """How a share of the customers is named; `pattern` puts both parts together."""

    people: int
    locale: str
    pattern: str
    first: tuple[str, ...]
    last: tuple[str, ...]


CULTURES = (
    Culture(
        80,
        "en",
        "{last} {first}",
        (
            "Minh Khai",
            "Thị Ánh",
            "Văn Đức",
            "Thị Hồng Nhung",
            "Quốc Bảo",
            "Thu Hương",
            "Ngọc Ánh",
            "Hữu Phước",
        ),
        (
            "Nguyễn",
            "Trần",
            "Lê",
            "Phạm",
            "Hoàng",
            "Huỳnh",
            "Phan",
            "Vũ",
            "Võ",
            "Đặng",
            "Bùi",
            "Đỗ",
            "Hồ",
            "Ngô",
        ),
    ),
    Culture(
        60,
        "en",
        "{first} {last}",
        ("आरव", "अनन्या", "विवान", "Aadhya", "Ishaan", "Kavya", "ப்ரியா", "அருண்", "Rohan", "Meera"),
        ("शर्मा", "पटेल", "Iyer", "Reddy", "Banerjee", "நாகராஜன்", "Singh", "Khan"),
    ),
    Culture(
        40,
        "ar",
        "{first} {last}",
        ("محمد", "فاطمة", "عبد الرحمن", "ليلى", "يوسف", "نور الهدى", "خالد"),
        ("الهاشمي", "بن علي", "المنصوري", "العُتيبي", "حدّاد", "السعيد", "القحطاني"),
    ),
    Culture(
        40,
        "zh",
        "{last}{first}",
        ("伟", "秀英", "建国", "丽娜", "梓涵", "浩然", "雨桐"),
        ("王", "李", "张", "刘", "陈", "欧阳", "𠮷田"),
    ),
    Culture(
        40,
        "en",
        "{first} {last}",
        ("Zoë", "Max", "Luna", "Ari", "Noor", "Sam", "Kim"),
        ("🌸", "🚀 Rocket", "👩‍🚀", "🎮 Pro", "🇮🇳 Traders", "🧑🏽‍🍳 Kitchen", "☕️"),
    ),
    Culture(
        30,
        "ja",
        "{last} {first}",
        ("さくら", "翔太", "美咲", "サミュエル", "지우", "민준"),
        ("佐藤", "渡邉", "髙橋", "김", "이"),
    ),
    Culture(
        30,
        "de",
        "{first} {last}",
        ("Jürgen", "Søren", "François", "Łucja", "Νίκος", "Олена", "דנה"),
        ("Groß", "Ångström", "O'Brien-Smith", "De la Cruz", "Παπαδόπουλος", "Шевченко", "כהן"),
    ),
)


def people() -> list[Person]:
    """All customers; addresses and numbers are in ranges that belong to nobody."""
    named = [
        (culture.pattern.format(first=first, last=last), culture.locale)
        for culture in CULTURES
        for first, last in islice(_names(culture), culture.people)
    ]
    return [_person(number, name, locale) for number, (name, locale) in enumerate(named, 1)]


def _names(culture: Culture) -> Iterator[tuple[str, str]]:
    """Every pair before any pair a second time: people of the same name are different customers."""
    while True:
        yield from product(culture.first, culture.last)


def _person(number: int, name: str, locale: str) -> Person:
    phone = None if number % 7 == 0 else f"+1202555{100 + number % 100:04}"  # reserved for fiction
    metadata: Metadata = {"customer_number": number, "plan": ("free", "team", "scale")[number % 3]}
    if number % 4 == 0:
        metadata["newsletter"] = True
    return Person(name, f"customer.{number:03}@example.com", phone, locale, metadata)
