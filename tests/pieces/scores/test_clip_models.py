"""Any model of open_clip, against the plain open_clip loop on the same random weights.

The models are small ones of the same kinds: their configurations are those of real models with
fewer layers and less width, and what is said of their weights is what open_clip says of real ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coyo_tools.pieces.decoding import decode
from coyo_tools.pieces.scores import choose
from coyo_tools.pieces.scores.base import Sample, weights_of
from coyo_tools.pieces.scores.clip_similarity import FAMILY, VIT_B_32, declare
from coyo_tools.pieces.scores.families import Choice
from coyo_tools.pieces.scores.lanes import load_lanes
from coyo_tools.words.errors import SettingsError, WeightsError
from tests.pieces.scores.small_clip import CAPTIONS, KINDS, Made, made_small
from tests.tars import photographs

torch = pytest.importorskip("torch", reason="needs the score extra")
open_clip = pytest.importorskip("open_clip", reason="needs the score extra")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's and open_clip's own

IDS = [f"{kind.model}-{kind.pretrained}" for kind in KINDS]
OF_THE_HUB = [k for k in KINDS if k.model in ("ViT-B-16-SigLIP", "ViT-H-14-CLIPA")]  # tokenizers


@pytest.fixture(scope="module", params=KINDS, ids=IDS)
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Made]:
    with made_small(request.param, tmp_path_factory.mktemp("model")) as found:
        yield found


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    pictures = [decode(data) for data in photographs(6)]
    return [Sample("k", c, p) for c, p in zip(CAPTIONS, pictures, strict=True)]  # type: ignore[arg-type]


def plain_loop(made: Made, samples: list[Sample], monkeypatch: pytest.MonkeyPatch) -> Any:
    """One picture at a time, as open_clip's README shows it, with weights found by their tag."""
    name, tag = made.choice.model, made.choice.pretrained
    entry = open_clip.pretrained._PRETRAINED[name][tag]
    monkeypatch.setitem(entry, "file", str(made.weights))
    text = open_clip.factory._MODEL_CONFIGS[name]["text_cfg"]
    if made.tokenizer:
        monkeypatch.setitem(text, "hf_tokenizer_name", str(made.tokenizer))
    model, _, preprocess = open_clip.create_model_and_transforms(
        name, pretrained=tag, force_quick_gelu=made.quick_gelu
    )
    tokenizer = open_clip.get_tokenizer(name)
    model.eval()
    found = []
    with torch.no_grad():
        for sample in samples:
            image = model.encode_image(preprocess(sample.image).unsqueeze(0))
            caption = model.encode_text(tokenizer([sample.caption]))
            image = image / image.norm(dim=-1, keepdim=True)
            caption = caption / caption.norm(dim=-1, keepdim=True)
            found.append(float((image * caption).sum()))
    return np.array(found)


def test_equal_to_the_plain_loop(
    made: Made, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    score = declare(made.choice)
    (lane,) = load_lanes([score], "cpu", "fp32", made.files)
    (found,) = lane.scorer.score([lane.scorer.prepare(sample) for sample in samples])
    expected = plain_loop(made, samples, monkeypatch)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-5
    assert found.std() > 1e-4  # random weights, yet the values tell pictures and captions apart


def test_half_precision_is_near(made: Made, samples: list[Sample]) -> None:
    score = declare(made.choice)
    if "coca" in made.choice.model:
        with pytest.raises(SettingsError, match="runs in fp32 alone"):
            load_lanes([score], "cpu", "bf16", made.files)
        return
    scorers = [load_lanes([score], "cpu", p, made.files)[0].scorer for p in ("bf16", "fp32")]
    half, whole = (s.score([s.prepare(sample) for sample in samples[:3]])[0] for s in scorers)
    assert half.dtype == np.float32
    assert 0 < np.abs(half - whole).max() < 0.05


def test_weights_of_another_model_are_named(made: Made, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(3)}, tmp_path / "other.safetensors")
    score = declare(made.choice)
    assert score.encoder is not None
    files = made.files | {score.encoder.weights.name: tmp_path / "other.safetensors"}
    with pytest.raises(WeightsError, match=rf"no weights of CLIP {made.choice.model}"):
        load_lanes([score], "cpu", "fp32", files)


@pytest.mark.parametrize("made", OF_THE_HUB, ids=lambda kind: kind.model, indirect=True)
def test_a_broken_tokenizer_is_named(made: Made, tmp_path: Path) -> None:
    assert made.tokenizer is not None
    (tmp_path / "tokenizer.json").write_text("{}")
    files = {n: tmp_path if n.startswith("tokenizer_") else p for n, p in made.files.items()}
    with pytest.raises(WeightsError, match=f"{tmp_path.name}: cannot be loaded"):
        load_lanes([declare(made.choice)], "cpu", "fp32", files)


def test_every_model_that_open_clip_lists_is_declared() -> None:
    names = set()
    for model, tag in open_clip.list_pretrained():
        score = declare(Choice(model, tag))
        assert score.encoder is not None
        weights, said = score.encoder.weights, open_clip.get_pretrained_cfg(model, tag)
        assert weights.repository == said["hf_hub"].rpartition("/")[0]
        assert weights.file.endswith(".safetensors")
        names.add(score.name)
    assert len(names) == len(open_clip.list_pretrained())  # no two names are written alike


def test_suggestions_are_there_and_one_is_a_dfn_model() -> None:
    assert all(declare(choice).name for choice in FAMILY.suggestions)
    assert any("dfn" in choice.pretrained for choice in FAMILY.suggestions)


def test_a_column_is_found_by_its_full_name_too() -> None:
    by_flags = choose(["clip_similarity"], ["ViT-B-16"], ["datacomp_xl_s13b_b90k"])
    name = "clip_similarity_vit_b_16_datacomp_xl_s13b_b90k"
    assert by_flags.columns == (name,)
    by_name = choose([name, "clip_similarity_vit_l_14_dfn2b"])
    assert by_name.columns == (name, "clip_similarity_vit_l_14_dfn2b")
    assert by_name.scores[0] == by_flags.scores[0]
    repository = "laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K"
    assert [w.repository for w in weights_of(by_flags.scores).values()] == [repository]


def test_openais_own_are_embedded_once_whatever_they_are_called() -> None:
    score = declare(Choice("ViT-B-32", "openai"))
    assert score.name == "clip_similarity_vit_b_32_openai"
    assert score.encoder == VIT_B_32.encoder


@pytest.mark.parametrize(
    ("model", "pretrained", "said"),
    [
        ([], [], "clip_similarity needs to be told its model; for example: --model ViT-B-16"),
        (
            ["ViT-B-61"],
            ["x"],
            r"--model: open_clip has no model 'ViT-B-61'; did you mean 'ViT-B-16",
        ),
        (["ViT-B-16"], [], "needs to be told its weights; those of open_clip are .*dfn2b"),
        (
            ["ViT-B-16"],
            ["datacomp_xl"],
            "no weights 'datacomp_xl' of ViT-B-16; did you mean 'dataco",
        ),
        (["ViT-B-16"], ["qqqqqqqqq"], "those are openai, laion400m"),
    ],
)
def test_models_that_are_none(model: list[str], pretrained: list[str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        choose(["clip_similarity"], model, pretrained)


def test_a_name_that_is_near_a_familys_is_unknown_all_the_same() -> None:
    with pytest.raises(SettingsError, match="no score gives a column 'clip_similarity_vitb31'"):
        choose(["clip_similarity_vitb31"])
