"""The rows of one unit of `score` on their way: prepared one by one, scored in batches, a table.

Which rows make a batch depends on the unit and the batch size alone, never on the threads.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

from coyo_tools.pieces.decoding import decode, decode_grey, grey, unconvertible
from coyo_tools.pieces.scores.base import GREY, IMAGE, Sample
from coyo_tools.pieces.scores.embeddings import Kept
from coyo_tools.pieces.scores.lanes import Lane, blaming
from coyo_tools.stages.batch_size import BatchSizes
from coyo_tools.stages.crew import Crew
from coyo_tools.stages.embeddings import EmbeddedRow
from coyo_tools.words.errors import EngineError
from coyo_tools.words.failures import Failure

if TYPE_CHECKING:
    import pyarrow as pa
    from PIL import Image


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
            self.add({name: spent})

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add what was spent elsewhere."""
        with self._lock:
            for name, spent in seconds.items():
                self._seconds[name] = self._seconds.get(name, 0.0) + spent

    def take(self) -> dict[str, float]:
        """The sums since the last call."""
        with self._lock:
            taken, self._seconds = self._seconds, {}
        return {name: round(seconds, 6) for name, seconds in taken.items()}


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
    sizes: BatchSizes
    kept: Sequence[Kept] = ()  # encoders whose embeddings are kept
    clock: Clock = field(default_factory=Clock)
    least_side: int | None = None  # px that decoding has to leave; None: all

    @cached_property
    def needs_image(self) -> bool:
        """Whether any score looks at the picture."""
        return any(lane.needs_image for lane in self.lanes)

    @property
    def uses_device(self) -> bool:
        """Whether a model runs in any."""
        return any(lane.uses_device for lane in self.lanes)

    @cached_property
    def inputs(self) -> frozenset[str]:
        """What the scores look at."""
        return frozenset(chain.from_iterable(lane.inputs for lane in self.lanes))

    def schema(self) -> pa.Schema:
        """id, key, the columns asked for, error."""
        import pyarrow as pa

        kinds = {c.name: c.arrow_type() for lane in self.lanes for c in lane.columns}
        asked = [pa.field(name, kinds[name]) for name in self.columns]
        ends = pa.field("id", pa.int64()), pa.field("key", pa.string())
        return pa.schema([*ends, *asked, pa.field("error", pa.string())])

    def prepare(self, row: Row) -> Prepared:
        """Decode the picture once and preprocess it for every score. Runs in a thread."""
        if not self.needs_image or row.picture is None:
            return self._prepared(row, None, None, None)
        with self.clock.timed("decode"):
            image = decode(row.picture, self.least_side) if IMAGE in self.inputs else None
            pixels: Any = None
            if GREY in self.inputs and not isinstance(image, Failure):
                pixels = decode_grey(row.picture) if image is None else _grey(image)
        if isinstance(image, Failure):
            return self.failed(row, image)
        return self._prepared(row, image, pixels, None)

    def failed(self, row: Row, failure: Failure) -> Prepared:
        """The same of a row whose picture is not to be had: what looks at its caption alone."""
        return self._prepared(row, None, None, failure)

    def _prepared(
        self, row: Row, image: Image.Image | None, pixels: Any, failure: Failure | None
    ) -> Prepared:
        """pixels: the picture's grey, or why it has none, which fails those who look at it."""
        ungrey = pixels if isinstance(pixels, Failure) else None
        sample = Sample(row.key or "", row.caption, image, row.facts, None if ungrey else pixels)
        ready = []
        for lane in self.lanes:
            with self.clock.timed(lane.label):
                missing = failure or (ungrey if GREY in lane.inputs else None)
                found = missing if lane.needs_image and missing else _prepare(lane, sample)
            failure = failure or (found if isinstance(found, Failure) else None)
            ready.append(None if isinstance(found, Failure) else found)
        if self.kept:
            return Prepared(replace(row, picture=None), tuple(ready), failure)
        return Prepared(Row(row.key, row.id, None), tuple(ready), failure)


def _grey(image: Image.Image) -> Any:
    """Of a decoded picture, or why it has none."""
    try:
        return grey(image)
    except (OSError, ValueError):
        failure = unconvertible(image)
        if failure is None:
            raise
        return failure


def _prepare(lane: Lane, sample: Sample) -> Any:
    with blaming(lane.label, f"on {sample.key or 'a row'}"):
        try:
            return lane.scorer.prepare(sample)
        except (OSError, ValueError):
            failure = unconvertible(sample.image) if sample.image is not None else None
            if failure is None:  # the score's doing, not the picture's
                raise
            return failure


class Gathered:
    """The rows of one table and their values, filled in as the crew ends batch after batch."""

    def __init__(self, panel: Panel, crew: Crew) -> None:
        self._panel, self._crew = panel, crew
        self._rows: list[Row] = []
        self._errors: list[str | None] = []
        names = [c.name for lane in panel.lanes for c in lane.columns]
        self._values: dict[str, list[Any]] = {name: [] for name in names}
        self._pending: list[list[tuple[int, Any]]] = [[] for _ in panel.lanes]
        self._under_way: deque[Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, prepared: Prepared) -> None:
        """Take a row; full batches are given to the crew. Raises what an earlier one raised."""
        number = len(self._rows)
        self._rows.append(prepared.row)
        self._errors.append(prepared.failure.error if prepared.failure else None)
        for values in self._values.values():
            values.append(None)
        for index, ready in enumerate(prepared.ready):
            if ready is not None:
                self._pending[index].append((number, ready))
                if len(self._pending[index]) >= self._panel.sizes.of(self._panel.lanes[index]):
                    self._give(index)

    def end(self) -> None:
        """There are no more rows: give the last batches away too."""
        for index in range(len(self._pending)):
            self._give(index)

    def _give(self, index: int) -> None:
        batch, self._pending[index] = self._pending[index], []
        while self._under_way and self._under_way[0].done():
            self._under_way.popleft().result()
        if batch:
            lane = self._panel.lanes[index]
            give = self._crew.give_to_cores if lane.on_cpu else self._crew.give
            self._under_way.append(give(self._run, lane, batch))

    def _run(self, lane: Lane, batch: Sequence[tuple[int, Any]]) -> None:
        """Score a batch and put the values into their rows. Runs in a thread."""
        with self._panel.clock.timed(lane.label), blaming(lane.label, "in a batch"):
            found = self._panel.sizes.score(lane, [ready for _, ready in batch])
        _check_counts(lane, found, len(batch))
        for column, values in zip(lane.columns, found, strict=True):
            into = self._values[column.name]
            for (number, _), value in zip(batch, values, strict=True):
                into[number] = value

    def table(self) -> pa.Table:
        """Everything taken, after `end`; waits for the batches under way."""
        import pyarrow as pa

        while self._under_way:
            self._under_way.popleft().result()
        schema = self._panel.schema()
        known: dict[str, list[Any]] = {
            "id": [row.id for row in self._rows],
            "key": [row.key for row in self._rows],
            "error": self._errors,
        }
        columns = known | self._values
        return pa.table([_array(f, columns[f.name]) for f in schema], schema=schema)

    def embedded(self) -> tuple[list[EmbeddedRow], dict[str, tuple[list[Any], list[Any]]]]:
        """The rows and, by encoder, the vectors of pictures and captions, after `table`."""
        rows = [EmbeddedRow(r.key, r.id, r.caption, r.facts.get("url")) for r in self._rows]
        vectors = {}
        for each in self._panel.kept:
            image, text = each.columns
            vectors[each.name] = self._values[image], self._values[text]
        return rows, vectors


def _check_counts(lane: Lane, found: Sequence[Sequence[Any]], rows: int) -> None:
    """Raise EngineError where a score gives other columns than it declares, or other rows."""
    names = [column.name for column in lane.columns]
    if len(found) != len(names):
        wrong = f"{len(found)} columns, not {len(names)}"
        raise EngineError(f"the score gave {wrong}", where=lane.label)
    for name, values in zip(names, found, strict=True):
        if len(values) != rows:
            raise EngineError(f"the score gave {len(values)} values for {rows} rows", where=name)


def _array(field: pa.Field, values: Sequence[Any]) -> pa.Array:
    """A column of the table. Raises EngineError where a score gave what its dtype cannot hold."""
    import pyarrow as pa

    try:
        return pa.array(values, field.type)
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        told = str(error).splitlines()[0][:200]
        raise EngineError(
            f"the score gave a value that is no {field.type}: {told}", where=field.name
        ) from error
