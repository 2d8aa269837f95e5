"""Licence keys, as the SDK `dodopayments` knows them; see `foreign`."""

from msgspec import Struct

from services.api.shapes.customers import Moment


class LicenseKey(Struct, frozen=True, kw_only=True):
    """A licence key; `key` is empty once the customer's personal data is erased."""

    id: str
    brand_id: str
    business_id: str
    created_at: Moment
    customer_id: str
    source: str
    status: str
    instances_count: int = 0
    key: str = ""
    product_id: str = ""
    activations_limit: int | None = None
    expires_at: Moment | None = None
    payment_id: str | None = None
    subscription_id: str | None = None


class LicenseKeyInstance(Struct, frozen=True, kw_only=True):
    """Where a licence key is activated."""

    id: str
    business_id: str
    created_at: Moment
    license_key_id: str
    name: str


class LicenseKeyPage(Struct, frozen=True, kw_only=True):
    """One page of licence keys, newest first."""

    items: list[LicenseKey]


class LicenseKeyInstancePage(Struct, frozen=True, kw_only=True):
    """One page of activations, newest first."""

    items: list[LicenseKeyInstance]
