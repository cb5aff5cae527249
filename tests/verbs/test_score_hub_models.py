"""`score` with models of transformers: from a hub, and from folders, in worker processes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import coyo_tools
from coyo_tools.pieces.scores import align_similarity, vit_labels, weights_cache
from coyo_tools.words.config import ScoreSettings
from coyo_tools.words.errors import WeightsError
from tests.pieces.scores.small_hub import as_torch_file, make_align, make_vit
from tests.servers.models import ModelHub
from tests.tars import sample, write_tar

pytest.importorskip("torch", reason="needs the score extra")
pytest.importorskip("transformers", reason="needs the score extra")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
COLUMNS = ("align_similarity", "vit_labels", "vit_probs")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub's folder: ALIGN as it is saved now, ViT as it was before safetensors."""
    root = tmp_path_factory.mktemp("hub")
    make_align(root / align_similarity.MODEL)
    make_vit(root / vit_labels.MODEL)
    as_torch_file(root / vit_labels.MODEL)
    return root


@pytest.fixture
def hub(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelHub]:
    monkeypatch.delenv(weights_cache.OFFLINE, raising=False)
    monkeypatch.setenv("COYO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "none"))
    with ModelHub(models) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.base_url)
        yield server


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    one = [sample(0), sample(1, caption=None), sample(2, data=b"bad"), sample(3)]
    write_tar(tmp_path / "shards" / "00000.tar", one)
    return tmp_path / "shards"


def test_fetched_from_a_hub_and_the_same_from_folders(
    models: Path, hub: ModelHub, shards: Path, tmp_path: Path
) -> None:
    asked = ScoreSettings(columns=COLUMNS, embeddings=str(tmp_path / "emb"))
    coyo_tools.score(shards, tmp_path / "out", asked)
    table = pq.read_table(tmp_path / "out" / "00000.parquet")
    assert table.schema.field("vit_labels").type == pa.list_(pa.string())
    assert table.schema.field("vit_probs").type == pa.list_(pa.float32())
    rows = table.to_pylist()
    assert [row["align_similarity"] is None for row in rows] == [False, True, True, False]
    assert [row["vit_labels"] is None for row in rows] == [False, False, True, False]
    assert len(rows[0]["vit_labels"]) == len(rows[0]["vit_probs"]) == 5
    assert all(label.startswith("label ") for label in rows[0]["vit_labels"])
    images = np.load(tmp_path / "emb" / "img_emb" / "img_emb_00000.npy")
    texts = np.load(tmp_path / "emb" / "text_emb" / "text_emb_00000.npy")
    cosines = (images.astype(np.float32) * texts.astype(np.float32)).sum(axis=1)
    known = [row["align_similarity"] for row in rows if row["align_similarity"] is not None]
    assert np.abs(cosines - known).max() < 1e-3

    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert set(manifest["settings"]["weights"]) == {"align_similarity", "vit_labels"}
    assert "transformers" in manifest["versions"]
    before = hub.requests["file"]
    folders = (
        f"align_similarity={models / align_similarity.MODEL}",
        f"vit_labels={models / vit_labels.MODEL}",
    )
    offline = ScoreSettings(columns=COLUMNS, weights=folders, device="cpu")
    again = coyo_tools.score(shards, tmp_path / "out", offline)
    assert again.rows_now == 0  # the same files, wherever they lie
    assert hub.requests["file"] == before


def test_what_a_folder_lacks_is_said_before_anything_is_written(
    models: Path, shards: Path, tmp_path: Path
) -> None:
    lacking = shutil.copytree(models / vit_labels.MODEL, tmp_path / "vit")
    (lacking / "preprocessor_config.json").unlink()
    asked = ScoreSettings(columns=("vit_labels",), weights=(f"vit_labels={lacking}",))
    with pytest.raises(
        WeightsError, match=r"vit: is no folder with config\.json, preprocessor_con"
    ):
        coyo_tools.score(shards, tmp_path / "out", asked)
    assert not (tmp_path / "out").exists()
