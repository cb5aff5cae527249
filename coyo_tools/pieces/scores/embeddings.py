"""Embeddings as a score of their own: the encoder's pictures and captions, normalised, float16."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from coyo_tools.pieces.scores.base import (
    IMAGE,
    TEXT,
    Encoder,
    Head,
    Score,
    ScoreColumn,
    Setup,
)
from coyo_tools.words.errors import SettingsError


@dataclass(frozen=True)
class Kept:
    """One encoder whose embeddings are kept. name: of its weights."""

    name: str
    score: Score

    @property
    def columns(self) -> tuple[str, str]:
        """What the values of picture and caption are called on their way to the file."""
        image, text = self.score.columns
        return image.name, text.name


def kept_of(scores: Iterable[Score]) -> tuple[Kept, ...]:
    """The encoders of these scores. Raises SettingsError where there is none."""
    encoders = dict.fromkeys(score.encoder for score in scores if score.encoder is not None)
    if not encoders:
        raise SettingsError(
            "no column of this run has embeddings",
            where="--embeddings",
            todo="add one of CLIP, such as -c clip_similarity_vitl14",
        )
    return tuple(Kept(each.weights.name, _score(each)) for each in encoders)


def _score(encoder: Encoder) -> Score:
    name = encoder.weights.name
    columns = (
        ScoreColumn(f"image embedding of {name}", "list<halffloat>", "normalised"),
        ScoreColumn(f"text embedding of {name}", "list<halffloat>", "normalised"),
    )
    return Score(
        name=f"embeddings of {name}",
        columns=columns,
        inputs=(IMAGE, TEXT),
        model=encoder.weights.source,
        licence=encoder.weights.licence,
        load=_load,
        encoder=encoder,
        extra="score",
        written=False,
    )


def _load(_: Setup) -> Head:
    return normalised


def normalised(images: Any, texts: Any) -> Sequence[Any]:
    """The rows of both, each of length 1 in float32 and then rounded to float16."""
    return [_float16(images), _float16(texts)]


def _float16(rows: Any) -> list[Any]:
    from torch.nn.functional import normalize

    return list(normalize(rows.float(), dim=-1).half().cpu().numpy())
