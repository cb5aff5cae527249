"""LAION's safety head: the SavedModel's files, the categories, and the arithmetic."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coyo_tools.pieces.scores import clip
from coyo_tools.pieces.scores.archives import read_members
from coyo_tools.pieces.scores.base import Sample, Setup
from coyo_tools.pieces.scores.lanes import load_lanes
from coyo_tools.pieces.scores.nsfw_score_laion_clip import MEMBERS, SCORE, SafetyHead, read_head
from coyo_tools.pieces.scores.saved_model import read_tables, read_variables
from coyo_tools.pieces.scores.weights_files import LAION_SAFETY
from coyo_tools.words.errors import WeightsError
from tests.pieces.scores.published import published
from tests.pieces.scores.saved_models import Array, bundle, graph, safety_arrays, write_safety

torch = pytest.importorskip("torch", reason="needs the score extra")
Tables = dict[int, dict[str, int]]
TABLES: Tables = {440: {"0.125000": 900, "-0.012497": 2}, 40: {"0.015625": 3, "-0.000018": 77}}


def embeddings(count: int = 5) -> Array:
    """Normalised, with the numbers that TABLES know in some of them."""
    found = np.random.default_rng(3).normal(0, 1, (count, 768))
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    found[0, [40, 440]] = 0.015625, 0.125
    found[1, 440] = -0.0125  # in float16 -0.01249695
    return found.astype(np.float32)


def plain(
    values: Array, arrays: dict[str, Array], tables: dict[int, dict[str, int]]
) -> list[float]:
    """What AutoKeras' graph does, a number at a time, in float64."""
    found = []
    for row in values:
        numbers = [float(np.float16(number)) for number in row]
        for at, table in tables.items():
            numbers[at] = table.get(f"{numbers[at]:.6f}", 0)
        mean, variance = (arrays[f"layer_with_weights-1/{n}"] for n in ("mean", "variance"))
        deviations = [max(math.sqrt(v), 1e-7) for v in variance.tolist()]
        state = (np.array(numbers) - mean.astype(float)) / deviations
        for number in (2, 3, 4, 5):
            kernel, bias = (arrays[f"layer_with_weights-{number}/{n}"] for n in ("kernel", "bias"))
            state = state @ kernel.astype(float) + bias
            state = np.maximum(state, 0) if number < 5 else state
        found.append(1 / (1 + math.exp(-state[0])))
    return found


def scored(path: Path, images: Array) -> Array:
    head = SCORE.load(Setup(weights=path))
    (found,) = head(torch.from_numpy(images), None)  # type: ignore[operator]  # it is a Head
    return np.asarray(found)


def test_equal_to_the_plain_loop(tmp_path: Path) -> None:
    arrays = safety_arrays()
    path = write_safety(tmp_path / "head.zip", arrays, TABLES)
    images = embeddings()
    expected = plain(images / np.linalg.norm(images, axis=1, keepdims=True), arrays, TABLES)
    found = scored(path, images)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-5
    assert np.abs(scored(path, images * 7) - found).max() < 1e-3  # it is normalised first
    assert found.std() > 0.01


def test_categories_count_where_their_number_is_known(tmp_path: Path) -> None:
    arrays = safety_arrays(1)
    head = read_head(write_safety(tmp_path / "a.zip", arrays, TABLES))
    assert head.tables == TABLES
    images = embeddings()
    without = SafetyHead(head.mean, head.deviation, head.layers, {40: {}, 440: {}})
    changed = np.abs(head(images) - without(images)) > 1e-6
    assert changed.tolist() == [True, True, False, False, False]


def test_it_is_given_the_embedding_that_other_scores_share(tmp_path: Path) -> None:
    class Given:
        """An encoder that knows the embedding of a picture by its name."""

        def prepare(self, sample: Sample, *, with_text: bool) -> tuple[Any, Any]:
            assert not with_text
            return images[int(sample.key)], None

        def embed_images(self, found: Any) -> Any:
            return torch.from_numpy(np.stack(found))

    images = embeddings()
    path = write_safety(tmp_path / "head.zip", safety_arrays(), TABLES)
    assert SCORE.encoder is clip.VIT_L_14
    score = replace(SCORE, encoder=replace(clip.VIT_L_14, load=lambda _: Given()))
    weights = {SCORE.name: path, clip.VIT_L_14.weights.name: path}
    (lane,) = load_lanes([score], "cpu", "fp32", weights)
    prepared = [lane.scorer.prepare(Sample(str(n), None, None)) for n in range(len(images))]
    (found,) = lane.scorer.score(prepared)
    assert np.array_equal(found, scored(path, images))


@given(st.integers(1, 40), st.integers(0, 2**16))
def test_variables_are_read_back(count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    arrays = {
        f"layer-{number}/{'kernel' * (number % 3)}": random.normal(
            size=random.integers(1, 5, number % 3)
        ).astype(np.float32)
        for number in range(count)
    }
    found = read_variables(*bundle(arrays, ["z/table-keys"]))
    assert found.pop("z/table-keys").size == 0
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert found[name].shape == array.shape
        assert np.array_equal(found[name], array)


def test_tables_are_read_back() -> None:
    tables = [{f"{n / 7:.6f}": n for n in range(2, 300)}, {"a": 1, "b": 2**40}]
    assert read_tables(graph(tables)) == tables


@pytest.mark.parametrize("keep", [0, 10, 47, 200, 0.5, 0.99])
def test_cut_files_are_refused(keep: float) -> None:
    index, data = bundle(safety_arrays())
    cut = int(keep) if keep >= 1 or not keep else int(len(index) * keep)
    with pytest.raises((ValueError, IndexError)):
        read_variables(index[:cut], data)
    with pytest.raises(ValueError, match="its file of variables ends at"):
        read_variables(index, data[:-1])
    whole = graph(list(TABLES.values()))
    with pytest.raises(ValueError, match=r"cut off|lacks"):
        read_tables(whole[: len(whole) // 2])


def test_other_models_are_named(tmp_path: Path) -> None:
    arrays = safety_arrays()
    few = {name: array for name, array in arrays.items() if "5" not in name}
    with pytest.raises(WeightsError, match=r"few\.zip: these are no weights of LAION's safety"):
        read_head(write_safety(tmp_path / "few.zip", few, TABLES))
    arrays["layer_with_weights-3/bias"] = np.zeros(7, np.float32)
    with pytest.raises(WeightsError, match=r"of shape \(7,\), not \(512,\)"):
        read_head(write_safety(tmp_path / "shape.zip", arrays, TABLES))
    cut = tmp_path / "cut.zip"
    cut.write_bytes((tmp_path / "few.zip").read_bytes()[:-60])
    with pytest.raises(WeightsError, match="truncated"):
        read_head(cut)


def test_the_published_head_is_read_whole() -> None:
    path = published(LAION_SAFETY)
    head = read_head(path)
    sizes = {dimension: len(table) for dimension, table in head.tables.items()}
    assert sizes == {180: 10425, 316: 2266, 413: 2190, 440: 2293, 644: 2241}
    assert head.tables[180]["0.125488"] == 1
    # The mean of a category is that of its numbers by frequency, far from an embedding's.
    assert head.mean[[180, 316, 413, 440, 644]].min() > 300
    assert np.abs(np.delete(head.mean, [180, 316, 413, 440, 644])).max() < 1
    graph_bytes, index, data = read_members(path, MEMBERS).values()
    variables: dict[str, Any] = read_variables(index, data)
    images = embeddings(20)
    tables = {d: dict(t) for d, t in zip(sorted(sizes), read_tables(graph_bytes), strict=True)}
    assert np.abs(head(images) - plain(images, variables, tables)).max() < 1e-5


@pytest.mark.skipif("COYO_TEST_DATA" not in os.environ, reason="COYO_TEST_DATA is not set")
def test_three_real_embeddings_are_safe() -> None:
    head = read_head(published(LAION_SAFETY))
    folder = Path(os.environ["COYO_TEST_DATA"]) / "aesthetic"
    files = [folder / f"vitl14_rating{rating}.npy" for rating in (1, 5, 8)]
    images = np.stack([np.load(file).reshape(768) for file in files]).astype(np.float32)
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    assert head(images).max() < 0.01
    # They were stored in float16 and so are numbers that the categories know.
    assert f"{np.float16(images[0, 180]):.6f}" in head.tables[180]
