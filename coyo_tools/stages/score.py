"""One unit of `score`: a tar shard or a part of metadata in, one parquet of columns out.

A shard is read once for all columns and a picture decoded once for all scores. Decoding and
preprocessing run in threads ahead of the model, at most two batches. Which pictures make a batch
depends on the shard and the batch size alone, never on the number of workers.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from coyo_tools.machinery.storage import folder_at
from coyo_tools.pieces.decoding import decode, quiet
from coyo_tools.pieces.scores import choose
from coyo_tools.pieces.scores.base import Sample, Score
from coyo_tools.pieces.scores.embeddings import Kept, kept_of
from coyo_tools.pieces.scores.lanes import Lane, load_lanes
from coyo_tools.pieces.shard_reader import Shard, read_shard
from coyo_tools.pieces.source import OpenPart, Part, open_part
from coyo_tools.stages import embeddings
from coyo_tools.stages.embeddings import EmbeddedRow, EmbeddingsPlace
from coyo_tools.words.errors import EngineError, SettingsError
from coyo_tools.words.failures import Failure

if TYPE_CHECKING:
    import pyarrow as pa

Unit = Shard | Part
Item = TypeVar("Item")
Result = TypeVar("Result")
ROW_GROUP = 65_536  # rows
TEXTS_AT_ONCE = 8_192  # captions of metadata that are counted together
KEY_DIGITS = 16


def output_name(unit: Unit) -> str:
    """The parquet a unit's columns go to: of the same stem."""
    return f"{unit.stem}.parquet" if isinstance(unit, Shard) else unit.name


@dataclass(frozen=True)
class Scored:
    """What came of a unit. seconds: of all threads, by what they were spent on."""

    rows: int
    seconds: Mapping[str, float] = field(default_factory=dict)

    def __add__(self, other: Scored) -> Scored:
        both = {**self.seconds, **other.seconds}
        seconds = {n: self.seconds.get(n, 0.0) + other.seconds.get(n, 0.0) for n in both}
        return Scored(self.rows + other.rows, seconds)


class Clock:
    """Adds up seconds by name, from any thread."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the time the block takes."""
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            with self._lock:
                self._seconds[name] = self._seconds.get(name, 0.0) + spent

    def take(self) -> dict[str, float]:
        """The sums since the last call."""
        with self._lock:
            taken, self._seconds = self._seconds, {}
        return {name: round(seconds, 6) for name, seconds in taken.items()}


@dataclass(frozen=True)
class ScoreWork:
    """What a worker does: load the scores once, then score unit after unit into the folder `out`.

    columns, model, pretrained: as in the settings. weights: local files, by their names in
    `weights_of`. threads: decoding ahead of the model. embeddings: where to keep them, if at all;
    a file that is there already is left as it is.
    Yields each unit with what came of it; emits the number of rows of each finished batch.
    """

    out: str
    columns: tuple[str, ...]
    weights: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    precision: str = "fp32"
    batch_size: int = 32
    threads: int = 1
    schema: str = "auto"
    model: tuple[str, ...] = ()
    pretrained: tuple[str, ...] = ()
    embeddings: EmbeddingsPlace | None = None

    def __call__(
        self, units: Iterator[Unit], emit: Callable[[Any], None]
    ) -> Iterator[tuple[Unit, Scored]]:
        """Score the units one after the other."""
        chosen = choose(self.columns, self.model, self.pretrained)
        kept = kept_of(chosen.scores) if self.embeddings else ()
        lanes = self._load([*chosen.scores, *(each.score for each in kept)])
        panel = Panel(lanes, chosen.columns, self.batch_size, kept)
        with quiet(), ThreadPoolExecutor(self.threads, "decode") as pool:
            for unit in units:
                rows = self._score(unit, panel, pool, emit)
                yield unit, Scored(rows, panel.clock.take())

    def _load(self, scores: Sequence[Score]) -> list[Lane]:
        device = pick_device(self.device) if any(s.uses_device for s in scores) else "cpu"
        found = {name: Path(path) for name, path in self.weights.items()}
        return load_lanes(scores, device, self.precision, found)

    def _score(
        self, unit: Unit, panel: Panel, pool: ThreadPoolExecutor, emit: Callable[[Any], None]
    ) -> int:
        if isinstance(unit, Shard):
            gathered = _score_shard(unit, panel, pool, self.threads, emit)
            tables = iter([gathered.table()])
            if self.embeddings and embeddings.record_of(self.embeddings, unit.stem) is None:
                embeddings.write(self.embeddings, unit.stem, *gathered.embedded())
        else:
            tables = _score_part(open_part(unit, self.schema), panel, emit)
        return self._write(output_name(unit), panel.schema(), tables)

    def _write(self, name: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
        import pyarrow.parquet as pq

        rows = 0
        if folder_at(self.out).exists(name):  # only its embeddings were missing
            return sum(table.num_rows for table in tables)
        with (
            folder_at(self.out).stage(name) as path,
            pq.ParquetWriter(path, schema, compression="zstd") as writer,
        ):
            for table in tables:
                writer.write_table(table, row_group_size=ROW_GROUP)
                rows += table.num_rows
        return rows


def pick_device(name: str) -> str:
    """The torch device for a setting; auto: the first GPU, else the CPU. Raises SettingsError."""
    if name == "cpu":
        return name
    import torch

    if name == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    index = int(name.partition(":")[2] or 0)
    if index >= torch.cuda.device_count():
        raise SettingsError(
            f"{name} is not there: torch sees {torch.cuda.device_count()} CUDA devices",
            where="--device",
            todo="choose another, or cpu",
        )
    return f"cuda:{index}"


@dataclass(frozen=True)
class Row:
    """What is known of one row before it is scored.

    picture: encoded; None in metadata. facts: KEY.json of a shard.
    """

    key: str | None
    id: int | None
    caption: str | None
    picture: bytes | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Prepared:
    """A row made ready: for each lane what its model wants, None, or why there is nothing."""

    row: Row
    ready: tuple[Any, ...]
    failure: Failure | None


@dataclass(frozen=True)
class Panel:
    """The loaded scores of one worker, and the columns that were asked for, in their order."""

    lanes: Sequence[Lane]
    columns: tuple[str, ...]
    batch_size: int
    kept: Sequence[Kept] = ()  # encoders whose embeddings are kept
    clock: Clock = field(default_factory=Clock)

    @property
    def needs_image(self) -> bool:
        """Whether any score looks at the picture."""
        return any(lane.needs_image for lane in self.lanes)

    def schema(self) -> pa.Schema:
        """id, key, the columns asked for, error."""
        import pyarrow as pa

        kinds = {c.name: c.arrow_type() for lane in self.lanes for c in lane.columns}
        asked = [pa.field(name, kinds[name]) for name in self.columns]
        ends = pa.field("id", pa.int64()), pa.field("key", pa.string())
        return pa.schema([*ends, *asked, pa.field("error", pa.string())])

    def prepare(self, row: Row) -> Prepared:
        """Decode the picture once and preprocess it for every score. Runs in a thread."""
        image: Any = None
        if self.needs_image and row.picture is not None:
            with self.clock.timed("decode"):
                image = decode(row.picture)
        failure = image if isinstance(image, Failure) else None
        sample = Sample(row.key or "", row.caption, None if failure else image, row.facts)
        ready = []
        for lane in self.lanes:
            with self.clock.timed(lane.label):
                found = failure if lane.needs_image and failure else _prepare(lane, sample)
            failure = failure or (found if isinstance(found, Failure) else None)
            ready.append(None if isinstance(found, Failure) else found)
        if self.kept:
            return Prepared(replace(row, picture=None), tuple(ready), failure)
        return Prepared(Row(row.key, row.id, None), tuple(ready), failure)


def _prepare(lane: Lane, sample: Sample) -> Any:
    try:
        return lane.scorer.prepare(sample)
    except (OSError, ValueError) as error:
        if not lane.needs_image:
            raise
        # Decoded, yet of a kind that cannot be converted.
        return Failure("corrupt_image", f"{type(error).__name__}: {error}"[:200])


class Gathered:
    """The rows of one table and their values, filled in batch by batch."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        self._rows: list[Row] = []
        self._errors: list[str | None] = []
        names = [c.name for lane in panel.lanes for c in lane.columns]
        self._values: dict[str, list[Any]] = {name: [] for name in names}
        self._pending: list[list[tuple[int, Any]]] = [[] for _ in panel.lanes]

    def add(self, prepared: Prepared) -> None:
        """Take a row; scores whose batch is full are run."""
        number = len(self._rows)
        self._rows.append(prepared.row)
        self._errors.append(prepared.failure.error if prepared.failure else None)
        for values in self._values.values():
            values.append(None)
        for index, ready in enumerate(prepared.ready):
            if ready is not None:
                self._pending[index].append((number, ready))
                if len(self._pending[index]) >= self._panel.batch_size:
                    self._run(index)

    def _run(self, index: int) -> None:
        batch, self._pending[index] = self._pending[index], []
        if not batch:
            return
        lane = self._panel.lanes[index]
        with _out_of_memory_named(), self._panel.clock.timed(lane.label):
            found = lane.scorer.score([ready for _, ready in batch])
        for column, values in zip(lane.columns, found, strict=True):
            into = self._values[column.name]
            for (number, _), value in zip(batch, _plain(values), strict=True):
                into[number] = value

    def table(self) -> pa.Table:
        """Everything taken so far, the last batches run."""
        import pyarrow as pa

        for index in range(len(self._pending)):
            self._run(index)
        schema = self._panel.schema()
        known: dict[str, list[Any]] = {
            "id": [row.id for row in self._rows],
            "key": [row.key for row in self._rows],
            "error": self._errors,
        }
        columns = known | self._values
        return pa.table([pa.array(columns[f.name], f.type) for f in schema], schema=schema)

    def embedded(self) -> tuple[list[EmbeddedRow], dict[str, tuple[list[Any], list[Any]]]]:
        """The rows and, by encoder, the vectors of pictures and captions, after `table`."""
        rows = [EmbeddedRow(r.key, r.id, r.caption, r.facts.get("url")) for r in self._rows]
        vectors = {}
        for each in self._panel.kept:
            image, text = each.columns
            vectors[each.name] = self._values[image], self._values[text]
        return rows, vectors


def _plain(values: Any) -> Sequence[Any]:
    """A numpy array as Python values, anything else as it is."""
    return values.tolist() if hasattr(values, "tolist") else values  # type: ignore[no-any-return]


class _out_of_memory_named:  # noqa: N801  used like a function
    """Turn torch's out-of-memory error into one sentence, without importing torch."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: object, _: object) -> None:
        if kind is not None and kind.__name__ == "OutOfMemoryError":
            raise EngineError(
                "the device ran out of memory",
                where="score",
                todo="run the same command with a smaller --batch-size: it goes on where it "
                "stopped",
            )


def _score_shard(
    shard: Shard,
    panel: Panel,
    pool: ThreadPoolExecutor,
    threads: int,
    emit: Callable[[Any], None],
) -> Gathered:
    gathered = Gathered(panel)
    ahead = max(2 * panel.batch_size, 2 * threads) if panel.needs_image else 1
    done = 0
    for done, prepared in enumerate(in_order(pool, panel.prepare, _rows(shard), ahead), 1):
        gathered.add(prepared)
        if done % panel.batch_size == 0:
            emit(panel.batch_size)
    emit(done % panel.batch_size)
    return gathered


def _rows(shard: Shard) -> Iterator[Row]:
    for entry in read_shard(shard):
        yield Row(entry.key, entry.id, entry.caption, entry.picture, entry.facts)


def in_order(
    pool: ThreadPoolExecutor,
    function: Callable[[Item], Result],
    items: Iterable[Item],
    ahead: int,
) -> Iterator[Result]:
    """`map` in threads, results in order, at most `ahead` items in hand at any time."""
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


def _score_part(part: OpenPart, panel: Panel, emit: Callable[[Any], None]) -> Iterator[pa.Table]:
    """The text columns of a part of metadata, a table for every row group."""
    names = [name for name in ("id", "text") if name == "text" or name in part.binding.columns]
    for batch in part.batches(names):
        for start in range(0, batch.num_rows, ROW_GROUP):
            piece = batch.slice(start, ROW_GROUP)
            ids = piece.column("id").to_pylist() if "id" in names else [None] * piece.num_rows
            yield _score_texts(ids, piece.column("text").to_pylist(), panel)
            emit(piece.num_rows)


def _score_texts(ids: Sequence[int | None], texts: Sequence[str | None], panel: Panel) -> pa.Table:
    wide = replace(panel, batch_size=TEXTS_AT_ONCE)
    gathered = Gathered(wide)
    for number, text in zip(ids, texts, strict=True):
        gathered.add(wide.prepare(Row(_key(number), number, text)))
    return gathered.table()


def _key(number: int | None) -> str | None:
    """The key `download` would give the row."""
    return None if number is None else f"{number:0{KEY_DIGITS}d}"
