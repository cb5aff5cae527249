"""`push` through the real huggingface_hub against a hub on this machine, and back by `datasets`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import constants

import coyo_tools
from coyo_tools.pieces import hub_push
from coyo_tools.words.errors import SettingsConflict, SettingsError, SourceError, StorageError
from tests.metadata import metadata, parts_of, write_parts
from tests.servers.hub_writes import WritableHub
from tests.servers.s3 import s3_server

# huggingface_hub sends a file in a way that its own HTTP client advises against.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload:DeprecationWarning")

TEXTS = ["histograms.png", "manifest.json", "README.md"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    write_parts(folder / "meta", [metadata(1_000, seed) for seed in range(5)])
    coyo_tools.filter(folder / "meta", folder / "subset", min_clip_l14=0.25, max_watermark=0.5)
    return folder


@pytest.fixture
def subset(made, tmp_path):
    return shutil.copytree(made / "subset", tmp_path / "subset")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    (tmp_path / "hub").mkdir()
    with WritableHub(tmp_path / "hub") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.base_url)
        monkeypatch.setenv("HF_TOKEN", "writer")
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # read at import
        yield server


def names(folder: Path) -> list[str]:
    return [f"data/{path.name}" for path in sorted(folder.glob("*.parquet"))]


def test_everything_goes_in_one_commit_and_is_as_it_was(hub, subset):
    result = coyo_tools.push(subset, "me/mine")
    assert [commit["added"] for commit in hub.commits] == [[*names(subset), *sorted(TEXTS)]]
    assert result.commits == (hub.sha,)
    assert list(result.uploaded) == [*names(subset), *TEXTS]
    assert result.url == f"{hub.base_url}/datasets/me/mine"
    for name in names(subset):
        assert (hub.folder / name).read_bytes() == (subset / Path(name).name).read_bytes()
    assert (hub.folder / "README.md").read_text() == result.card
    # Nothing said of who may see it: an organisation's own setting holds.
    assert hub.asked == {"name": "mine", "organization": "me", "type": "dataset"}


def test_again_there_is_nothing_to_send(hub, subset):
    coyo_tools.push(subset, "me/mine")
    events = list(hub.events)
    again = coyo_tools.push(subset, "me/mine")
    assert (again.commits, again.uploaded, again.unchanged, again.bytes) == ((), (), 8, 0)
    assert hub.events == events


READ_BACK = """
import json, sys
from datasets import load_dataset
import coyo_tools
data = load_dataset("me/mine", split="train")
stream = load_dataset("me/mine", split="train", streaming=True)
streamed = coyo_tools.filter(stream, sys.argv[1] + "/a")
named = coyo_tools.filter("hf://datasets/me/mine", sys.argv[1] + "/b")
cached = coyo_tools.filter(data, sys.argv[1] + "/c")
inputs = json.load(open(sys.argv[1] + "/a/manifest.json"))["inputs"]
print(json.dumps({
    "ids": data["id"][:], "types": {k: v.dtype for k, v in data.features.items()},
    "columns": stream.column_names,
    "digests": [streamed.digest, named.digest, cached.digest],
    "revisions": [each["revision"] for each in inputs],
    "names": [each["name"] for each in inputs],
}))
"""


def test_load_dataset_reads_the_rows_back(hub, subset, tmp_path):
    pytest.importorskip("datasets", reason="needs the datasets extra")
    coyo_tools.push(subset, "me/mine")
    env = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", READ_BACK, str(tmp_path)],
        env=env, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    rows = parts_of(subset)
    assert read["ids"] == rows["id"].to_pylist()
    assert read["columns"] == list(read["types"]) == rows.column_names
    assert read["types"]["id"] == "int64"
    assert read["types"]["watermark_score"] == "float32"
    manifest = json.loads((subset / "manifest.json").read_text())
    assert read["digests"] == [manifest["digest"]] * 3
    assert set(read["revisions"]) == {hub.sha}
    assert read["names"] == [Path(name).name for name in names(subset)]


def test_an_interrupted_upload_is_completed_without_sending_a_file_twice(hub, subset):
    hub.refuse["put"] = (403, 3)
    with pytest.raises(StorageError, match=r"the token may not write there \(403\)"):
        coyo_tools.push(subset, "me/mine")
    assert hub.commits == []
    assert len(hub.objects) == 3
    hub.refuse.clear()
    coyo_tools.push(subset, "me/mine")
    assert hub.events.count("put") == 6  # five parts and the picture
    assert len(hub.commits) == 1


def test_many_files_take_several_commits_and_the_card_goes_last(hub, subset, monkeypatch):
    monkeypatch.setattr(hub_push, "FILES_A_COMMIT", 2)
    hub.refuse["commit"] = (500, 1)
    with pytest.raises(StorageError, match=r"trouble of its own \(500\); run the same command"):
        coyo_tools.push(subset, "me/mine")
    assert not (hub.folder / "manifest.json").exists()
    hub.refuse.clear()
    done = coyo_tools.push(subset, "me/mine", coyo_tools.PushSettings(message="Take it"))
    assert done.unchanged == 2
    assert [c["summary"] for c in hub.commits][1:] == ["Take it (1 of 2)", "Take it (2 of 2)"]
    assert hub.commits[-1]["added"] == [*names(subset)[-1:], *sorted(TEXTS)]
    assert len(done.commits) == 2
    assert hub.events.count("put") == 6


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [
        ("commit", 401, r"does not accept the token, or there is none \(401\); set HF_TOKEN"),
        ("commit", 403, r"may not write there \(403\)"),
        ("commit", 404, r"not there, or not shown to this token \(404\)"),
        ("commit", 409, r"being changed by someone else \(409\)"),
        ("commit", 412, r"has been changed while this ran \(412\)"),
        ("commit", 429, r"asks to wait 7 s \(429\); run the same command again"),
        ("commit", 503, r"trouble of its own \(503\)"),
        ("commit", 400, r"refuses \(400\): as you wish; run"),
        ("create", 401, r"does not accept the token"),
        ("create", 403, r"may not write there"),
        ("batch", 403, r"may not write there"),
        ("info", 500, r"trouble of its own"),
    ],
)
def test_each_refusal_is_a_sentence(hub, subset, kind, status, said):
    hub.refuse[kind] = (status, 0)
    with pytest.raises(StorageError, match=said) as refused:
        coyo_tools.push(subset, "me/mine")
    assert str(refused.value).startswith(f"{hub.base_url}/datasets/me/mine: ")
    assert "\n" not in str(refused.value)
    assert hub.commits == []


def test_without_a_hub_or_a_token_it_is_a_sentence_too(hub, subset, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "someone else's")
    with pytest.raises(StorageError, match="does not accept the token"):
        coyo_tools.push(subset, "me/mine")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match=r"cannot be written: .*run the same command again"):
        coyo_tools.push(subset, "me/mine")


def test_the_token_may_stand_in_another_variable(hub, subset, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "reader")
    settings = coyo_tools.PushSettings(token_env="MINE")
    with pytest.raises(SettingsError, match=r"--token-env MINE: names a variable that is not set"):
        coyo_tools.push(subset, "me/mine", settings)
    monkeypatch.setenv("MINE", "writer")
    assert coyo_tools.push(subset, "me/mine", settings).commits


def test_a_hub_without_xet_is_named(hub, subset, monkeypatch):
    pytest.importorskip("hf_xet", reason="without it there is no Xet")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    with pytest.raises(StorageError, match="set HF_HUB_DISABLE_XET=1"):
        coyo_tools.push(subset, "me/mine")
    assert hub.commits == []


def test_private_means_private(hub, subset):
    private = coyo_tools.PushSettings(private=True)
    coyo_tools.push(subset, "me/mine", private)
    assert hub.private
    hub.private = False
    with pytest.raises(SettingsConflict, match="is public, and --private was asked for"):
        coyo_tools.push(subset, "me/mine", private)


def test_a_branch_is_made_and_written(hub, subset):
    result = coyo_tools.push(subset, "me/mine", coyo_tools.PushSettings(revision="v2"))
    assert hub.branches == {"v2"}
    assert hub.commits[0]["revision"] == "v2"
    assert result.revision == "v2"


def test_other_content_is_named_and_replaced_only_when_asked(hub, made, subset, tmp_path):
    coyo_tools.push(subset, "me/mine")
    (hub.folder / "notes.txt").write_text("a user's own")
    other = tmp_path / "other"
    settings = coyo_tools.FilterSettings(limit_files=4)
    coyo_tools.filter(made / "meta", other, settings, min_clip_l14=0.3)
    before = {path: path.read_bytes() for path in hub.folder.rglob("*") if path.is_file()}
    with pytest.raises(
        SettingsConflict,
        match=r"another data/part-0.parquet, data/part-4.parquet, which the folder has not and "
        r"6 files more that differ; choose another NAME, or replace them with --overwrite",
    ):
        coyo_tools.push(other, "me/mine")
    assert before == {path: path.read_bytes() for path in hub.folder.rglob("*") if path.is_file()}
    result = coyo_tools.push(other, "me/mine", overwrite=True)
    assert result.deleted == ("data/part-4.parquet",)
    assert sorted(p.name for p in (hub.folder / "data").iterdir()) == [
        f"part-{n}.parquet" for n in range(4)
    ]
    assert (hub.folder / "notes.txt").exists()
    assert len(hub.commits) == 2


def test_other_content_of_the_same_length_is_seen(hub, subset):
    coyo_tools.push(subset, "me/mine")
    for name in ("data/part-0.parquet", "README.md"):
        place = hub.folder / name
        whole = place.read_bytes()
        place.write_bytes(whole[:-1] + b"x")
        with pytest.raises(SettingsConflict, match=f"holds another {name}; choose"):
            coyo_tools.push(subset, "me/mine")
        place.write_bytes(whole)


def test_replacing_in_several_commits_takes_the_old_card_away_first(
    hub, made, subset, tmp_path, monkeypatch
):
    coyo_tools.push(subset, "me/mine")
    coyo_tools.filter(made / "meta", tmp_path / "other", min_clip_l14=0.3)
    monkeypatch.setattr(hub_push, "FILES_A_COMMIT", 4)
    hub.refuse["commit"] = (500, 1)
    with pytest.raises(StorageError):
        coyo_tools.push(tmp_path / "other", "me/mine", overwrite=True)
    assert sorted(hub.commits[1]["deleted"]) == sorted(TEXTS)
    hub.refuse.clear()
    coyo_tools.push(tmp_path / "other", "me/mine", overwrite=True)
    said = json.loads((hub.folder / "manifest.json").read_text())
    assert said["digest"] == json.loads((tmp_path / "other/manifest.json").read_text())["digest"]


def test_a_change_by_someone_else_meanwhile_is_refused(hub, subset, monkeypatch):
    preupload = hub_push._preupload

    def and_someone_else(*arguments):
        preupload(*arguments)
        hub.sha = "f" * 40

    monkeypatch.setattr(hub_push, "_preupload", and_someone_else)
    with pytest.raises(StorageError, match=r"has been changed while this ran \(412\)"):
        coyo_tools.push(subset, "me/mine")
    assert hub.commits == []


def test_a_dry_run_asks_nobody(subset, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    result = coyo_tools.push(subset, "me/mine", dry_run=True)
    assert list(result.files) == [*names(subset), *TEXTS]
    assert result.bytes == sum(result.files.values())
    assert result.card.startswith("---\n")
    assert result.to_dict()["dry_run"]


def test_the_same_folder_gives_the_same_card_wherever_it_lies(subset, tmp_path):
    first = coyo_tools.push(subset, "me/mine", dry_run=True)
    moved = subset.rename(tmp_path / "elsewhere")
    assert coyo_tools.push(moved, "me/mine", dry_run=True) == first


def test_no_folder_of_this_machine_is_published(hub, subset, made):
    coyo_tools.push(subset, "me/mine")
    for name in ("README.md", "manifest.json"):
        said = (hub.folder / name).read_text()
        assert str(made) not in said
    assert json.loads((hub.folder / "manifest.json").read_text())["result"]["source"] == "meta"


def test_scores_are_published_too(hub, subset, tmp_path):
    settings = coyo_tools.ScoreSettings(columns=("text_length",))
    coyo_tools.score(subset, tmp_path / "scores", settings)
    result = coyo_tools.push(tmp_path / "scores", "me/scores")
    assert result.rows == parts_of(subset).num_rows
    assert "written by `coyo score`" in result.card
    assert "| `text_length` | int32 | characters of text |" in result.card
    assert "Recipe" not in result.card


def test_a_table_beside_the_rows_is_a_configuration_of_its_own(subset):
    shutil.copy(subset / "part-0.parquet", subset / "groups.parquet")
    said = json.loads((subset / "manifest.json").read_text())
    said["command"], said["files"] = "dedup", [*said["files"], "groups.parquet"]
    (subset / "manifest.json").write_text(json.dumps(said))
    result = coyo_tools.push(subset, "me/mine", dry_run=True)
    assert "groups.parquet" in result.files
    front = yaml.safe_load(result.card.split("---\n")[1])
    assert [(c["config_name"], c["data_files"][0]["path"]) for c in front["configs"]] == [
        ("default", "data/*.parquet"),
        ("groups", "groups.parquet"),
    ]
    assert result.rows == said["result"]["rows_out"]


def test_a_folder_on_an_object_store(hub, subset, monkeypatch):
    with s3_server(monkeypatch):
        import s3fs

        s3fs.S3FileSystem().put(str(subset), "bucket/subset", recursive=True)
        result = coyo_tools.push("s3://bucket/subset", "me/mine")
        assert coyo_tools.push("s3://bucket/subset", "me/mine").unchanged == 8
    assert list(result.uploaded) == [*names(subset), *TEXTS]
    for name in names(subset):
        assert (hub.folder / name).read_bytes() == (subset / Path(name).name).read_bytes()


class TestRefused:
    def test_a_run_that_has_not_finished(self, subset):
        self.change(subset, complete=False)
        self.refused(subset, "`coyo filter` has not finished this folder")

    def test_pictures(self, subset):
        self.change(subset, command="download")
        self.refused(subset, "was written by `coyo download`, which fetches pictures; push takes")

    def test_a_folder_of_other_parquet(self, made):
        self.refused(made / "meta", "has no manifest of this tool; push takes the metadata")

    def test_a_part_that_has_gone(self, subset):
        (subset / "part-1.parquet").unlink()
        self.refused(subset, "its manifest lists part-1.parquet, which is not there")

    def test_a_part_with_other_rows(self, subset):
        table = pq.read_table(subset / "part-1.parquet")
        pq.write_table(table.slice(1), subset / "part-1.parquet")
        self.refused(subset, r"holds [\d,]+ rows, and its manifest says [\d,]+; run the")

    def test_a_name_without_an_owner(self, subset):
        with pytest.raises(SettingsError, match="mine: is no name of a dataset; write OWNER/NAME"):
            coyo_tools.push(subset, "mine")

    def change(self, folder, **values):
        said = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(said | values))

    def refused(self, folder, said):
        with pytest.raises(SourceError, match=said):
            coyo_tools.push(folder, "me/mine", dry_run=True)
