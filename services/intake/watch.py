"""How intake is doing: ready while the ledger gives outcomes and records come, or nothing waits for either."""

from collections.abc import Collection, Mapping

from services.ends import Ends
from services.faust_process import FaustWatch, Hangs
from services.intake import metrics
from services.intake.asking import Asker
from services.intake.taking import Taking
from services.receiving import CheckpointApp

NOT_READY_SECONDS = 10.0


class Watch(FaustWatch):
    """Nothing assigned is all right: others have it all. The ledger may be away for however long: that ends no process."""

    no_progress_seconds_max = 60.0

    def __init__(self, app: CheckpointApp, taking: Taking, asker: Asker, ends: Ends) -> None:
        super().__init__(app, ends)
        self._taking = taking
        self._asker = asker
        self._before: Mapping[int, int] = {}
        """How far it was when we looked last: what is done while the ends are asked for may lie behind them."""
        self._read: Mapping[int, int] = {}
        """And how far was fetched."""

    def _judge(self, now: float, partitions: Collection[int], ends: Mapping[int, int]) -> dict[str, str]:
        """What lies between two records is nobody's: markers of transactions, and what expired before it was fetched."""
        done, fetched, positions = self._taking.next_offsets, self._app.fetched, self._app.positions()
        waiting = sum(max(0, fetched.get(one, 0) - done.get(one, 0)) for one in partitions)
        unread = sum(max(0, end - positions.get(one, 0)) for one, end in ends.items())
        if shorter := [
            one for one, end in ends.items() if min(self._before.get(one, 0), done.get(one, 0)) > end
        ]:
            raise Hangs(f"partitions {shorter} end before what was read of them: made anew, or cut off")
        self._before = dict(done)
        self._since = max(self._since, self._taking.last_progress) if waiting or unread else now
        asked = self._asker.waits_since()
        seconds = now - (self._since if asked is None else asked)
        metrics.OUTCOME_WAIT_SECONDS.set(0 if asked is None else seconds)
        fetching = not unread or self._taking.stands() or positions != self._read
        self._read = dict(positions)
        if asked is not None and self._asker.hears() and fetching:
            self._since = now
        return self._told(waiting, unread, seconds, now - self._since)

    def _told(self, waiting: int, unread: int, asked_for: float, still_for: float) -> dict[str, str]:
        problems: dict[str, str] = {}
        late = self._taking.late()
        if (waiting or late) and asked_for > NOT_READY_SECONDS:
            shards = (
                f" of shards {[*late]}: {sum(late.values())} facts wait"
                if late
                else f": {waiting} records wait"
            )
            problems["ledger"] = f"no outcome for {asked_for:.0f} s{shards}"
        if unread and still_for > NOT_READY_SECONDS:
            problems["lag"] = f"{unread} records are not fetched, for {still_for:.0f} s"
        return problems
