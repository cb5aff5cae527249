"""The aesthetic head, folded and unfolded; and one embedding for all scores on it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from coyo_tools.machinery.storage import folder_at
from coyo_tools.pieces.decoding import decode
from coyo_tools.pieces.scores import aesthetic_score_laion_v2 as aesthetic
from coyo_tools.pieces.scores import clip, clip_similarity
from coyo_tools.pieces.scores.aesthetic_score_laion_v2 import SCORE, fold, load_head
from coyo_tools.pieces.scores.base import Sample
from coyo_tools.pieces.scores.lanes import load_lanes
from coyo_tools.pieces.shard_reader import find_shards
from coyo_tools.stages.score import ScoreWork
from coyo_tools.words.errors import WeightsError
from tests.tars import photographs, sample, write_tar

torch = pytest.importorskip("torch", reason="needs the score extra")
open_clip = pytest.importorskip("open_clip", reason="needs the score extra")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's and open_clip's

SIZES = {0: (768, 1024), 2: (1024, 128), 4: (128, 64), 6: (64, 16), 7: (16, 1)}
DATA = Path(os.environ.get("COYO_TEST_DATA", "absent")) / "aesthetic"


@pytest.fixture
def layers() -> dict[str, torch.Tensor]:
    """A head of the published shapes with random weights."""
    torch.manual_seed(5)
    found = {}
    for number, (wide, narrow) in SIZES.items():
        linear = torch.nn.Linear(wide, narrow)
        found |= {f"layers.{number}.{name}": p.detach() for name, p in linear.named_parameters()}
    return found


def unfolded(layers: dict[str, torch.Tensor], embeddings: torch.Tensor) -> np.ndarray:
    """The published predictor: its layers one after the other, in float32."""
    x = embeddings / embeddings.norm(dim=-1, keepdim=True)
    for number in SIZES:
        x = torch.nn.functional.linear(
            x, layers[f"layers.{number}.weight"], layers[f"layers.{number}.bias"]
        )
    return x[:, 0].numpy()


def saved(layers: dict[str, torch.Tensor], path: Path) -> Path:
    from safetensors.torch import save_file

    match path.suffix:
        case ".pth":
            torch.save(layers, path)
        case ".safetensors":
            save_file(layers, path)
        case ".npz":
            np.savez(path, **{name: tensor.numpy() for name, tensor in layers.items()})
    return path


@pytest.mark.parametrize("name", ["head.pth", "head.safetensors", "head.npz"])
def test_folded_is_unfolded(tmp_path: Path, layers: dict[str, torch.Tensor], name: str) -> None:
    embeddings = torch.randn(20, 768) * 7
    (found,) = load_head(saved(layers, tmp_path / name), "cpu")(embeddings, None)
    assert found.dtype == np.float32
    assert np.abs(found - unfolded(layers, embeddings)).max() < 1e-5
    assert found.std() > 1e-3


def test_a_folded_head_is_taken_as_it_is(tmp_path: Path, layers: dict[str, torch.Tensor]) -> None:
    vector, bias = fold(layers, "here")
    np.savez(tmp_path / "folded.npz", weight=vector, bias=np.float32(bias))
    again, same = fold(dict(np.load(tmp_path / "folded.npz")), "there")
    assert np.array_equal(again, vector)
    assert same == bias


@pytest.mark.skipif(not DATA.is_dir(), reason="COYO_TEST_DATA names no folder with aesthetic/")
def test_the_published_head_on_pictures_that_people_rated() -> None:
    head = DATA / "sac+logos+ava1-l14-linearMSE.pth"
    rated = [np.load(DATA / f"vitl14_rating{rating}.npy") for rating in (1, 5, 8)]
    embeddings = torch.from_numpy(np.concatenate(rated))
    (found,) = load_head(head, "cpu")(embeddings, None)
    assert found[0] < found[1] < found[2]
    expected = unfolded(torch.load(head, map_location="cpu", weights_only=True), embeddings)
    assert np.abs(found - expected).max() < 1e-4


def broken(layers: dict[str, torch.Tensor], how: str) -> dict[str, torch.Tensor]:
    match how:
        case "a layer is missing":
            return {n: t for n, t in layers.items() if not n.startswith("layers.2.")}
        case "a bias is missing":
            return {n: t for n, t in layers.items() if n != "layers.4.bias"}
        case "another model":
            return {"visual.proj": torch.zeros(768, 512)}
        case "two outputs":
            return {"weight": torch.zeros(2, 768), "bias": torch.zeros(2)}
        case "not finite":
            return {"weight": torch.full((1, 768), torch.nan), "bias": torch.zeros(1)}
    return {}


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("a layer is missing", "mismatch"),
        ("a bias is missing", r"layers\.4\.bias is absent"),
        ("another model", r"'visual\.proj' is none of its layers"),
        ("two outputs", "gives 2 numbers"),
        ("not finite", "not finite"),
        ("nothing in it", "it gives 768 numbers"),
    ],
)
def test_a_wrong_head_is_named(
    tmp_path: Path, layers: dict[str, torch.Tensor], how: str, said: str
) -> None:
    path = saved(broken(layers, how), tmp_path / "wrong.pth")
    with pytest.raises(WeightsError, match=rf"wrong\.pth: these are no weights of .*{said}"):
        load_head(path, "cpu")


@pytest.mark.parametrize("name", ["cut.pth", "cut.npz", "cut.safetensors"])
def test_a_cut_head_is_named(tmp_path: Path, layers: dict[str, torch.Tensor], name: str) -> None:
    path = saved(layers, tmp_path / name)
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(WeightsError, match=name):
        load_head(path, "cpu")


class _Counted(clip.ClipEncoder):
    """Counts what the model is given."""

    pictures = texts = 0

    def embed_images(self, images: Any) -> Any:
        _Counted.pictures += len(images)
        return super().embed_images(images)

    def embed_texts(self, texts: Any) -> Any:
        _Counted.texts += len(texts)
        return super().embed_texts(texts)


@pytest.fixture
def small_vitl14(monkeypatch: pytest.MonkeyPatch) -> Any:
    """ViT-L/14 with its own widths and two of its layers: the whole takes a minute of two cores."""
    config = open_clip.get_model_config("ViT-L-14")
    config["vision_cfg"]["layers"] = config["text_cfg"]["layers"] = 2
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: config)
    torch.manual_seed(1)
    return open_clip.CLIP(**config, quick_gelu=True).eval()


@pytest.fixture
def weights(small_vitl14: Any, layers: dict[str, torch.Tensor], tmp_path: Path) -> dict[str, Path]:
    path = saved(
        {n: t.half().contiguous() for n, t in small_vitl14.state_dict().items()},
        tmp_path / "l14.safetensors",
    )
    small_vitl14.load_state_dict(clip.load_tensors(path))
    return {SCORE.name: saved(layers, tmp_path / "head.pth"), "clip_similarity_vitl14": path}


def test_embeds_once_and_scores_twice(
    small_vitl14: Any,
    weights: dict[str, Path],
    layers: dict[str, torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beside the plain open_clip loop on the same weights."""
    monkeypatch.setattr(clip, "ClipEncoder", _Counted)
    (lane,) = load_lanes([clip_similarity.VIT_L_14, aesthetic.SCORE], "cpu", "fp32", weights)
    pictures: list[Any] = [decode(data) for data in photographs(3)]
    captions = ["a photograph", None, "two birds"]
    samples = [Sample("k", c, p) for c, p in zip(captions, pictures, strict=True)]
    cosines, rated = lane.scorer.score([lane.scorer.prepare(sample) for sample in samples])
    assert (_Counted.pictures, _Counted.texts) == (3, 2)

    model, preprocess = small_vitl14, open_clip.image_transform(224, is_train=False)
    with torch.no_grad():
        images = torch.cat([model.encode_image(preprocess(p)[None]) for p in pictures])
        tokens = open_clip.get_tokenizer("ViT-L-14")([c for c in captions if c])
        texts = model.encode_text(tokens)
        expected = torch.nn.functional.cosine_similarity(images[[0, 2]], texts)
    assert cosines[1] is None
    assert np.abs(np.array([cosines[0], cosines[2]]) - expected.numpy()).max() < 1e-5
    assert np.abs(rated - unfolded(layers, images)).max() < 1e-4


def test_a_shard_of_both_columns(weights: dict[str, Path], tmp_path: Path) -> None:
    """A caption that is missing and a picture that is broken cost what needs them, no more."""
    shard = [sample(0), sample(1, caption=None), sample(2, data=b"bad"), sample(3)]
    write_tar(tmp_path / "shards" / "00000.tar", shard)
    found = find_shards(tmp_path / "shards")
    assert found is not None
    rows = {}
    for columns in (("clip_similarity_vitl14", SCORE.name), (SCORE.name,)):
        out = tmp_path / str(len(columns))
        local = {name: str(path) for name, path in weights.items()}
        work = ScoreWork(str(out), columns, local, device="cpu", batch_size=2)
        folder_at(str(out)).create()
        ((_, scored),) = work(iter(found.shards), lambda _: None)
        assert scored.rows == 4
        assert list(scored.seconds) == ["decode", ", ".join(columns)]
        rows[columns] = pq.read_table(out / "00000.parquet").to_pylist()
    both, alone = rows.values()
    assert [r["clip_similarity_vitl14"] is None for r in both] == [False, True, True, False]
    assert [r[SCORE.name] is None for r in both] == [False, False, True, False]
    assert [r[SCORE.name] for r in both] == [r[SCORE.name] for r in alone]
    assert [r["error"] for r in both] == [None, None, "not_an_image", None]
