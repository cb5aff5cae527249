"""nsfw_score_gantman and the five probabilities it is made of, by GantMan's nsfw_model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coyo_tools.pieces.scores import tfjs
from coyo_tools.pieces.scores.archives import read_members
from coyo_tools.pieces.scores.base import IMAGE, Sample, Score, ScoreColumn, Setup
from coyo_tools.pieces.scores.keras_network import KerasNetwork, input_side, read_h5
from coyo_tools.pieces.scores.weights import TAR, check_file
from coyo_tools.pieces.scores.weights_files import GANTMAN
from coyo_tools.words.errors import WeightsError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

CLASSES = ("drawing", "hentai", "neutral", "porn", "sexy")  # in the network's order
SUMMED = ("hentai", "porn", "sexy")
_MODEL = "dist/models/inception_v3"
MEMBERS = (f"{_MODEL}/model.min.js", *(f"{_MODEL}/group1-shard{n}of6.min.js" for n in range(1, 7)))


class GantMan:
    """The network, and pictures as its own predict.py gives them to it."""

    def __init__(self, side: int, network: KerasNetwork | None) -> None:
        self._side, self._network = side, network

    def prepare(self, sample: Sample) -> Array:
        """uint8 (side, side, 3) RGB: resized to the nearest pixel, as Keras' load_img does."""
        import numpy as np
        from PIL import Image

        assert sample.image is not None
        size = self._side, self._side
        return np.asarray(sample.image.convert("RGB").resize(size, Image.Resampling.NEAREST))

    def score(self, prepared: Sequence[Array]) -> Sequence[Any]:
        """The sum, then the five probabilities: float32, 0 to 1."""
        import numpy as np

        assert self._network is not None
        found = self._network(np.stack(prepared).astype(np.float32) / np.float32(255))
        summed = found[:, [CLASSES.index(name) for name in SUMMED]].sum(1, dtype=np.float64)
        return [np.minimum(summed, 1).astype(np.float32), *found.T]


def _load(setup: Setup) -> GantMan:
    path = setup.weights
    assert path is not None
    packed = check_file(path, GANTMAN.formats) == TAR
    try:
        if setup.prepares_only:
            return GantMan(input_side(_read_topology(path) if packed else read_h5(path)[0]), None)
        config, arrays = _read_package(path) if packed else read_h5(path)
        network = KerasNetwork(config, arrays, setup.device, setup.precision)
        _check(network)
    except WeightsError:
        raise
    except Exception as error:  # h5py and torch raise anything on a broken or foreign file
        detail = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise WeightsError(
            f"these are no weights of GantMan's nsfw_model: {detail}",
            where=str(path),
            todo="fetch the file again, or name another with --weights nsfw_score_gantman=PATH",
        ) from error
    return GantMan(network.side, network)


def _check(network: KerasNetwork) -> None:
    import numpy as np

    shape = network(np.zeros((1, network.side, network.side, 3), np.float32)).shape
    if shape != (1, len(CLASSES)):
        raise ValueError(f"it gives {shape[1:]} numbers, not {len(CLASSES)}")


def _read_topology(path: Path) -> dict[str, Any]:
    (model,) = read_members(path, MEMBERS[:1]).values()
    return tfjs.read_model(model)[0]


def _read_package(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    model, *shards = read_members(path, MEMBERS).values()
    config, manifest = tfjs.read_model(model)
    return config, tfjs.read_weights(manifest, shards)


SCORE = Score(
    name="nsfw_score_gantman",
    columns=(
        ScoreColumn(
            "nsfw_score_gantman", "float32", f"probability of {' + '.join(SUMMED)}, 0 to 1"
        ),
        *(
            ScoreColumn(f"nsfw_gantman_{name}", "float32", f"probability of the class {name}")
            for name in CLASSES
        ),
    ),
    inputs=(IMAGE,),
    model="GantMan's nsfw_model, Inception v3 299 x 299 px, weights in uint8 as nsfwjs 4.4.0 ships "
    "them, its own preprocessing (nearest pixel, /255); --weights takes the .h5 files of "
    "its release 1.0",
    licence="MIT",
    load=_load,
    weights=GANTMAN,
    note="parity is not expected: which classes COYO summed and which of GantMan's files it used "
    "is not known; pictures stored smaller than the original move it too",
    extra="score",
    packages=("torch", "h5py"),
    distributions=("torch", "h5py"),
)
