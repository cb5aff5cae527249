"""One unit of `score`: a tar shard or a part of metadata in, one parquet of columns out.

A shard is read once for all columns and a picture decoded once for all scores. Shards follow one
another in one stream (`stages/shard_stream.py`): what decodes does not wait for a shard's end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from coyo_tools.machinery.storage import folder_at
from coyo_tools.pieces.decoding import quiet
from coyo_tools.pieces.scores import choose
from coyo_tools.pieces.scores.base import Score
from coyo_tools.pieces.scores.embeddings import kept_of
from coyo_tools.pieces.scores.lanes import Lane, load_lanes
from coyo_tools.pieces.shard_reader import Shard
from coyo_tools.pieces.source import OpenPart, Part, open_part
from coyo_tools.stages import batch_size, embeddings
from coyo_tools.stages.batch_size import BatchSizes
from coyo_tools.stages.crew import Crew
from coyo_tools.stages.decoders import Decoders
from coyo_tools.stages.embeddings import EmbeddingsPlace
from coyo_tools.stages.score_difference import MEASURED_ROWS, as_metadata, differences
from coyo_tools.stages.score_table import Gathered, Panel, Prepared, Row
from coyo_tools.stages.shard_stream import ShardStream, prepared, rows_of
from coyo_tools.words.errors import SettingsError
from coyo_tools.words.failures import Failure

if TYPE_CHECKING:
    import pyarrow as pa

Unit = Shard | Part
Emit = Callable[[Any], None]
ROW_GROUP = 65_536  # rows
TEXTS_AT_ONCE = 8_192  # captions of metadata that are counted together
KEY_DIGITS = 16
_TELL_ROWS = 8  # how often progress is told
_ENOUGH_THREADS = 4  # to decode beside a GPU: they hardly wait for Python's lock


def output_name(unit: Unit) -> str:
    """The parquet a unit's columns go to: of the same stem."""
    return f"{unit.stem}.parquet" if isinstance(unit, Shard) else unit.name


def stem_of(unit: Unit) -> str:
    """What the files of a unit have in common in their names."""
    return output_name(unit).removesuffix(".parquet")


@dataclass(frozen=True)
class Scored:
    """What came of units. seconds: of all threads, by what they were spent on.

    batch_sizes: of the scores that have a model, the smallest that was used.
    """

    rows: int
    seconds: Mapping[str, float] = field(default_factory=dict)
    batch_sizes: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: Scored) -> Scored:
        both = {**self.seconds, **other.seconds}
        seconds = {n: self.seconds.get(n, 0.0) + other.seconds.get(n, 0.0) for n in both}
        sizes = dict(self.batch_sizes)
        for name, size in other.batch_sizes.items():
            sizes[name] = min(size, sizes.get(name, size))
        return Scored(self.rows + other.rows, seconds, sizes)


@dataclass(frozen=True)
class ScoreWork:
    """What a worker does: load the scores once, then score unit after unit into the folder `out`.

    columns, model, pretrained: as in the settings. weights: local files, by their names in
    `weights_of`. embeddings: where to keep them, if at all; a file that is there already is left
    as it is. batch_size: None to find one for the
    device. threads: that decode and, on the CPU, run the models. decode_in: as in the settings;
    there are as many processes as threads then. measured: the output in which to
    keep what shortcuts do to the values, "" where none are taken. scratch: a local folder that the
    workers of a run share, to tell one another what they were at; "" where there is one worker.
    Yields each unit with what came of it; emits how many rows more are decoded.
    """

    out: str
    columns: tuple[str, ...]
    weights: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    precision: str = "fp32"
    resize_on_device: bool = False
    scaled_decoding: bool = False
    compiled: bool = False
    batch_size: int | None = None
    threads: int = 1
    decode_in: str = "auto"
    schema: str = "auto"
    measured: str = ""
    model: tuple[str, ...] = ()
    pretrained: tuple[str, ...] = ()
    embeddings: EmbeddingsPlace | None = None
    scratch: str = ""

    def __call__(self, units: Iterator[Unit], emit: Emit) -> Iterator[tuple[Unit, Scored]]:
        """Score the units, in their order."""
        scores = self._scores()
        device = pick_device(self.device) if any(s.uses_device for s in scores) else None
        with (
            quiet(),
            ThreadPoolExecutor(1, "write") as writer,
            ExitStack() as stack,
            Crew(self.threads, device) as crew,
        ):
            decoders = stack.enter_context(self._decoders(scores, device))
            panel = self._whole_panel(device or "cpu")
            first = next(units, None)
            if isinstance(first, Part):
                for unit in cast("Iterator[Part]", chain([first], units)):
                    tables = _score_part(open_part(unit, self.schema), panel, crew, emit)
                    yield unit, self._write(unit, panel, tables)
            elif first is not None:
                shards = cast("Iterator[Shard]", chain([first], units))
                bench = _Bench(device, panel, crew, decoders, writer, stack)
                yield from self._score_shards(shards, bench, emit, at_once=2 if device else 1)

    def _score_shards(
        self, shards: Iterator[Shard], bench: _Bench, emit: Emit, at_once: int
    ) -> Iterator[tuple[Unit, Scored]]:
        """at_once: shards that may have been read and not be written yet."""
        ending: deque[tuple[Unit, Future[Scored]]] = deque()  # all read, perhaps not all scored
        while True:
            stream = ShardStream(shards, self._needs_care if bench.decoders is None else None)
            at: tuple[Shard, Gathered] | None = None
            for item in prepared(stream, bench.panel, bench.crew, bench.decoders):
                if isinstance(item, Prepared):
                    assert at is not None
                    at[1].add(item)
                    if len(at[1]) % _TELL_ROWS == 0:
                        emit(_TELL_ROWS)
                        yield from _ended(ending, wait_for=0)
                    continue
                if at is not None:
                    ending.append(self._ending(*at, bench, emit))
                    yield from _ended(ending, wait_for=len(ending) - at_once + 1)
                at = item, Gathered(bench.panel, bench.crew)
            if at is not None and stream.fault is None:
                ending.append(self._ending(*at, bench, emit))
            yield from _ended(ending, wait_for=len(ending))
            if stream.fault is not None:
                raise stream.fault
            if stream.careful is None:
                return
            careful = bench.stack.enter_context(self._processes(bench.device))
            bench = replace(bench, decoders=careful)
            shards = chain([stream.careful], shards)

    def _ending(
        self, shard: Shard, gathered: Gathered, bench: _Bench, emit: Emit
    ) -> tuple[Unit, Future[Scored]]:
        """All of the shard is read: have it written as soon as it is scored."""
        gathered.end()
        if rest := len(gathered) % _TELL_ROWS:
            emit(rest)
        return shard, bench.writer.submit(self._end, shard, gathered, bench.panel, bench.crew)

    def _scores(self) -> list[Score]:
        """Those of the columns, and those whose values are embeddings to be kept."""
        scores = choose(self.columns, self.model, self.pretrained).scores
        kept = kept_of(scores) if self.embeddings else ()
        return [*scores, *(each.score for each in kept)]

    def _decoders(
        self, scores: Sequence[Score], device: str | None
    ) -> AbstractContextManager[Decoders | None]:
        """The processes that decode, where it is not the crew that does."""
        beside_gpu = device not in (None, "cpu") and self.threads > _ENOUGH_THREADS
        wanted = beside_gpu if self.decode_in == "auto" else self.decode_in == "processes"
        if not wanted or not any(score.needs_image for score in scores):
            return nullcontext()
        return self._processes(device)

    def _needs_care(self, shard: Shard) -> bool:
        """Whether a worker died while it had this shard, as one may that decodes it in threads;
        marks that one has it now."""
        if not self.scratch or not any(score.needs_image for score in self._scores()):
            return False
        mark = Path(self.scratch) / f"open-{output_name(shard)}"
        there = mark.exists()
        mark.touch()
        return there

    def _processes(self, device: str | None) -> Decoders:
        """They see no GPU, and have to be told whether there is one."""
        return Decoders(replace(self, device=device or "cpu").panel_to_prepare, self.threads)

    def panel_to_prepare(self) -> Panel:
        """What a process loads that decodes and does nothing else."""
        return self._whole_panel("cpu", prepares_only=True)

    def _whole_panel(self, device: str, *, prepares_only: bool = False) -> Panel:
        chosen = choose(self.columns, self.model, self.pretrained)
        kept = kept_of(chosen.scores) if self.embeddings else ()
        loaded = self._panel(self._scores(), chosen.columns, device, prepares_only=prepares_only)
        return replace(loaded, kept=kept)

    def _panel(
        self,
        scores: Sequence[Score],
        columns: tuple[str, ...],
        device: str,
        *,
        prepares_only: bool = False,
    ) -> Panel:
        if device != "cpu":
            make_ready(device)
        found = {name: Path(path) for name, path in self.weights.items()}
        lanes = load_lanes(
            scores,
            device,
            self.precision,
            found,
            compiled=self.compiled and not prepares_only,
            resize_on_device=self.resize_on_device,
            whole_pictures=self.device.startswith("cuda") if prepares_only else device != "cpu",
            prepares_only=prepares_only,
        )
        least_side = _least_side(lanes) if self.scaled_decoding else None
        if self.batch_size is None:
            sizes = batch_size.find(lanes, device)
        else:
            sizes = BatchSizes(self.batch_size)
        return Panel(lanes, columns, sizes, least_side=least_side)

    def _end(self, unit: Shard, gathered: Gathered, panel: Panel, crew: Crew) -> Scored:
        """Write what was gathered, when all of it is scored. Runs in a thread."""
        table = gathered.table()
        if self.embeddings and embeddings.record_of(self.embeddings, unit.stem) is None:
            embeddings.write(self.embeddings, unit.stem, *gathered.embedded())
        if output_name(unit) != self.measured:
            return self._write(unit, panel, [table])
        said = differences(table, self._exact(unit, crew, table.column("error").to_pylist()))
        return self._write(unit, panel, [table], as_metadata(said))

    def _exact(self, shard: Shard, crew: Crew, errors: Sequence[str | None]) -> pa.Table:
        """The first rows of the shard with nothing cut short, columns with a model alone.

        errors: of its rows; what crashed a decoder is not decoded here.
        """
        chosen = choose(self.columns, self.model, self.pretrained)
        scores = [score for score in chosen.scores if score.uses_device]
        given = {c.name for score in scores for c in score.columns}
        plain = replace(
            self,
            precision="fp32",
            resize_on_device=False,
            scaled_decoding=False,
            compiled=False,
            batch_size=batch_size.ON_CPU,
        )
        columns = tuple(name for name in chosen.columns if name in given)
        panel = plain._panel(scores, columns, pick_device(self.device))
        gathered = Gathered(panel, crew)
        for row, error in islice(zip(rows_of(shard), errors, strict=True), MEASURED_ROWS):
            crashed = Failure(error) if error == "decoder_crashed" else None
            gathered.add(panel.failed(row, crashed) if crashed else panel.prepare(row))
        gathered.end()
        return gathered.table()

    def _write(
        self,
        unit: Unit,
        panel: Panel,
        tables: Iterable[pa.Table],
        metadata: Mapping[str, str] | None = None,
    ) -> Scored:
        import pyarrow.parquet as pq

        rows = 0
        if folder_at(self.out).exists(output_name(unit)):  # only its embeddings were missing
            rows = sum(table.num_rows for table in tables)
            return Scored(rows, panel.clock.take(), panel.sizes.found(panel.lanes))
        with (
            folder_at(self.out).stage(output_name(unit)) as path,
            pq.ParquetWriter(path, panel.schema(), compression="zstd") as writer,
        ):
            for table in tables:
                writer.write_table(table, row_group_size=ROW_GROUP)
                rows += table.num_rows
            if metadata:
                writer.add_key_value_metadata(metadata)
        return Scored(rows, panel.clock.take(), panel.sizes.found(panel.lanes))


@dataclass(frozen=True)
class _Bench:
    """What a worker works with. stack: closes what is opened later on."""

    device: str | None
    panel: Panel
    crew: Crew
    decoders: Decoders | None
    writer: ThreadPoolExecutor
    stack: ExitStack


def _least_side(lanes: Sequence[Lane]) -> int | None:
    """Twice the largest side that a model sees; None where one does not say."""
    sides = [getattr(lane.scorer, "side_px", None) for lane in lanes if lane.needs_image]
    known = [side for side in sides if side is not None]
    return 2 * max(known) if known and len(known) == len(sides) else None


def _ended(
    ending: deque[tuple[Unit, Future[Scored]]], wait_for: int
) -> Iterator[tuple[Unit, Scored]]:
    """Units that are written, in their order: the first `wait_for`, and what is done besides."""
    while ending and (wait_for > 0 or ending[0][1].done()):
        unit, written = ending.popleft()
        wait_for -= 1
        yield unit, written.result()


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


def make_ready(device: str) -> None:
    """Make a GPU this thread's, and let fp32 be float32 there: torch computes convolutions in
    TF32, of 10 bits."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(device)
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def _score_part(part: OpenPart, panel: Panel, crew: Crew, emit: Emit) -> Iterator[pa.Table]:
    """The text columns of a part of metadata, a table for every row group."""
    names = [name for name in ("id", "text") if name == "text" or name in part.binding.columns]
    wide = replace(panel, sizes=BatchSizes(TEXTS_AT_ONCE))
    for batch in part.batches(names):
        for start in range(0, batch.num_rows, ROW_GROUP):
            piece = batch.slice(start, ROW_GROUP)
            ids = piece.column("id").to_pylist() if "id" in names else [None] * piece.num_rows
            yield _score_texts(ids, piece.column("text").to_pylist(), wide, crew)
            emit(piece.num_rows)


def _score_texts(
    ids: Sequence[int | None], texts: Sequence[str | None], panel: Panel, crew: Crew
) -> pa.Table:
    gathered = Gathered(panel, crew)
    for number, text in zip(ids, texts, strict=True):
        gathered.add(panel.prepare(Row(_key(number), number, text)))
    gathered.end()
    return gathered.table()


def _key(number: int | None) -> str | None:
    """The key `download` would give the row."""
    return None if number is None else f"{number:0{KEY_DIGITS}d}"
