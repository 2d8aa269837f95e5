"""Servers that `up` does not start itself: whether they are there is known before anything is started."""

import psycopg
import pytest

from services.mistakes import ExitCode, Mistake
from services.standalone.ports import free_port
from services.standalone.reach import reach_database, reach_kafka


@pytest.mark.parametrize("bootstrap", ["127.0.0.1:1", "127.0.0.1:1,[::1]:1"])
def test_a_kafka_that_is_not_there(bootstrap: str) -> None:
    with pytest.raises(Mistake, match=r"cannot reach Kafka at 127\.0\.0\.1:") as told:
        reach_kafka(bootstrap)
    assert told.value.exit_code is ExitCode.UNREACHABLE
    assert "WALLET_LEDGER_KAFKA_BOOTSTRAP" in str(told.value)


def test_a_database_that_is_not_there() -> None:
    with pytest.raises(psycopg.OperationalError):
        reach_database(f"postgresql://ledger@127.0.0.1:{free_port()}/nothing")
