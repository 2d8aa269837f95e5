"""Callers who mean no good, against the running service: generated requests, and every kind of wrong caller."""

import time
from datetime import UTC, datetime, timedelta
from itertools import count

import httpx
import psycopg

from events.sharding import shard_of
from services.api.keys import Scope, create_key, revoke_key, secret_hash
from tests.asking import customer_in
from tests.proof.fuzz import PHASES, Fuzzed, fuzz
from tests.proof.matrix import Ids, Keys, Matrix, look
from tests.proof.service import SECONDS_MAX, SHARDS, Service
from tests.proof.told import Told

CASES = 500
CASES_SHORT = 5
PHASES_SHORT = "fuzzing"
POLL_SECONDS = 0.1
DEADLINE_SECONDS = 30
"""Of a command, on machines that are busy with other things: a proof of what is answered, not of how soon."""
_numbers = count(1)


def hammer(service: Service, seed: int, cases: int, phases: str = PHASES) -> Fuzzed:
    """Generated requests to every operation, with a key that may do everything in a business that lives."""
    business = f"biz_fuzz_{seed}_{next(_numbers)}"
    secret = _secret(service, business, *Scope)
    with _client(service) as client:
        own(service, business, client, _bearer(secret))
    return fuzz(service.url, secret, seed, cases, phases)


def try_all(service: Service) -> Matrix:
    """The matrix of callers."""
    keys, mine, absent = cast(service)
    with _client(service) as client:
        return look(client, keys, mine, absent)


def cast(service: Service) -> tuple[Keys, Ids, Ids]:
    """Callers of every kind, an owner of everything, and the ids of nobody."""
    business = f"biz_matrix_{next(_numbers)}"
    keys = Keys(
        owner=_bearer(_secret(service, business, *Scope)),
        other=_bearer(_secret(service, f"{business}_other", *Scope)),
        reader=_bearer(_secret(service, f"{business}", Scope.READ)),
        writer=_bearer(_secret(service, f"{business}", Scope.WRITE)),
        dead={"a revoked key": _revoked(service, business), "an expired key": _expired(service, business)},
    )
    with _client(service) as client:
        mine = own(service, business, client, keys.owner)
    return keys, mine, _nobodys(mine)


def _nobodys(mine: Ids) -> Ids:
    """As long and of the same alphabet; the customer in the same shard."""
    others = {kind: f"{value[:4]}{'0' * (len(value) - 4)}" for kind, value in mine._asdict().items()}
    return Ids(**others)._replace(customer=customer_in(shard_of(mine.customer, SHARDS), SHARDS, "absent"))


def own(
    service: Service, business: str, client: httpx.Client, headers: dict[str, str], marked: str = "Mai"
) -> Ids:
    """Somebody who has one of everything; `marked` stands in all that is personal."""
    ready = {**headers, "ledger-position": ""}

    def ask(method: str, path: str, body: dict[str, object] | None = None) -> dict[str, object]:
        sent = {name: value for name, value in ready.items() if value}
        said = client.request(method, path, json=body, headers=sent)
        assert said.status_code == 200, said.text
        ready["ledger-position"] = said.headers["ledger-position"]
        found: dict[str, object] = said.json()
        return found

    person: dict[str, object] = {
        "name": f"Nguyễn Thị {marked}",
        "email": f"{marked}@example.com",
        "metadata": {"note": marked},
    }
    customer = str(ask("POST", "/customers", person)["customer_id"])
    wallet = f"/customers/{customer}/wallets/ledger-entries"
    ask("POST", wallet, {"amount": 2**40, "currency": "USD", "entry_type": "credit", "reason": marked})
    entries = ask("GET", wallet)["items"]
    assert isinstance(entries, list)
    block = ask("POST", f"/v1/customers/{customer}/block", {})["blocklist_entry_id"]
    told = Told(business, customer, marked)
    service.run(told.tell(service.system.kafka.bootstrap))
    while client.get(f"/license_keys/{told.licence_key}", headers=headers).status_code == 404:
        time.sleep(POLL_SECONDS)
    return Ids(
        customer, str(block), str(entries[0]["id"]), told.payment, told.refund, told.dispute, told.subscription,
        told.licence_key, "lki_" + told.mark,
    )  # fmt: skip


def bearer(service: Service, business: str) -> dict[str, str]:
    """Of a new key that may do everything."""
    mark = f"hostile {next(_numbers)}"
    return _bearer(create_key(_dsn(service), business, "test", mark, list(Scope))[1])


def _client(service: Service) -> httpx.Client:
    return httpx.Client(base_url=service.url, timeout=SECONDS_MAX, trust_env=False)


def _secret(service: Service, business: str, *scopes: str) -> str:
    return create_key(_dsn(service), business, "test", "abuse " + " ".join(sorted(scopes)), scopes)[1]


def _revoked(service: Service, business: str) -> dict[str, str]:
    key, secret = create_key(_dsn(service), business, "test", "revoked", list(Scope))
    revoke_key(_dsn(service), key.key_id)
    return _bearer(secret)


def _expired(service: Service, business: str) -> dict[str, str]:
    soon = datetime.now(UTC) + timedelta(days=1)
    _, secret = create_key(_dsn(service), business, "test", "expired", list(Scope), soon)
    with psycopg.connect(_dsn(service)) as connection:
        connection.execute(
            "UPDATE api_keys SET created_at = now() - interval '2 days', expires_at = now() - interval '1 day' "
            "WHERE hash = %s",
            [secret_hash(secret)],
        )
    return _bearer(secret)


def _bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def _dsn(service: Service) -> str:
    return service.system.settings.views_dsn.get_secret_value()
