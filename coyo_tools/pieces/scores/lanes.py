"""Loaded scores: one lane each, and one for all that look through the same encoder."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, cast

from coyo_tools.pieces.scores.base import (
    TEXT,
    Head,
    LoadedEncoder,
    Sample,
    Score,
    ScoreColumn,
    Scorer,
    Setup,
    Weights,
)
from coyo_tools.words.errors import CoyoError, EngineError
from coyo_tools.words.failures import Failure


@contextmanager
def blaming(label: str, doing: str) -> Iterator[None]:
    """Raise what a score raises, which may be anything, as an EngineError that names the score."""
    try:
        yield
    except CoyoError:
        raise
    except Exception as error:
        told = (str(error).strip().splitlines() or [""])[0][:200]
        named = EngineError(
            f"the score failed {doing}: {type(error).__name__}: {told}",
            where=label,
            todo="--debug shows where",
        )
        named.details = traceback.format_exc()
        raise named from error


@dataclass(frozen=True)
class Lane:
    """Scores whose values one scorer gives, batch by batch: the columns of all, in their order."""

    scores: tuple[Score, ...]
    scorer: Scorer

    @property
    def columns(self) -> Iterator[ScoreColumn]:
        """What the scorer gives."""
        return chain.from_iterable(score.columns for score in self.scores)

    @cached_property
    def label(self) -> str:
        """The names of its columns that are written."""
        written = (score.columns for score in self.scores if score.written)
        return ", ".join(column.name for column in chain.from_iterable(written))

    @property
    def inputs(self) -> frozenset[str]:
        """What the scores look at."""
        return frozenset(chain.from_iterable(score.inputs for score in self.scores))

    @property
    def needs_image(self) -> bool:
        """Whether any of the scores looks at the picture."""
        return any(score.needs_image for score in self.scores)

    @property
    def uses_device(self) -> bool:
        """Whether a model runs in it."""
        return any(score.uses_device for score in self.scores)

    @property
    def on_cpu(self) -> bool:
        """Whether nothing of it runs on a GPU, wherever models do."""
        return not self.uses_device or getattr(self.scorer, "device", None) == "cpu"


def load_lanes(
    scores: Sequence[Score],
    device: str,
    precision: str,
    weights: Mapping[str, Path],
    *,
    compiled: bool = False,
    resize_on_device: bool = False,
    whole_pictures: bool = False,
    prepares_only: bool = False,
) -> list[Lane]:
    """Load the scores. weights: local files by their names in `weights_of`.

    prepares_only: nothing is ever scored. Heads, which only look at embeddings, are not loaded.
    """

    def setup(wanted: Weights | None, tokenizer: Weights | None = None) -> Setup:
        file, words = (weights[each.name] if each else None for each in (wanted, tokenizer))
        return Setup(
            device,
            precision,
            file,
            words,
            compiled,
            resize_on_device,
            whole_pictures,
            prepares_only,
        )

    def loaded(group: Sequence[Score]) -> Scorer:
        if encoder := group[0].encoder:
            wanted = () if prepares_only else group
            heads = [cast("Head", score.load(setup(score.weights))) for score in wanted]
            embedding = encoder.load(setup(encoder.weights, encoder.tokenizer))
            return Encoded(embedding, group, heads)
        return cast("Scorer", group[0].load(setup(group[0].weights)))

    together: dict[object, list[Score]] = {}
    for score in scores:
        together.setdefault(score.encoder or score.name, []).append(score)
    lanes = []
    for group in together.values():
        with blaming(", ".join(score.name for score in group), "to load"):
            lanes.append(Lane(tuple(group), loaded(group)))
    return lanes


class Encoded:
    """The scores on one encoder as one scorer: a picture is preprocessed and embedded once."""

    def __init__(
        self, encoder: LoadedEncoder, scores: Sequence[Score], heads: Sequence[Head]
    ) -> None:
        self._encoder, self._scores, self._heads = encoder, scores, heads
        self._with_text = [TEXT in score.inputs for score in scores]
        self.side_px: int | None = getattr(encoder, "side_px", None)

    def prepare(self, sample: Sample) -> tuple[Any, Any] | Failure | None:
        """Picture and caption, ready; None where every score wants a caption and there is none."""
        if sample.caption is None and all(self._with_text):
            return None
        return self._encoder.prepare(sample, with_text=any(self._with_text))

    def score(self, prepared: Sequence[tuple[Any, Any]]) -> Sequence[Any]:
        """The columns of all scores; None in those of captions where there is no caption."""
        rows = [row for row, (_, text) in enumerate(prepared) if text is not None]
        images = self._encoder.embed_images([image for image, _ in prepared])
        texts = self._encoder.embed_texts([prepared[row][1] for row in rows]) if rows else None
        _await(images)
        columns: list[Any] = []
        for score, head in zip(self._scores, self._heads, strict=True):
            if TEXT not in score.inputs:
                columns += head(images, None)
            elif rows:
                found = head(images[rows], texts)
                columns += (_spread(values, rows, len(prepared)) for values in found)
            else:
                columns += ([None] * len(prepared) for _ in score.columns)
        return columns


def _await(tensor: Any) -> None:
    """Wait until it is computed, asleep: asked for the values, CUDA waits with a busy core."""
    if tensor.is_cuda:
        import torch

        done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        done.record()
        done.synchronize()


def _spread(values: Any, rows: Sequence[int], length: int) -> Any:
    """The values at their rows, None elsewhere."""
    if len(rows) == length:
        return values
    spread = [None] * length
    plain = values.tolist() if hasattr(values, "tolist") else values
    for row, value in zip(rows, plain, strict=True):
        spread[row] = value
    return spread
