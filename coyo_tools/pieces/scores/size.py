"""width and height: of the picture as it was fetched, as the shard has noted them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from coyo_tools.pieces.scores.base import ROW, Sample, Score, ScoreColumn, Setup

_LARGEST = (1 << 31) - 1


class _Noted:
    """Both sides of the original, out of KEY.json; never those of the stored picture."""

    def prepare(self, sample: Sample) -> tuple[int, int] | None:
        width, height = _side(sample.facts, "width"), _side(sample.facts, "height")
        return None if width is None or height is None else (width, height)

    def score(self, prepared: Sequence[tuple[int, int]]) -> Sequence[Any]:
        return tuple(zip(*prepared, strict=True))


def _side(facts: Mapping[str, Any], side: str) -> int | None:
    found = facts.get(f"original_{side}")
    if not isinstance(found, int) or isinstance(found, bool):
        return None
    return found if 0 < found <= _LARGEST else None


def _load(_: Setup) -> _Noted:
    return _Noted()


SCORE = Score(
    name="size",
    columns=(
        ScoreColumn("width", "int32", "px of the picture as fetched, before it was resized"),
        ScoreColumn("height", "int32", "px of the picture as fetched, before it was resized"),
    ),
    inputs=(ROW,),
    model="original_width and original_height of KEY.json",
    licence="none needed",
    load=_load,
    exact=True,
    note="as the file's header says, before it is turned upright (EXIF); null where the shard "
    "does not say",
)
