"""What `download` and `census` have in common: before, while and after urls are fetched."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coyo_tools.machinery.manifest import tool_versions
from coyo_tools.machinery.storage import read_bytes
from coyo_tools.pieces import blocklist
from coyo_tools.pieces.shard_plan import Plan
from coyo_tools.words.config import DownloadSettings
from coyo_tools.words.errors import SchemaError, SourceError
from coyo_tools.words.progress import Listener, Progress

if TYPE_CHECKING:
    import numpy as np


def versions() -> dict[str, str]:
    """For the manifest: this tool's, and those of the packages that make pictures."""
    return tool_versions("simplejpeg", "cykooz-resizer")


def block_list(
    settings: DownloadSettings,
) -> tuple[blocklist.BlockList, list[dict[str, Any]]]:
    """The list and, for the manifest, what it is. Raises SourceError."""
    import hashlib

    if settings.block_list is None:
        return blocklist.BlockList(), []
    data = read_bytes(settings.block_list)
    try:
        found = blocklist.parse(data.decode())
    except UnicodeDecodeError as error:
        raise SourceError("is no UTF-8 text", where=settings.block_list) from error
    name = Path(settings.block_list).name
    digest = hashlib.sha256(data).hexdigest()
    return found, [{"name": name, "bytes": len(data), "sha256": digest}]


class Told:
    """Adds up what the workers tell, and passes it on. total: rows to come."""

    def __init__(self, verb: str, total: int, listener: Listener) -> None:
        self._verb, self._total = verb, total
        self._sum = {"rows": 0, "successes": 0, "bytes": 0}
        self._listener, self._started = listener, time.monotonic()

    def hear(self, event: Mapping[str, int]) -> None:
        """One worker's news."""
        for name, value in event.items():
            self._sum[name] += value
        self.tell()

    def tell(self) -> None:
        """Pass on where things stand."""
        # A worker that died has told of rows that are fetched again.
        self._send(min(self._sum["rows"], self._total - 1))

    def end(self) -> None:
        """All is done."""
        self._send(self._total)

    def _send(self, done: int) -> None:
        elapsed = max(time.monotonic() - self._started, 1e-9)
        rate, volume = self._sum["rows"] / elapsed, self._sum["bytes"] / elapsed / 1e6
        share = self._sum["successes"] / max(1, self._sum["rows"])
        note = f"{rate:,.0f} rows/s, {volume:,.1f} MB/s, {share:.1%} fetched"
        numbers = {**self._sum, "rows_per_s": rate, "mb_per_s": volume}
        self._listener(Progress(self._verb, done, self._total, "rows", note, numbers))


def repeats_of(plan: Plan, progress: Listener) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Rows whose url an earlier row has, and that row. Raises SchemaError where an id repeats."""
    from coyo_tools.pieces.repeats import Repeats, hashes

    has_id = "id" in plan.columns
    names = ["url", "id"] if has_id else ["url"]
    with Repeats(plan.rows) as urls, Repeats(plan.rows) as ids:
        for at, group in enumerate(plan.groups):
            table = plan.read(at, names)
            urls.add(hashes(table.column("url")))
            if has_id:
                column = table.column("id")
                if column.null_count:
                    where = plan.parts[group.part].part.url
                    raise SchemaError("column 'id' has nulls", where=where)
                ids.add(column.to_numpy().view("uint64"))
            note = "looking for repeated urls"
            progress(Progress("download", group.first_row, None, "rows", note))
        _check_ids(ids.found(), plan)
        return urls.found()


def _check_ids(found: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]], plan: Plan) -> None:
    again, first = found
    if len(again):
        raise SchemaError(
            f"{len(again):,} rows have the id of an earlier row, the first of them row "
            f"{int(again[0]):,} that of row {int(first[0]):,}",
            where=plan.parts[0].part.url,
            todo="ids name the files in the shards: keep one row of each, or drop the column "
            "and rows are numbered",
        )
