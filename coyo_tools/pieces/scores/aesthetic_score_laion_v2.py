"""aesthetic_score_laion_v2: how people would rate the picture, by LAION-Aesthetics V2.

Five linear layers on the normalised CLIP ViT-L/14 embedding of the picture, with no activation
between them (christophschuhmann/improved-aesthetic-predictor): one dot product and a bias.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coyo_tools.pieces.scores import clip
from coyo_tools.pieces.scores.base import IMAGE, Head, Score, ScoreColumn, Setup
from coyo_tools.pieces.scores.weights import load_tensors
from coyo_tools.pieces.scores.weights_files import LAION_AESTHETICS_V2
from coyo_tools.words.errors import WeightsError

if TYPE_CHECKING:
    import numpy as np

    Vector = np.ndarray[Any, np.dtype[np.float32]]

_DIMENSIONS = 768


def fold(layers: Mapping[str, Any], where: str) -> tuple[Vector, float]:
    """The layers as one float32 vector (768,) and a bias; multiplied in float64.

    layers: `layers.N.weight` (out, in) and `layers.N.bias` (out,), applied by rising N, or `weight`
    and `bias` alone. Raises WeightsError where they are no chain from 768 numbers to one.
    """
    import numpy as np

    product, bias = np.eye(_DIMENSIONS), np.zeros(_DIMENSIONS)
    try:
        for stem in _in_order(layers):
            weight = np.atleast_2d(_float64(layers, f"{stem}weight"))
            product = weight @ product
            bias = weight @ bias + np.atleast_1d(_float64(layers, f"{stem}bias"))
    except ValueError as error:
        raise _no_head(where, str(error)) from error
    if product.shape != (1, _DIMENSIONS) or bias.shape != (1,):
        raise _no_head(where, f"it gives {len(product)} numbers, not one")
    if not (np.isfinite(product).all() and np.isfinite(bias).all()):
        raise _no_head(where, "it holds numbers that are not finite")
    return product[0].astype(np.float32), float(np.float32(bias[0]))


def _float64(layers: Mapping[str, Any], name: str) -> Any:
    import torch

    if name not in layers:
        raise ValueError(f"{name} is absent")
    return torch.as_tensor(layers[name]).detach().double().numpy()


def _in_order(layers: Mapping[str, Any]) -> list[str]:
    """`layers.0.`, `layers.2.` ...: what stands before `weight` and `bias`. Raises ValueError."""
    stems = {name.removesuffix("weight").removesuffix("bias") for name in layers}
    if stems == {""}:
        return [""]
    numbers = {stem: stem.removeprefix("layers.").rstrip(".") for stem in stems}
    for stem, number in sorted(numbers.items()):
        if not number.isdecimal():
            raise ValueError(f"{stem!r} is none of its layers")
    return sorted(stems, key=lambda stem: int(numbers[stem]))


def _no_head(where: str, why: str) -> WeightsError:
    return WeightsError(
        f"these are no weights of the LAION-Aesthetics V2 head: {why}",
        where=where,
        todo="name the right file with --weights aesthetic_score_laion_v2=PATH",
    )


def load_head(path: Path, device: str) -> Head:
    """The folded head, from a torch, safetensors or .npz file. Raises WeightsError."""
    import torch

    vector, bias = fold(load_tensors(path, LAION_AESTHETICS_V2.formats), str(path))
    on_device = torch.from_numpy(vector).to(device)

    def head(images: Any, _: Any) -> Sequence[Any]:
        normalised = torch.nn.functional.normalize(images, dim=-1)
        return ((normalised @ on_device + bias).cpu().numpy(),)

    return head


def _load(setup: Setup) -> Head:
    assert setup.weights is not None
    return load_head(setup.weights, setup.device)


SCORE = Score(
    name="aesthetic_score_laion_v2",
    columns=(
        ScoreColumn("aesthetic_score_laion_v2", "float32", "LAION-Aesthetics V2, about 1 to 8"),
    ),
    inputs=(IMAGE,),
    model="sac+logos+ava1-l14-linearMSE folded to one float32 vector, on the L2-normalised "
    "embedding of OpenAI CLIP ViT-L-14, computed once with clip_similarity_vitl14",
    licence="Apache-2.0 (head), MIT (CLIP)",
    load=_load,
    weights=LAION_AESTHETICS_V2,
    encoder=clip.VIT_L_14,
    note="pictures stored smaller than the original move it a little",
    extra="score",
    packages=("torch", "open_clip"),
    distributions=("open-clip-torch", "torch", "torchvision"),
)
