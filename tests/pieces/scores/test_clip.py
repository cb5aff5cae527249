"""The encoder's ways that may change values: precision, compiling, resizing where it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from coyo_tools.pieces.decoding import decode
from coyo_tools.pieces.scores.base import Sample, Setup
from coyo_tools.words.errors import EngineError
from tests import tiny_clip
from tests.pieces.scores.prepared_alike import assert_prepares_alike
from tests.tars import photographs

torch = pytest.importorskip("torch", reason="needs the score extra")
pytest.importorskip("open_clip", reason="needs the score extra")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's and open_clip's own


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip.make(tmp_path_factory.mktemp("clip"))


def embedded(weights: Path, pictures: list[Any], **rest: Any) -> Any:
    from coyo_tools.pieces.scores.clip import ClipEncoder, ClipModel

    encoder = ClipEncoder(
        ClipModel(tiny_clip.NAME, quick_gelu=True), Setup(weights=weights, **rest)
    )
    samples = [Sample("", None, picture) for picture in pictures]
    images = [encoder.prepare(sample, with_text=False)[0] for sample in samples]
    return torch.nn.functional.normalize(encoder.embed_images(images))


def test_resizing_where_the_model_runs_is_near_pillow(weights: Path) -> None:
    pictures = [decode(data) for data in photographs(4)]
    exact = embedded(weights, pictures)
    device = embedded(weights, pictures, resize_on_device=True)
    alike = (exact * device).sum(-1)
    assert alike.min() > 0.999
    assert not torch.equal(exact, device)


def test_modes_that_are_not_rgb_are_resized_there_too(weights: Path) -> None:
    pictures = [Image.linear_gradient("L"), Image.new("RGBA", (90, 70)), Image.new("P", (80, 90))]
    assert embedded(weights, pictures, resize_on_device=True).isfinite().all()


def test_a_compiler_that_fails_is_named(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Any, *_: Any, **__: Any) -> None:
        self.forward = lambda *_: (_ for _ in ()).throw(RuntimeError("no C++ compiler\nlong text"))

    monkeypatch.setattr(torch.nn.Module, "compile", broken)
    with pytest.raises(EngineError, match=r"--compile: torch\.compile .*no C\+\+ compiler; leave"):
        embedded(weights, [], compiled=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's own while it compiles
def test_a_compiled_model_gives_the_same(weights: Path) -> None:
    pictures = [decode(data) for data in photographs(3)]
    exact, compiled = embedded(weights, pictures), embedded(weights, pictures, compiled=True)
    assert (exact - compiled).abs().max() < 1e-5


def test_jpegs_decoded_at_a_part_of_their_size_are_near() -> None:
    import numpy as np

    (data,) = photographs(1)
    whole = decode(data)
    assert isinstance(whole, Image.Image)
    small = min(whole.size) // 3
    part = decode(data, least_side=small)
    assert isinstance(part, Image.Image)
    assert min(part.size) >= small
    assert part.width == -(-whole.width // 2)
    near = whole.resize(part.size, Image.Resampling.BOX)
    apart = np.abs(np.asarray(near, np.float64) - np.asarray(part, np.float64))
    assert apart.mean() < 4
    assert decode(data, least_side=min(whole.size) // 2 + 1).size == whole.size  # type: ignore[union-attr]


@pytest.mark.parametrize("resize_on_device", [False, True])
def test_it_prepares_without_its_model(weights: Path, resize_on_device: bool) -> None:
    from coyo_tools.pieces.scores.clip import ClipModel, encoder
    from coyo_tools.pieces.scores.weights_files import CLIP_VIT_B_32

    load = encoder(ClipModel(tiny_clip.NAME, quick_gelu=True), CLIP_VIT_B_32).load
    samples = [Sample("k", "a caption", decode(data)) for data in photographs(3)]  # type: ignore[arg-type]
    setup = Setup(weights=weights, resize_on_device=resize_on_device)
    assert_prepares_alike(load, setup, samples, with_text=True)


def test_pictures_left_whole_give_the_same_bits(weights: Path) -> None:
    """Those that may be; others come shrunk, in the same batch."""
    pictures = [decode(data) for data in photographs(12)]
    pictures += [Image.linear_gradient("L"), Image.new("RGBA", (90, 70)), Image.new("RGB", (9, 90))]
    exact = embedded(weights, pictures)
    assert torch.equal(embedded(weights, pictures, whole_pictures=True), exact)


def test_whole_pictures_are_prepared_alike_without_the_model(weights: Path) -> None:
    from coyo_tools.pieces.scores.clip import ClipEncoder, ClipModel

    def load(setup: Setup) -> Any:
        return ClipEncoder(ClipModel(tiny_clip.NAME, quick_gelu=True), setup)

    samples = [Sample("", "a", decode(data)) for data in photographs(12)]  # type: ignore[arg-type]
    setup = Setup(weights=weights, whole_pictures=True)
    assert_prepares_alike(load, setup, samples, with_text=True)
    sizes = {load(setup).prepare(each, with_text=False)[0].shape for each in samples}
    assert len(sizes) > 3
