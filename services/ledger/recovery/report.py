"""What a recovery tells."""

from collections.abc import Sequence
from typing import NamedTuple


class Recovered(NamedTuple):
    """What became of one shard. `sequence`: how far the store goes now; `taken`: events from the topic."""

    shard: int
    taken: int
    sequence: int
    unpublished: int
    refused: str = ""


class Report(NamedTuple):
    """`owned`: shards that a worker holds and does not refuse, unless it has not looked at them yet; `busy`: those that
    one held all the while though it refuses them. `keyless`: for whose sealed data the key database has no key, each by
    the position of his first event."""

    shards: list[Recovered]
    owned: list[int]
    busy: list[int]
    keyless: list[str]


def left_to_do(report: Report) -> Sequence[str]:
    """What an operator still has to do, one line each; empty: the store can go on."""
    lines = [f"shard {one.shard}: {one.refused}" for one in report.shards if one.refused]
    lines += [
        f"shard {shard}: a worker that refuses it held it all the while: stop the workers or run it again"
        for shard in report.busy
    ]
    if report.keyless:
        shown = ", ".join(report.keyless[:10])
        lines.append(
            f"the key database has no key for {len(report.keyless)} customers, first met at {shown}: "
            "restore it to a later moment; none was made up"
        )
    return lines
