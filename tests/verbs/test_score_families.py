"""`score` with models that the settings choose, their files fetched from a hub."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import coyo_tools
from coyo_tools.pieces.scores import weights_cache
from coyo_tools.pieces.scores.base import weights_of
from coyo_tools.pieces.scores.clip_similarity import declare
from coyo_tools.verbs.weights import fetch_weights
from coyo_tools.words.config import ScoreSettings
from coyo_tools.words.errors import SettingsConflict
from tests.pieces.scores.small_clip import KINDS, Made, made_small
from tests.servers.models import ModelHub
from tests.tars import sample, write_tar

pytest.importorskip("open_clip", reason="needs the score extra")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # torch's and open_clip's own
    pytest.mark.usefixtures("in_this_process"),
]
(SIGLIP,) = (kind for kind in KINDS if kind.model == "ViT-B-16-SigLIP")


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    with made_small(SIGLIP, tmp_path_factory.mktemp("siglip")) as made:
        yield made


@pytest.fixture
def hub(siglip: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelHub]:
    """The model's files as its hub has them: the weights as a torch file alone."""
    import torch
    from safetensors.torch import load_file

    weights, tokenizer = weights_of([declare(siglip.choice)]).values()
    assert siglip.tokenizer is not None
    shutil.copytree(siglip.tokenizer, tmp_path / "hub" / tokenizer.repository)
    (tmp_path / "hub" / weights.repository).mkdir(exist_ok=True, parents=True)
    torch.save(load_file(siglip.weights), tmp_path / "hub" / weights.repository / weights.files[1])
    monkeypatch.delenv(weights_cache.OFFLINE, raising=False)
    monkeypatch.setenv("COYO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "none"))
    with ModelHub(tmp_path / "hub") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.base_url)
        yield server


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    one = [sample(0), sample(1, caption=None), sample(2, data=b"bad"), sample(3)]
    write_tar(tmp_path / "shards" / "00000.tar", one)
    write_tar(tmp_path / "shards" / "00001.tar", [sample(4)])
    return tmp_path / "shards"


def asked(made: Made, **rest: Any) -> ScoreSettings:
    return ScoreSettings(
        columns=("clip_similarity", "word_count"),
        model=(made.choice.model,),
        pretrained=(made.choice.pretrained,),
        **rest,
    )


def test_a_chosen_model_is_fetched_and_gives_a_column_of_its_own(
    siglip: Made, hub: ModelHub, shards: Path, tmp_path: Path
) -> None:
    result = coyo_tools.score(shards, tmp_path / "out", asked(siglip))
    name = declare(siglip.choice).name
    assert [column.name for column in result.columns] == [name, "word_count"]
    table = pq.read_table(tmp_path / "out" / "00000.parquet")
    assert table.column_names == ["id", "key", name, "word_count", "error"]
    values = table.column(name).to_pylist()
    assert [value is None for value in values] == [False, True, True, False]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["settings"]["model"] == [siglip.choice.model]
    assert set(manifest["settings"]["weights"]) == {name, "tokenizer_timm_vit_b_16_siglip"}
    assert {"timm", "transformers", "open-clip-torch"} <= set(manifest["versions"])

    # The same from files that lie elsewhere, and by the column's own name.
    given = ScoreSettings(
        columns=(name, "word_count"),
        weights=(f"{name}={siglip.weights}", f"tokenizer_timm_vit_b_16_siglip={siglip.tokenizer}"),
    )
    before = hub.requests["file"]
    coyo_tools.score(shards, tmp_path / "again", given)
    assert hub.requests["file"] == before
    assert pq.read_table(tmp_path / "again" / "00000.parquet").equals(table)
    with pytest.raises(SettingsConflict):
        coyo_tools.score(shards, tmp_path / "again", asked(siglip))


def test_its_files_can_be_fetched_beforehand(siglip: Made, hub: ModelHub) -> None:
    weights, tokenizer = fetch_weights([declare(siglip.choice).name])
    assert (weights.state, weights.file) == ("right", "open_clip_model.safetensors")
    assert weights.path is not None
    assert weights.path.endswith("open_clip_pytorch_model.bin")
    assert (tokenizer.name, tokenizer.state) == ("tokenizer_timm_vit_b_16_siglip", "right")
