"""`wallet-ledger upstream`: a played payment service."""

import asyncio
import time

from rich.console import Console

from services.console.mistakes import beside
from services.console.progress import bars
from services.upstream.play import Player, Score


def upstream(score: Score, *, as_json: bool) -> None:
    """Play, with a bar on standard error, and print what was played.

    Raises:
        Mistake: a server does not answer, or not as it must.
    """
    settings = beside("kafka_bootstrap")
    with bars(quiet=as_json) as shown:
        player = Player(
            score, lambda: time.time_ns() // 1_000, lambda done, total: shown.show("hours", done, total)
        )
        report = asyncio.run(player.play(settings))
    if as_json:
        print(report.as_json())
    else:
        report.show(Console())
