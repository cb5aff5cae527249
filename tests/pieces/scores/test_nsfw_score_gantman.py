"""GantMan's nsfw_model with real weights: known answers, and Keras on the same numbers."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coyo_tools.pieces.scores import tfjs
from coyo_tools.pieces.scores.archives import read_members
from coyo_tools.pieces.scores.base import Sample, Setup
from coyo_tools.pieces.scores.nsfw_score_gantman import CLASSES, MEMBERS, SCORE, GantMan
from coyo_tools.pieces.scores.weights_files import GANTMAN
from coyo_tools.words.errors import WeightsError
from tests.pieces.scores.odd_pictures import decoded, odd_pictures
from tests.pieces.scores.prepared_alike import assert_prepares_alike
from tests.pieces.scores.published import published
from tests.pieces.scores.test_keras_network import Arrays, by_keras, write_h5
from tests.tars import photographs

pytest.importorskip("torch", reason="needs the score extra")
pytest.importorskip("h5py", reason="needs the score extra")
MOBILENET = [f"dist/models/mobilenet_v2/{n}.min.js" for n in ("model", "group1-shard1of1")]
COLUMNS = [column.name for column in SCORE.columns]


@pytest.fixture(scope="module")
def package() -> Path:
    return published(GANTMAN)


@pytest.fixture(scope="module")
def scorer(package: Path) -> GantMan:
    found = SCORE.load(Setup(weights=package))
    assert isinstance(found, GantMan)
    return found


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return [Sample("k", None, decoded(data)) for data in photographs(8)]


def scored(scorer: GantMan, samples: list[Sample]) -> Arrays:
    found = scorer.score([scorer.prepare(sample) for sample in samples])
    assert len(found) == len(COLUMNS)
    return {name: np.asarray(values) for name, values in zip(COLUMNS, found, strict=True)}


def test_columns_are_named_for_the_classes() -> None:
    assert ["nsfw_score_gantman", *(f"nsfw_gantman_{name}" for name in CLASSES)] == COLUMNS


def test_photographs_are_neutral_and_the_score_is_the_sum(
    scorer: GantMan, samples: list[Sample]
) -> None:
    found = scored(scorer, samples)
    assert {values.dtype for values in found.values()} == {np.dtype(np.float32)}
    classes = np.array([found[f"nsfw_gantman_{name}"] for name in CLASSES])
    assert np.abs(classes.sum(0) - 1).max() < 1e-6
    assert (classes.argmax(0) == CLASSES.index("neutral")).mean() > 0.8
    unsafe = sum(found[f"nsfw_gantman_{name}"] for name in ("hentai", "porn", "sexy"))
    assert np.abs(found["nsfw_score_gantman"] - unsafe).max() < 1e-6
    assert found["nsfw_score_gantman"].max() < 0.2


def test_a_drawing_is_a_drawing(scorer: GantMan) -> None:
    """The demo's silhouette of a horse: the one class beside neutral that can be shown here."""
    horse = (files("coyo_tools") / "data/demo/pictures/horse-silhouette.png").read_bytes()
    found = scored(scorer, [Sample("k", None, decoded(horse))])
    assert found["nsfw_gantman_drawing"][0] > 0.8


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras' own, about numpy 2
@pytest.mark.filterwarnings("ignore:The structure of `inputs`:UserWarning")
def test_equal_to_keras(scorer: GantMan, package: Path, samples: list[Sample]) -> None:
    model, *shards = read_members(package, MEMBERS).values()
    config, manifest = tfjs.read_model(model)
    arrays = tfjs.read_weights(manifest, shards)
    pictures = np.stack([scorer.prepare(sample) for sample in samples[:2]]) / np.float32(255)
    expected = by_keras(config, arrays, pictures)
    found = scored(scorer, samples[:2])
    for index, name in enumerate(CLASSES):
        assert np.abs(found[f"nsfw_gantman_{name}"] - expected[:, index]).max() < 1e-5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The structure of `inputs`:UserWarning")
def test_the_h5_of_its_mobilenet_is_taken(
    package: Path, samples: list[Sample], tmp_path: Path
) -> None:
    model, shard = read_members(package, MOBILENET).values()
    config, manifest = tfjs.read_model(model)
    arrays = tfjs.read_weights(manifest, [shard])
    path = write_h5(tmp_path / "nsfw_mobilenet2.224x224.h5", config, arrays)
    small = SCORE.load(Setup(weights=path))
    assert isinstance(small, GantMan)
    assert samples[0].image is not None
    picture = small.prepare(samples[0])
    assert picture.shape == (224, 224, 3)
    found = np.array(small.score([picture]))[1:, 0]
    expected = by_keras(config, arrays, picture[None] / np.float32(255))[0]
    assert np.abs(found - expected).max() < 1e-5


def test_preprocessing_is_kerass_own(scorer: GantMan) -> None:
    image = Image.effect_noise((500, 333), 90)
    expected = image.convert("RGB").resize((299, 299), Image.Resampling.NEAREST)
    assert np.array_equal(scorer.prepare(Sample("k", None, image)), np.asarray(expected))


def test_odd_pictures_have_scores(scorer: GantMan) -> None:
    samples = [Sample(name, None, decoded(data)) for name, data in odd_pictures()]
    for values in scored(scorer, samples).values():
        assert ((values >= 0) & (values <= 1)).all()


def test_wrong_weights_are_named(package: Path, tmp_path: Path) -> None:
    import h5py

    cut = tmp_path / "cut.tgz"
    cut.write_bytes(package.read_bytes()[:200_000])
    with pytest.raises(WeightsError, match=r"cut\.tgz: weights cannot be read out of"):
        SCORE.load(Setup(weights=cut))
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["a"] = np.zeros(3)
    with pytest.raises(WeightsError, match=r"other\.h5: these are no weights of GantMan's"):
        SCORE.load(Setup(weights=other))


def test_it_prepares_without_its_network(
    package: Path, samples: list[Sample], tmp_path: Path
) -> None:
    assert_prepares_alike(SCORE.load, Setup(weights=package), samples[:3])
    broken = tmp_path / "broken.tgz"
    broken.write_bytes(package.read_bytes()[:1000])
    with pytest.raises(WeightsError):
        SCORE.load(Setup(weights=broken, prepares_only=True))
