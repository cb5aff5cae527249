"""SCRFD with real weights on pictures with known faces, and its arithmetic."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from coyo_tools.pieces.scores import scrfd
from coyo_tools.pieces.scores.archives import read_members
from coyo_tools.pieces.scores.base import Sample, Setup
from coyo_tools.pieces.scores.num_faces import MEMBER, SCORE, Faces
from coyo_tools.pieces.scores.weights_files import SCRFD
from coyo_tools.words.errors import WeightsError
from tests.pieces.scores.odd_pictures import decoded, odd_pictures
from tests.pieces.scores.prepared_alike import assert_prepares_alike
from tests.pieces.scores.published import published

cv2 = pytest.importorskip("cv2", reason="needs the score extra")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the score extra")

SOLVAY, GAUSS, NEWTON = (
    f"images/{n}" for n in ("solvay_conference_1927.jpg", "gauss.png", "newton.png")
)


@pytest.fixture(scope="module")
def archive() -> Path:
    return published(SCRFD)


@pytest.fixture(scope="module")
def scorer(archive: Path) -> Faces:
    found = SCORE.load(Setup(weights=archive))
    assert isinstance(found, Faces)
    return found


@pytest.fixture(scope="module")
def pictures(archive: Path) -> dict[str, Image.Image]:
    found = read_members(archive, [SOLVAY, GAUSS, NEWTON])
    return {name: decoded(data) for name, data in found.items()}


def faces_of(scorer: Faces, image: Image.Image) -> np.ndarray[Any, Any]:
    (count,), (boxes,) = scorer.score([scorer.prepare(Sample("k", None, image))])
    assert count == len(boxes)
    return np.array(boxes, np.float64).reshape(-1, 5)


def test_all_29_of_the_solvay_conference(scorer: Faces, pictures: dict[str, Image.Image]) -> None:
    image = pictures[SOLVAY]
    boxes = faces_of(scorer, image)
    assert len(boxes) == 29
    assert (np.diff(boxes[:, 4]) <= 0).all()
    assert boxes[:, 4].min() > 0.6
    sizes = boxes[:, 2:4] - boxes[:, :2]
    assert (sizes > 50).all()
    assert (sizes < 150).all()
    centres = (boxes[:, :2] + boxes[:, 2:4]) / 2 / image.size
    assert len(np.unique(centres.round(2), axis=0)) == 29
    # Three rows of people, between a fifth and three quarters of the picture's height.
    assert centres[:, 1].min() > 0.2
    assert centres[:, 1].max() < 0.75
    assert centres[:, 0].min() < 0.15
    assert centres[:, 0].max() > 0.85


@pytest.mark.parametrize(
    ("name", "box"), [(NEWTON, (334, 89, 438, 232)), (GAUSS, (376, 203, 654, 568))]
)
def test_a_known_face_is_where_it_is_known_to_be(
    scorer: Faces, pictures: dict[str, Image.Image], name: str, box: tuple[int, ...]
) -> None:
    (found,) = faces_of(scorer, pictures[name])
    assert np.abs(found[:4] - box).max() < 4
    assert 0.75 < found[4] < 0.85


def test_a_smaller_copy_has_its_faces_at_the_same_places(
    scorer: Faces, pictures: dict[str, Image.Image]
) -> None:
    image = pictures[GAUSS]
    small = image.resize((image.width // 3, image.height // 3), Image.Resampling.BOX)
    (large_box,), (small_box,) = faces_of(scorer, image), faces_of(scorer, small)
    assert np.abs(small_box[:4] * 3 - large_box[:4]).max() < 15


def test_pictures_without_faces_have_none(scorer: Faces) -> None:
    for picture in (Image.new("RGB", (300, 200), "white"), Image.linear_gradient("L")):
        assert len(faces_of(scorer, picture)) == 0


def test_a_batch_gives_what_each_gives_alone(
    scorer: Faces, pictures: dict[str, Image.Image]
) -> None:
    samples = [Sample("k", None, image) for image in pictures.values()]
    counts, boxes = scorer.score([scorer.prepare(sample) for sample in samples])
    assert list(counts) == [29, 1, 1]
    for sample, found in zip(samples, boxes, strict=True):
        assert sample.image is not None
        assert np.array_equal(np.array(found).reshape(-1, 5), faces_of(scorer, sample.image))


@pytest.mark.parametrize(
    ("name", "data"), list(odd_pictures()), ids=lambda v: v if isinstance(v, str) else ""
)
def test_odd_pictures_have_a_count(scorer: Faces, name: str, data: bytes) -> None:
    image = decoded(data)
    boxes = faces_of(scorer, image)
    assert (boxes[:, :4] >= 0).all()
    assert (boxes[:, :4] <= [*image.size, *image.size]).all()


def test_the_plain_file_is_the_same_detector(
    scorer: Faces, archive: Path, pictures: dict[str, Image.Image], tmp_path: Path
) -> None:
    path = tmp_path / "scrfd.onnx"
    path.write_bytes(read_members(archive, [MEMBER])[MEMBER])
    alone = SCORE.load(Setup(weights=path))
    assert isinstance(alone, Faces)
    assert np.array_equal(faces_of(alone, pictures[GAUSS]), faces_of(scorer, pictures[GAUSS]))


def test_wrong_weights_are_named(archive: Path, tmp_path: Path) -> None:
    whole = read_members(archive, [MEMBER])[MEMBER]
    path = tmp_path / "cut.onnx"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match=r"cut\.onnx: these are no weights of SCRFD"):
        SCORE.load(Setup(weights=path))
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(archive.read_bytes()[:100_000])
    with pytest.raises(WeightsError, match=r"cut\.tar\.gz: weights cannot be read out of this"):
        SCORE.load(Setup(weights=cut))
    other = tmp_path / "other.tar.gz"
    with tarfile.open(other, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("package-1.0/empty"), io.BytesIO())
    with pytest.raises(WeightsError, match=r"there is no models/scrfd\.onnx"):
        SCORE.load(Setup(weights=other))


def test_a_network_of_other_outputs_is_refused() -> None:
    def one(batch: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
        return [batch]

    with pytest.raises(ValueError, match="1 outputs, not 6 or 9"):
        scrfd.Detector(one)
    with pytest.raises(ValueError, match="where 12800 boxes belong"):
        scrfd.Detector(lambda batch: [batch] * 6)


def _planted(at: list[tuple[int, int, float]], side: int = 64) -> scrfd.Detector:
    """A network that finds a face of 2 x 2 cells at these (grid, anchor) with these scores."""

    def run(batch: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
        counts = [2 * (side // stride) ** 2 for stride in (8, 16, 32)]
        scores = [np.zeros((1, count, 1), np.float32) for count in counts]
        boxes = [np.ones((1, count, 4), np.float32) for count in counts]
        if batch.any():
            for grid, anchor, score in at:
                scores[grid][0, anchor, 0] = score
        return [*scores, *boxes]

    return scrfd.Detector(run, side)


def test_boxes_are_in_pixels_of_the_picture() -> None:
    # A picture of 128 x 64 px in a square of 64: a pixel of the square is two of the picture.
    fitted = scrfd.fit(Image.new("RGB", (128, 64), "white"), 64)
    assert fitted.scale == (2, 2)
    assert not fitted.pixels[32:].any()
    # Grid of 16 px, 4 cells a row, 2 anchors a cell: number 2 * (1 * 4 + 2) is at x 32, y 16.
    found = _planted([(1, 12, 0.9), (1, 13, 0.8), (0, 0, 0.6)]).faces(fitted)
    assert np.allclose(found, [[32, 0, 96, 64, 0.9], [0, 0, 16, 16, 0.6]])
    assert found.dtype == np.float32


def test_the_threshold_is_inclusive() -> None:
    fitted = scrfd.fit(Image.new("RGB", (64, 64), "white"), 64)
    below = float(np.nextafter(np.float32(0.5), np.float32(0)))
    assert len(_planted([(0, 40, 0.5), (2, 0, below)]).faces(fitted)) == 1


@given(
    st.integers(1, 30).flatmap(
        lambda n: arrays.arrays(np.float32, (n, 5), elements=st.integers(0, 40).map(float))
    )
)
def test_what_is_suppressed_overlaps_a_stronger_one(raw: np.ndarray[Any, Any]) -> None:
    raw[:, 2:4] += raw[:, :2]
    kept = scrfd.suppressed(raw, 0.4)
    assert (np.diff(kept[:, 4]) <= 0).all()

    def shared(a: Any, b: Any) -> float:
        sides = np.minimum(a[2:4], b[2:4]) - np.maximum(a[:2], b[:2]) + 1
        inner = float(np.prod(np.maximum(sides, 0)))
        areas = float(np.prod(a[2:4] - a[:2] + 1) + np.prod(b[2:4] - b[:2] + 1))
        return inner / (areas - inner)

    for index, box in enumerate(kept):
        assert all(shared(box, other) <= 0.4 + 1e-6 for other in kept[:index])
    for box in raw:
        assert any((box == k).all() or (shared(box, k) > 0.4 and k[4] >= box[4]) for k in kept)


def test_it_prepares_without_its_network(archive: Path, pictures: dict[str, Image.Image]) -> None:
    samples = [Sample("k", None, picture) for picture in pictures.values()]
    assert_prepares_alike(SCORE.load, Setup(weights=archive), samples)
