"""CLIP: the real ViT-B-32 with random weights, against the plain open_clip loop on them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from coyo_tools.pieces.decoding import decode
from coyo_tools.pieces.scores.base import Sample, weights_of
from coyo_tools.pieces.scores.clip import ClipModel, build_model
from coyo_tools.pieces.scores.clip_similarity import VIT_B_32, VIT_L_14
from coyo_tools.pieces.scores.lanes import load_lanes
from coyo_tools.words.errors import WeightsError
from coyo_tools.words.failures import Failure
from tests.pieces.scores.odd_pictures import decoded, odd_pictures
from tests.tars import photographs

torch = pytest.importorskip("torch", reason="needs the score extra")
open_clip = pytest.importorskip("open_clip", reason="needs the score extra")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # torch's and open_clip's own
]

CAPTIONS = ["a photograph of a cat", "two birds", "words " * 200, "", "Ünïcödé 🙂", "a cat"]


@pytest.fixture(scope="module", autouse=True)
def one_core() -> Iterator[None]:
    """Several threads are much slower where others use the cores too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from safetensors.torch import save_file

    torch.manual_seed(7)
    model = open_clip.CLIP(**open_clip.get_model_config("ViT-B-32"), quick_gelu=True)
    path = tmp_path_factory.mktemp("clip") / "b32.safetensors"
    # Half precision, as OpenAI's own file is.
    save_file({name: t.half().contiguous() for name, t in model.state_dict().items()}, path)
    return path


@pytest.fixture(scope="module")
def scorer(weights: Path) -> Any:
    return load_scorer(weights, "fp32")


def load_scorer(weights: Path, precision: str) -> Any:
    (lane,) = load_lanes([VIT_B_32], "cpu", precision, {VIT_B_32.name: weights})
    return lane.scorer


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    pictures = [decode(data) for data in photographs(12)]
    return [Sample("k", CAPTIONS[i % 6], p) for i, p in enumerate(pictures)]  # type: ignore[arg-type]


def plain_loop(weights: Path, samples: list[Sample], *, quick_gelu: bool = True) -> np.ndarray:
    """One picture at a time, as open_clip's README shows it."""
    model, _, preprocess = open_clip.create_model_and_transforms(
        "ViT-B-32", pretrained=str(weights), force_quick_gelu=quick_gelu
    )
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    model.eval()
    found = []
    with torch.no_grad():
        for sample in samples:
            image = model.encode_image(preprocess(sample.image).unsqueeze(0))
            text = model.encode_text(tokenizer([sample.caption]))
            image /= image.norm(dim=-1, keepdim=True)
            text /= text.norm(dim=-1, keepdim=True)
            found.append(float((image * text).sum()))
    return np.array(found)


def test_equal_to_the_plain_loop(scorer: Any, weights: Path, samples: list[Sample]) -> None:
    (found,) = scorer.score([scorer.prepare(sample) for sample in samples])
    expected = plain_loop(weights, samples)
    assert found.dtype == np.float32
    assert np.abs(found - expected).mean() < 1e-6
    assert np.abs(found - expected).max() < 1e-5
    assert found.std() > 1e-3  # random weights, yet the values tell pictures and captions apart
    without = plain_loop(weights, samples[:3], quick_gelu=False)
    assert np.abs(found[:3] - without).max() > 1e-4  # the activation matters, and is the right one


def test_preprocessing_is_open_clips_own(scorer: Any, samples: list[Sample]) -> None:
    """From the encoded bytes on: Pillow decodes for the one, and not always for the other."""
    _, _, preprocess = open_clip.create_model_and_transforms("ViT-B-32", force_quick_gelu=True)
    for sample, data in zip(samples, photographs(), strict=False):
        image, tokens = scorer.prepare(sample)
        (normalized,) = scorer._encoder.normalized(image.unsqueeze(0))
        assert torch.equal(normalized, preprocess(Image.open(io.BytesIO(data))))
        assert torch.equal(tokens, open_clip.tokenize([sample.caption])[0])


def test_captions_are_embedded_without_their_padding(scorer: Any) -> None:
    model = scorer._encoder._model
    seen: list[int] = []
    model.transformer.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[1]))
    for captions in (CAPTIONS, CAPTIONS[:2], [""]):
        tokens = open_clip.tokenize(captions)
        with torch.inference_mode():
            found = scorer._encoder.embed_texts(list(tokens))
            expected = model.encode_text(tokens)
        assert (found - expected).abs().max() < 1e-5
        assert torch.nn.functional.cosine_similarity(found, expected).min() > 1 - 1e-6
    assert seen == [77, 77, 7, 77, 2, 77]


def test_no_caption_gives_no_value(scorer: Any, samples: list[Sample]) -> None:
    assert scorer.prepare(Sample("k", None, samples[0].image)) is None


def test_a_picture_too_long_to_resize_fails_alone(scorer: Any) -> None:
    found = scorer.prepare(Sample("k", "a line", Image.new("RGB", (1, 5000))))
    assert isinstance(found, Failure)
    assert found.error == "too_many_pixels"


def test_odd_pictures_have_a_value_or_a_failure_of_their_own(scorer: Any) -> None:
    prepared = {
        name: scorer.prepare(Sample("k", "a caption", decoded(data)))
        for name, data in odd_pictures()
    }
    failed = {name for name, found in prepared.items() if isinstance(found, Failure)}
    assert failed == {"20000 x 2", "2 x 20000", "40000 x 1"}
    (values,) = scorer.score([found for name, found in prepared.items() if name not in failed])
    assert np.isfinite(values).all()
    assert len(values) == len(prepared) - 3


def test_bf16_is_near(scorer: Any, weights: Path, samples: list[Sample]) -> None:
    half = load_scorer(weights, "bf16")
    (found,) = half.score([half.prepare(sample) for sample in samples[:2]])
    (expected,) = scorer.score([scorer.prepare(sample) for sample in samples[:2]])
    assert found.dtype == np.float32
    assert 0 < np.abs(found - expected).max() < 0.02


def test_weights_of_another_model_are_named(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"b32\.safetensors: these are no weights of CLIP ViT-L"):
        build_model(ClipModel("ViT-L-14"), weights, "fp32")
    other = tmp_path / "other.pt"
    torch.save({"a": torch.zeros(3)}, other)
    with pytest.raises(WeightsError, match=r"other\.pt: .*visual\.positional_embedding is absent"):
        build_model(ClipModel("ViT-B-32"), other, "fp32")


def test_the_hub_files_are_those_open_clip_would_fetch() -> None:
    for score, name in ((VIT_B_32, "ViT-B-32"), (VIT_L_14, "ViT-L-14")):
        config = open_clip.pretrained.get_pretrained_cfg(name, "openai")
        (weights,) = weights_of([score]).values()
        assert weights.repository == config["hf_hub"].rstrip("/")
        assert config["quick_gelu"] is True
