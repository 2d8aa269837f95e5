"""`/subscriptions`, licence keys and where they are activated: what upstream told."""

from functools import partial

from litestar import get
from litestar.types import Scope

from services.api import foreign_answers as answers
from services.api.answers import Answer, json
from services.api.errors import not_found
from services.api.foreign_ports import LICENCE_KEYS, SUBSCRIPTIONS
from services.api.parsing.foreign import foreign_id, instances_of
from services.api.parts import as_of, reading
from services.api.routes import foreign
from services.api.shapes.licences import LicenseKeyInstancePage, LicenseKeyPage
from services.api.shapes.subscriptions import Subscription, SubscriptionListItem, SubscriptionPage


@get("/subscriptions")
async def list_subscriptions(scope: Scope) -> Answer:
    visit = await reading(scope)
    items = await foreign.page_of(visit, SUBSCRIPTIONS, partial(answers.subscription, SubscriptionListItem))
    return json(SubscriptionPage(items=items))


@get("/subscriptions/{subscription_id:str}")
async def retrieve_subscription(scope: Scope) -> Answer:
    visit = await reading(scope)
    told, headers = await foreign.one_of(visit, SUBSCRIPTIONS)
    return json(answers.subscription(Subscription, visit.caller.tenant.business_id, told), headers)


@get("/license_keys")
async def list_licence_keys(scope: Scope) -> Answer:
    visit = await reading(scope)
    return json(LicenseKeyPage(items=await foreign.page_of(visit, LICENCE_KEYS, answers.licence_key)))


@get("/license_keys/{licence_key_id:str}")
async def retrieve_licence_key(scope: Scope) -> Answer:
    visit = await reading(scope)
    told, headers = await foreign.one_of(visit, LICENCE_KEYS)
    return json(answers.licence_key(visit.caller.tenant.business_id, told), headers)


@get("/license_key_instances")
async def list_instances(scope: Scope) -> Answer:
    """Nothing here knows of grants: none of them has instances."""
    visit = await reading(scope)
    page, query = instances_of(visit.call)
    tenant = visit.caller.tenant
    nothing = not page.limit or "grant_id" in query
    rows = [] if nothing else await visit.parts.foreign.instances(tenant, page, query.get("license_key_id"))
    return json(LicenseKeyInstancePage(items=[answers.instance(tenant.business_id, row) for row in rows]))


@get("/license_key_instances/{instance_id:str}")
async def retrieve_instance(scope: Scope) -> Answer:
    visit = await reading(scope)
    tenant = visit.caller.tenant
    found = await visit.parts.foreign.instance(tenant, foreign_id(visit.path["instance_id"]))
    if found is None:
        raise not_found()
    sequence, row = found
    return json(answers.instance(tenant.business_id, row), as_of(visit, row.customer_id, sequence))


ROUTES = (
    list_subscriptions,
    retrieve_subscription,
    list_licence_keys,
    retrieve_licence_key,
    list_instances,
    retrieve_instance,
)
