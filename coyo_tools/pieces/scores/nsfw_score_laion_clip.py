"""nsfw_score_laion_clip: LAION's CLIP-based safety head, which LAION's metadata calls punsafe.

An AutoKeras model on the normalised ViT-L/14 embedding of the picture. AutoKeras took five of the
768 numbers for categories: in their place stands how frequent that float16 value was in training
(1: the most frequent; 0: never seen), found by the number's text with six decimals. So the
embedding is rounded to float16 first: the ones that it was trained on were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coyo_tools.pieces.scores import clip
from coyo_tools.pieces.scores.archives import read_members
from coyo_tools.pieces.scores.base import IMAGE, Head, Score, ScoreColumn, Setup
from coyo_tools.pieces.scores.saved_model import read_tables, read_variables
from coyo_tools.pieces.scores.weights import check_file
from coyo_tools.pieces.scores.weights_files import LAION_SAFETY
from coyo_tools.words.errors import WeightsError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

MEMBERS = ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001")
_WIDTHS = (768, 64, 512, 256, 1)
_LEAST_DEVIATION = 1e-7  # Keras' epsilon
_CATEGORIES = "layer_with_weights-0/encoding_layers/"


@dataclass(frozen=True)
class SafetyHead:
    """mean, deviation: (768,). layers: kernel (in, out) and bias. tables: by their dimension."""

    mean: Array
    deviation: Array
    layers: Sequence[tuple[Array, Array]]
    tables: Mapping[int, Mapping[str, int]]

    def __call__(self, normalised: Array) -> Array:
        """Float32 (n, 768), L2-normalised, to probabilities (n,), 0 to 1."""
        import numpy as np

        seen = normalised.astype(np.float16).astype(np.float32)
        values: Array = seen.copy()
        for dimension, table in self.tables.items():
            values[:, dimension] = [table.get(f"{x:f}", 0) for x in seen[:, dimension].tolist()]
        values = (values - self.mean) / self.deviation
        for kernel, bias in self.layers[:-1]:
            values = np.maximum(values @ kernel + bias, 0)
        kernel, bias = self.layers[-1]
        logits: Array = (values @ kernel + bias)[:, 0].astype(np.float64)
        # The sigmoid, without overflow.
        return (0.5 * (1 + np.tanh(0.5 * logits))).astype(np.float32)


def read_head(path: Path) -> SafetyHead:
    """The head out of LAION's zip of a SavedModel. Raises WeightsError."""
    check_file(path, LAION_SAFETY.formats)
    graph, index, data = read_members(path, MEMBERS).values()
    try:
        return _head(read_variables(index, data), read_tables(graph))
    except (ValueError, KeyError, IndexError) as error:
        raise WeightsError(
            f"these are no weights of LAION's safety head: {error}",
            where=str(path),
            todo="fetch the file again, or name another with --weights nsfw_score_laion_clip=PATH",
        ) from error


def _head(variables: Mapping[str, Array], tables: Sequence[Mapping[str, int]]) -> SafetyHead:
    import numpy as np

    def array(name: str, *shape: int) -> Array:
        found = variables[name]
        if found.shape != shape:
            raise ValueError(f"{name} is of shape {found.shape}, not {shape}")
        return found

    places = {n.split("/")[2] for n in variables if n.startswith(_CATEGORIES)}
    dimensions = sorted(map(int, places))
    if len(dimensions) != len(tables) or any(d >= _WIDTHS[0] for d in dimensions):
        raise ValueError(f"{len(tables)} tables for {len(dimensions)} dimensions")
    variance = array("layer_with_weights-1/variance", _WIDTHS[0])
    layers = [
        (
            array(f"layer_with_weights-{number}/kernel", *_WIDTHS[number - 2 : number]),
            array(f"layer_with_weights-{number}/bias", _WIDTHS[number - 1]),
        )
        for number in range(2, len(_WIDTHS) + 1)
    ]
    return SafetyHead(
        array("layer_with_weights-1/mean", _WIDTHS[0]),
        np.maximum(np.sqrt(variance), np.float32(_LEAST_DEVIATION)),
        layers,
        dict(zip(dimensions, tables, strict=True)),
    )


def _load(setup: Setup) -> Head:
    import torch

    assert setup.weights is not None
    safety = read_head(setup.weights)

    def head(images: Any, _: Any) -> Sequence[Any]:
        return (safety(torch.nn.functional.normalize(images, dim=-1).cpu().numpy()),)

    return head


SCORE = Score(
    name="nsfw_score_laion_clip",
    columns=(
        ScoreColumn(
            "nsfw_score_laion_clip",
            "float32",
            "probability of not safe for work by LAION's safety head, 0 to 1; punsafe of LAION's "
            "metadata",
        ),
    ),
    inputs=(IMAGE,),
    model="LAION's CLIP-based-NSFW-Detector (AutoKeras, 768-64-512-256-1) on the L2-normalised "
    "embedding of OpenAI CLIP ViT-L-14, rounded to float16, computed once with "
    "clip_similarity_vitl14",
    licence="MIT",
    load=_load,
    weights=LAION_SAFETY,
    encoder=clip.VIT_L_14,
    note="not a column of COYO's; pictures stored smaller than the original move it a little",
    extra="score",
    packages=("torch", "open_clip"),
    distributions=("open-clip-torch", "torch", "torchvision"),
)
