"""What `score --embeddings` adds to a run: a folder of its own, filled shard by shard with it."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coyo_tools.machinery.manifest import Run, begin, digest_of_ids
from coyo_tools.machinery.parquet import read_table
from coyo_tools.machinery.sorted_runs import Spill
from coyo_tools.machinery.storage import folder_at
from coyo_tools.pieces.scores.base import Score
from coyo_tools.pieces.scores.embeddings import Kept, kept_of
from coyo_tools.stages.embeddings import EmbeddingsPlace, files_of, record_name, record_of
from coyo_tools.stages.score import Unit, stem_of
from coyo_tools.words.config import ScoreSettings

if TYPE_CHECKING:
    from coyo_tools.machinery.sorted_runs import Run as SortedRun

COMMAND = "score --embeddings"
_SHORTCUTS = ("resize_on_device", "scaled_decoding")  # said where taken: they move the vectors


@dataclass(frozen=True)
class Keeping:
    """The embeddings of a run that is under way."""

    run: Run
    place: EmbeddingsPlace

    def lacks(self, stem: str) -> bool:
        """Whether a shard's embeddings are not all there."""
        return not self.run.done and record_of(self.place, stem) is None

    def finish(self, stems: Sequence[str]) -> None:
        """Write the manifest: every shard is there."""
        records = {stem: record_of(self.place, stem) or {} for stem in stems}
        encoders = {name: _added([r[name] for r in records.values()]) for name in self.place.below}
        files = [record_name(stem) for stem in stems]
        tables: list[str] = []
        for name, below in self.place.below.items():
            there = [files_of(stem, below) for stem in stems if records[stem][name]["rows"]]
            files += [file for three in there for file in three]
            tables = tables or [three[2] for three in there]
        with tempfile.TemporaryDirectory(prefix="coyo-") as scratch:
            digest = digest_of_ids(self._ids(tables, Path(scratch)))
            self.run.finish({"encoders": encoders}, sorted(files), digest)

    def _ids(self, tables: Sequence[str], scratch: Path) -> Sequence[SortedRun]:
        """The ids of these tables, on the disk: those of a full data set fill the memory."""
        import io

        ids = Spill(scratch)
        for name in tables:
            data = io.BytesIO(self.run.folder.read_bytes(name))
            table, _ = read_table(data, ["id"])
            ids.add(table.column("id").drop_null().to_numpy())
        return ids.runs()


def _added(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    dimensions = [record["dimensions"] for record in records if record["dimensions"]]
    return {
        "rows": sum(record["rows"] for record in records),
        "left_out": sum(record["left_out"] for record in records),
        "dimensions": dimensions[0] if dimensions else None,
    }


@contextmanager
def keeping(
    settings: ScoreSettings,
    scores: Sequence[Score],
    digests: Mapping[str, str],
    units: Sequence[Unit],
    inputs: Sequence[Mapping[str, Any]],
    versions: Mapping[str, str],
    overwrite: bool,
) -> Iterator[Keeping | None]:
    """Take the folder of embeddings while the block lasts; None where there is none.

    digests: of the weights, by name. Raises as `begin` does, and SettingsError where no score has
    an encoder.
    """
    if settings.embeddings is None:
        yield None
        return
    kept = kept_of(scores)
    said = {
        "encoders": {each.name: _files(each, digests) for each in kept},
        "precision": settings.precision,
    } | {name: True for name in _SHORTCUTS if getattr(settings, name)}
    place = place_of(settings.embeddings, kept, said)
    with begin(
        folder_at(settings.embeddings),
        COMMAND,
        said,
        inputs,
        versions=versions,
        overwrite=overwrite,
        reads=[unit.url for unit in units],
        makes={unit.name: _made_of(unit, place) for unit in units},
    ) as run:
        yield Keeping(run, place)


def _made_of(unit: Unit, place: EmbeddingsPlace) -> list[str]:
    """The names of a unit's files, its record last."""
    stem = stem_of(unit)
    files = [name for below in place.below.values() for name in files_of(stem, below)]
    return [*files, record_name(stem)]


def _files(kept: Kept, digests: Mapping[str, str]) -> dict[str, str]:
    """The sha256 of an encoder's files, by name."""
    encoder = kept.score.encoder
    assert encoder is not None
    both = (encoder.weights, encoder.tokenizer)
    return {each.name: digests[each.name] for each in both if each is not None}


def place_of(url: str, kept: Sequence[Kept], said: Any) -> EmbeddingsPlace:
    """Where each encoder's embeddings go: below its own name where there are several."""
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
    below = {each.name: each.name if len(kept) > 1 else "" for each in kept}
    return EmbeddingsPlace(folder_at(url).url, digest, below)
