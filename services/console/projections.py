"""`wallet-ledger projections rebuild` and `… digest`: what they print."""

import json

import psycopg

from services.console.mistakes import beside, explain
from services.console.progress import bars
from services.mistakes import ExitCode, Mistake
from services.projections import samples
from services.projections.applying import ChainBroken
from services.projections.digests import digests
from services.projections.rebuild.load import LoadFailed
from services.projections.rebuild.rebuild import Busy, Rebuild, Rebuilt
from services.projections.rebuild.tables import Unfit
from services.reading import Incomplete
from services.settings import Settings


def rebuild(processes: int, *, afresh: bool, as_json: bool) -> None:
    """
    Raises:
        Mistake: what stands in the way; the live tables are as they were, unless it says that they are replaced.
    """
    settings = beside("kafka_bootstrap", "views_dsn", "keys_dsn", "key_encryption_key")
    from services.topics import check

    check(settings)
    with bars(as_json) as shown:
        try:
            done = Rebuild(settings, shown.show, processes).run(afresh)
        except (ChainBroken, Incomplete, LoadFailed, Unfit) as error:
            raise Mistake(f"the read models stay as they were: {error}", ExitCode.MISFIT) from error
        except Busy as error:
            raise Mistake(str(error), ExitCode.REFUSED) from error
    _tell(done, as_json=as_json)
    _sample_again(settings)


def _tell(done: Rebuilt, *, as_json: bool) -> None:
    rate = done.events / done.load_seconds if done.load_seconds else 0.0
    if as_json:
        print(json.dumps({**done._asdict(), "events_per_second": round(rate)}))
        return
    went_on = f", {done.resumed:,} of an earlier run kept" if done.resumed else ""
    print(
        f"{done.events:,} events applied in {done.load_seconds:.1f} s ({rate:,.0f}/s){went_on}; "
        f"swapped in {done.swap_seconds * 1000:.0f} ms; {done.seconds:.1f} s in all"
    )


def _sample_again(settings: Settings) -> None:
    """Whoever was erased while it caught up was sampled before."""
    try:
        samples.renew(settings.views_dsn.get_secret_value())
    except psycopg.OperationalError as error:
        raise Mistake(
            "the read models are replaced; only PostgreSQL's statistics of them were not taken anew: "
            f"run ANALYZE in their database. {explain(error)}",
            ExitCode.UNREACHABLE,
        ) from error


def digest(*, as_json: bool) -> None:
    """One line per table."""
    found = digests(beside("views_dsn").views_dsn.get_secret_value())
    if as_json:
        tables = [table._asdict() for table in found.tables]
        print(json.dumps({"positions": found.positions, "tables": tables}))
        return
    for table in found.tables:
        print(f"{table.sha256}  {table.table:<20} {table.rows:>12,} rows  ({', '.join(table.columns)})")
    print(f"as of sequence {sum(found.positions.values()):,} over {len(found.positions)} shards")
