"""How intake is doing: ready while the ledger gives outcomes, or nothing waits for one."""

from collections.abc import Mapping

from services.faust_process import FaustWatch
from services.intake.taking import Taking
from services.kafka import Reached
from services.receiving import CheckpointApp

NOT_READY_SECONDS = 10.0


class Watch(FaustWatch):
    """Nothing assigned is all right: others have it all."""

    no_progress_seconds_max = 60.0

    def __init__(self, app: CheckpointApp, taking: Taking, reached: Reached) -> None:
        super().__init__(app, reached)
        self._taking = taking

    def _judge(self, now: float, ends: Mapping[int, int]) -> dict[str, str]:
        done = self._taking.next_offsets
        behind = sum(max(0, end - done.get(partition, 0)) for partition, end in ends.items())
        self._since = max(self._since, self._taking.last_progress) if behind else now
        if behind and now - self._since > NOT_READY_SECONDS:
            return {"ledger": f"{behind} records wait, for {now - self._since:.0f} s without an outcome"}
        return {}
