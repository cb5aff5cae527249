"""What `download` and `census` have in common: before, while and after urls are fetched."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coyo_tools.machinery import open_files
from coyo_tools.machinery.manifest import tool_versions
from coyo_tools.pieces import blocklist
from coyo_tools.pieces.shard_plan import Plan
from coyo_tools.pieces.small_files import read_bytes
from coyo_tools.words.config import DownloadSettings
from coyo_tools.words.errors import SchemaError, SettingsError, SourceError
from coyo_tools.words.progress import Listener, Progress

if TYPE_CHECKING:
    import numpy as np

_HOSTS_HELD = 10_000  # beyond so many, the half that cost least time so far is forgotten
_NAMED = 10  # failure classes and hosts told
_RECENT_S = 60.0
_GONE = (
    "the network is gone: neither hosts that answered before nor name servers can be reached; no "
    "row is recorded for it, and the run goes on when it is back"
)


def versions(engine: str = "coyo") -> dict[str, str]:
    """For the manifest: this tool's, and those of the packages that make pictures."""
    makers = ("av", "simplejpeg", "cykooz-resizer") if engine == "coyo" else (engine,)
    return tool_versions(*makers)


def check_connections(settings: DownloadSettings) -> None:
    """Raise SettingsError where a process may not have so many connections open."""
    most = open_files.most()
    if most is not None and settings.connections + open_files.BESIDE > most:
        raise SettingsError(
            f"{settings.connections:,} connections and {open_files.BESIDE} other files are more "
            f"than the {most:,} files that a process may have open here",
            where="--connections",
            todo="lower it, or raise `ulimit -Hn`",
        )


def block_list(
    settings: DownloadSettings,
) -> tuple[blocklist.BlockList, list[dict[str, Any]]]:
    """The list and, for the manifest, what it is. Raises SourceError."""
    import hashlib

    if settings.block_list is None:
        return blocklist.BlockList(), []
    data = read_bytes(settings.block_list)
    try:
        found = blocklist.parse(data.decode("utf-8-sig"), settings.block_list)
    except UnicodeDecodeError as error:
        raise SourceError("is no UTF-8 text", where=settings.block_list) from error
    name = Path(settings.block_list).name
    digest = hashlib.sha256(data).hexdigest()
    return found, [{"name": name, "bytes": len(data), "sha256": digest}]


class Told:
    """Adds up what the workers tell (see `Tally.take`), and passes it on. total: rows to come.
    there: those of them that need not be fetched, and count for no rate."""

    def __init__(self, verb: str, total: int, listener: Listener, there: int = 0) -> None:
        self._verb, self._total, self._there = verb, total, there
        self._sum = {"rows": 0, "successes": 0, "bytes": 0}
        self._errors: Counter[str] = Counter()
        self._hosts: dict[str, tuple[int, float]] = {}
        self._listener = listener
        self._gone: set[int] = set()  # processes whose network is
        self._recent = deque([(time.monotonic(), tuple(self._sum.values()))])

    def hear(self, event: Mapping[str, Any]) -> None:
        """One worker's news."""
        if "network" in event:
            self._hear_of_network(**event["network"])
            return
        for name in self._sum:
            self._sum[name] += event[name]
        self._errors.update(event["errors"])
        for host, (times, seconds) in event["hosts"].items():
            before = self._hosts.get(host, (0, 0.0))
            self._hosts[host] = before[0] + times, before[1] + seconds
        if len(self._hosts) > _HOSTS_HELD:
            self._hosts = dict(self._costly(_HOSTS_HELD // 2))
        self.tell()

    def _hear_of_network(self, *, process: int, gone: bool, lasted_s: float) -> None:
        """Tell of an outage once, though each process notices it: from the first that does, until
        the first that is through with it."""
        if gone:
            if not self._gone:
                self._say(_GONE)
            self._gone.add(process)
        elif process in self._gone:
            self._gone.clear()
            self._say(f"the network is back after {lasted_s:,.0f} s; the run goes on")

    def _say(self, news: str) -> None:
        # A worker that died has told of rows that are fetched again.
        self._send(min(self._there + self._sum["rows"], self._total - 1), news)

    def tell(self) -> None:
        """Pass on where things stand."""
        self._say("")

    def end(self) -> None:
        """All is done."""
        self._send(self._total)

    def _costly(self, most: int) -> list[tuple[str, tuple[int, float]]]:
        """The hosts that cost most time, and those alone."""
        return sorted(self._hosts.items(), key=lambda item: (-item[1][1], item[0]))[:most]

    def _rates(self) -> dict[str, float]:
        """Rows, pictures and megabytes a second, over the last minute."""
        now, sums = time.monotonic(), tuple(self._sum.values())
        if now - self._recent[-1][0] >= 1:
            self._recent.append((now, sums))
        while len(self._recent) > 2 and now - self._recent[1][0] >= _RECENT_S:
            self._recent.popleft()
        then, before = self._recent[0]
        elapsed = max(now - then, 1e-9)
        rows, successes, size = ((b - a) / elapsed for a, b in zip(before, sums, strict=True))
        return {"rows_per_s": rows, "images_per_s": successes, "mb_per_s": size / 1e6}

    def _send(self, done: int, news: str = "") -> None:
        rates = self._rates()
        share = self._sum["successes"] / max(1, self._sum["rows"])
        note = (
            f"{rates['rows_per_s']:,.0f} rows/s, {rates['images_per_s']:,.0f} images/s, "
            f"{rates['mb_per_s']:,.1f} MB/s, {share:.1%} fetched"
        )
        errors = sorted(self._errors.items(), key=lambda item: (-item[1], item[0]))
        slowest = [(host, took / times) for host, (times, took) in self._costly(_NAMED)]
        tops: dict[str, list[tuple[str, float]]] = {
            "errors": [(name, float(rows)) for name, rows in errors[:_NAMED]],
            "slowest_hosts": slowest,
        }
        counts = {**self._sum, **rates}
        self._listener(Progress(self._verb, done, self._total, "rows", note, counts, tops, news))


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
