"""One running service for the proofs that leave it as others need it: each has businesses of its own."""

from collections.abc import Iterator

import pytest

from tests import seeds
from tests.proof import service


@pytest.fixture(scope="package")
def machine() -> Iterator[type[service.ServiceMachine]]:
    with service.started() as started:
        yield started


@pytest.fixture
def seed() -> int:
    return seeds.chosen()
