"""What is sold, for how much, and how it is paid."""

from typing import NamedTuple

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


class Market(NamedTuple):
    """Where a customer pays: `low` and `high` in minor units, `tax` in percent of the net price."""

    currency: str
    country: str
    city: str
    tax: int
    low: int
    high: int
    step: int
    methods: tuple[tuple[str, str | None], ...]


CARD = ("card", "credit")
MARKETS = {
    "USD": Market("USD", "US", "Austin", 8, 500, 50_000, 50, (CARD, CARD, ("wallet", "apple_pay"))),
    "INR": Market("INR", "IN", "Pune", 18, 9_900, 2_000_000, 100, (("upi", "upi_collect"), CARD)),
    "EUR": Market("EUR", "DE", "Berlin", 19, 500, 40_000, 50, (CARD, ("bank_debit", "sepa"))),
    "JPY": Market("JPY", "JP", "Osaka", 10, 500, 60_000, 10, (CARD, ("wallet", "google_pay"))),
}
SHARES = (("USD", 55), ("INR", 30), ("EUR", 10), ("JPY", 5))
CARDS = ("visa", "mastercard", "amex", "rupay")
PRODUCTS = ("pdt_Handbook", "pdt_Icons", "pdt_Course", "pdt_Templates")
PLANS = ("pdt_PlanFree", "pdt_PlanTeam", "pdt_PlanScale")
CREDIT_PRODUCT = "pdt_WalletCredit"
ERRORS = (
    ("INSUFFICIENT_FUNDS", "The card has not enough money"),
    ("CARD_DECLINED", "The bank declined"),
    ("AUTHENTICATION_FAILURE", "3DS was not passed"),
)
BRAND = "brd_Main"
