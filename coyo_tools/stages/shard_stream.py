"""The pictures of shard after shard, made ready in one stream.

What decodes is never without work at a shard's end: the next shard is read while the last rows of
the one before are in hand. Each shard comes before its rows, so that they can be told apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice

from coyo_tools.machinery.watchdog import bounded
from coyo_tools.pieces.shard_reader import Shard, read_shard
from coyo_tools.stages.crew import Crew
from coyo_tools.stages.decoders import Decoders
from coyo_tools.stages.score_table import Panel, Prepared, Row

_ROWS = 16


class ShardStream:
    """Shards and their rows, as they are asked for; iterated over once.

    needs_care: asked of each shard; the stream ends before one of which it is true, `careful`. It
    also ends where a shard cannot be read, with the `fault`: the shards before it are whole, and
    rows of them are still being made ready by then.
    """

    def __init__(
        self, shards: Iterator[Shard], needs_care: Callable[[Shard], bool] | None = None
    ) -> None:
        self._shards, self._needs_care = shards, needs_care
        self.careful: Shard | None = None
        self.fault: Exception | None = None

    def __iter__(self) -> Iterator[Shard | Row]:
        for shard in self._shards:
            if self._needs_care is not None and self._needs_care(shard):
                self.careful = shard
                return
            yield shard
            try:
                yield from rows_of(shard)
            except Exception as error:  # noqa: BLE001  raised by who reads the stream
                self.fault = error
                return


def rows_of(shard: Shard) -> Iterator[Row]:
    """The shard's rows, undecoded. Raises CorruptFile, SourceError."""
    for entry in read_shard(shard):
        yield Row(entry.key, entry.id, entry.caption, entry.picture, entry.facts)


def prepared(
    stream: ShardStream, panel: Panel, crew: Crew, decoders: Decoders | None = None
) -> Iterator[Shard | Prepared]:
    """The stream in its order, its rows made ready: by the decoders, or else by the crew."""

    def prepare(item: Shard | Row) -> Shard | Prepared:
        if not isinstance(item, Row):
            return item
        with bounded():
            return panel.prepare(item)

    def prepare_lot(lot: Sequence[Shard | Row]) -> Sequence[Shard | Prepared]:
        return [prepare(item) for item in lot]

    if not panel.needs_image:
        return map(prepare, stream)
    largest = panel.sizes.largest(panel.lanes)
    if decoders is not None:
        return decoders.in_order(panel, stream, largest)
    if panel.uses_device:
        return crew.in_order(prepare, stream, largest + 2 * crew.threads)
    lots = crew.in_order(prepare_lot, _lots(stream), 2 * crew.threads)
    return chain.from_iterable(lots)


def _lots(stream: Iterable[Shard | Row]) -> Iterator[list[Shard | Row]]:
    """Rows that a thread makes ready one after the other: where no model runs, a row is done so
    soon that handing it over by itself would count."""
    items = iter(stream)
    while lot := list(islice(items, _ROWS)):
        yield lot
