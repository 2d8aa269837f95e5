"""Money: whole minor units of one currency. Nothing here rounds, and nothing adds across currencies."""

from typing import Annotated

from msgspec import Meta

AMOUNT_MAX = 2**53 - 1
"""Largest amount and balance: what readers in JavaScript hold exactly."""

Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z", description="ISO 4217 code")]
Minor = Annotated[int, Meta(ge=0, le=AMOUNT_MAX, description="minor units")]
Amount = Annotated[int, Meta(gt=0, le=AMOUNT_MAX, description="minor units, always positive")]
Balance = Annotated[int, Meta(ge=0, le=AMOUNT_MAX, description="minor units, never negative")]
