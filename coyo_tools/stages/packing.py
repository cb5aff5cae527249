"""What becomes of a row, and of a shard whose rows have all become something."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coyo_tools.machinery.storage import folder_at
from coyo_tools.pieces import shards
from coyo_tools.pieces.blocklist import BlockList
from coyo_tools.pieces.rows import Outcome
from coyo_tools.stages.open_shard import OpenShard
from coyo_tools.words.config import DownloadSettings
from coyo_tools.words.failures import Failure

if TYPE_CHECKING:
    from coyo_tools.pieces.lending import Borrower


def pack(
    shard: OpenShard,
    row: int,
    result: bytes | Failure | Outcome,
    settings: DownloadSettings,
    blocked: BlockList,
    lent: Borrower,
) -> tuple[int, Outcome]:
    """Make the outcome of what was fetched and write it; gives the number of rows."""
    from coyo_tools.pieces.outcomes import outcome_of

    if isinstance(result, Failure):
        outcome = Outcome(result)
    elif isinstance(result, Outcome):
        outcome = result
    else:
        try:
            outcome = outcome_of(result, settings, blocked, shard.careful or lent)
        except Exception as error:  # noqa: BLE001  one picture must not end a run of days
            outcome = Outcome(Failure("internal", type(error).__name__))
    return shard.add(row, outcome), outcome


def outcomes_of(
    out: str, number: int, wanted: Mapping[int, int]
) -> dict[int, tuple[str | None, Outcome]]:
    """For each row of ours the url and outcome of its owner in a finished shard."""
    shard = shards.open_shard(folder_at(out), number)
    found = {
        at: (url, result)
        for at, url, result in shards.outcomes(shard, sorted(set(wanted.values())))
    }
    return {row: found[at] for row, at in wanted.items()}


def publish(shard: OpenShard, out: str, scratch: str) -> dict[str, Any]:
    """Finish the shard's files and leave a mark for those that wait for it."""
    ended_at = time.time()
    times = {
        "duration": ended_at - shard.started_at,
        "start_time": shard.started_at,
        "end_time": ended_at,
        "attempts": shard.unit.attempt,
    }
    stats = shard.writer.finish(times)
    if shard.unit.again:
        shards.install(folder_at(out), shard.unit.number)
    (Path(scratch) / f"done-{shard.unit.number}").touch()
    return stats
