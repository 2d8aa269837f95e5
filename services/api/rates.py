"""`total_balance_usd`: configured rates, whole cents, no float."""

from collections.abc import Iterable
from fractions import Fraction
from math import lcm

from babel.numbers import get_currency_precision

from services.settings import Settings


class UsdRates:
    """US dollars per unit of each open currency."""

    def __init__(self, settings: Settings) -> None:
        cents_per_minor = {
            currency: Fraction(settings.usd_rates[currency]) * 100 / 10 ** get_currency_precision(currency)
            for currency in settings.currencies
        }
        self._denominator = lcm(*(rate.denominator for rate in cents_per_minor.values()))
        self._weights = {
            currency: int(rate * self._denominator) for currency, rate in cents_per_minor.items()
        }
        self.header = ", ".join(
            f"{currency}={settings.usd_rates[currency]}" for currency in settings.currencies
        )
        """What the `Ledger-Usd-Rates` header says."""

    def total_cents(self, balances: Iterable[tuple[str, int]]) -> int:
        """Minor units by currency, added up exactly and rounded once, half to even."""
        total = sum(self._weights[currency] * minor for currency, minor in balances)
        cents, rest = divmod(total, self._denominator)
        twice = 2 * rest
        if twice > self._denominator or (twice == self._denominator and cents % 2):
            return cents + 1
        return cents
