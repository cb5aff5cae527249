"""`datasets` objects into the verbs, and folders back out as `datasets` objects."""

from __future__ import annotations

import json
import sys

import pyarrow as pa
import pytest

import coyo_tools
from coyo_tools.words.errors import MissingExtra, SettingsConflict, SourceError
from tests.metadata import ids_in, metadata, parts_of, rows_of, write_parts

datasets = pytest.importorskip("datasets", reason="needs the datasets extra")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


@pytest.fixture
def source(tmp_path):
    # A name that is a pattern to a library that globs.
    folder = tmp_path / "meta [1]"
    write_parts(folder, [metadata(3_000, seed) for seed in (0, 1)])
    return folder


def test_a_streamed_folder_filters_as_the_folder_itself(tmp_path, source):
    plain = tmp_path / "plain"
    source.rename(plain)
    data = datasets.load_dataset(str(plain), split="train", streaming=True)
    one = coyo_tools.filter(data, tmp_path / "a", min_clip_l14=0.25)
    other = coyo_tools.filter(plain, tmp_path / "b", min_clip_l14=0.25)
    assert (one.digest, one.rows_out, one.parts) == (other.digest, other.rows_out, 2)
    said, named = (json.loads((tmp_path / n / "manifest.json").read_text()) for n in "ab")
    assert said["inputs"] == named["inputs"]
    assert said["result"].pop("source") == f"{plain}/*.parquet"
    assert said["result"] == {k: v for k, v in named["result"].items() if k != "source"}


def test_a_stream_of_files_here_can_be_filtered_to_a_folder_here(tmp_path):
    write_parts(tmp_path, [metadata(100, seed) for seed in (0, 1)])
    data = datasets.load_dataset(str(tmp_path), split="train", streaming=True)
    assert coyo_tools.filter(data, tmp_path / "out").rows_out == 200
    again = coyo_tools.run(tmp_path / "out/manifest.json", tmp_path / "again")
    assert again.differs is None


def test_a_map_style_dataset_filters_to_the_same_rows(tmp_path, source):
    data = datasets.Dataset(parts_of(source))
    one = coyo_tools.filter(data, tmp_path / "a", top="30%", by="clip_similarity_vitl14")
    other = coyo_tools.filter(source, tmp_path / "b", top="30%", by="clip_similarity_vitl14")
    assert one.rows_out == other.rows_out == 1_800
    assert one.digest == other.digest
    assert ids_in(tmp_path / "a") == ids_in(tmp_path / "b")


def test_it_is_continued_with_the_same_rows_and_refused_with_others(tmp_path):
    rows = [{"width": 300 + n} for n in range(20)]
    coyo_tools.filter(datasets.Dataset(rows_of(*rows)), tmp_path / "out", min_side=310)
    again = coyo_tools.filter(datasets.Dataset(rows_of(*rows)), tmp_path / "out", min_side=310)
    assert again.complete_before
    rows[3]["width"] = 299
    with pytest.raises(SettingsConflict, match=r"input part-00000.parquet differs in .*sha256"):
        coyo_tools.filter(datasets.Dataset(rows_of(*rows)), tmp_path / "out", min_side=310)


def test_the_manifest_says_what_the_dataset_says(tmp_path):
    data = datasets.Dataset(rows_of({}, {}), info=datasets.DatasetInfo(dataset_name="mine"))
    coyo_tools.filter(data, tmp_path / "out")
    said = json.loads((tmp_path / "out/manifest.json").read_text())
    assert said["result"]["source"] == f"datasets:mine#{data._fingerprint}"
    assert len(said["inputs"][0]["sha256"]) == 64


def test_the_other_verbs_take_one_too(tmp_path, source):
    data = datasets.Dataset(rows_of({"text": "a dog"}, {"text": "two dogs"}))
    assert coyo_tools.inspect(data).rows == 2
    assert coyo_tools.stats(data).rows == 2
    settings = coyo_tools.ScoreSettings(columns=("text_length",))
    scored = coyo_tools.score(data, tmp_path / "scores", settings)
    assert scored.rows == 2
    assert parts_of(tmp_path / "scores")["text_length"].to_pylist() == [5, 8]
    compared = coyo_tools.compare(tmp_path / "scores", data, tmp_path / "comparison")
    assert compared.columns["text_length"]["rows"] == 2


@pytest.mark.parametrize("streaming", [False, True])
def test_a_subset_comes_back_with_its_rows_and_types(tmp_path, source, streaming):
    result = coyo_tools.filter(source, tmp_path / "out [x]*", max_watermark=0.5)
    data = result.to_datasets(streaming=streaming)
    expected = parts_of(tmp_path / "out [x]*")
    back = pa.concat_tables(data.with_format("arrow").iter(batch_size=1_000))
    assert back.replace_schema_metadata().equals(expected.replace_schema_metadata())
    assert isinstance(data, datasets.IterableDataset) == streaming
    assert data.features["id"] == datasets.Value("int64")
    assert data.features["text"] == datasets.Value("string")
    assert data.features["watermark_score"] == datasets.Value("float32")


@pytest.mark.parametrize("streaming", [False, True])
def test_a_subset_of_no_rows_keeps_its_columns(tmp_path, source, streaming):
    coyo_tools.filter(source, tmp_path / "none", where=["id < 0"])
    data = coyo_tools.to_datasets(tmp_path / "none", streaming=streaming)
    assert list(data) == []
    assert "clip_similarity_vitl14" in data.features


def test_a_folder_that_is_not_finished_is_refused(tmp_path, source):
    coyo_tools.filter(source, tmp_path / "out")
    place = tmp_path / "out/manifest.json"
    place.write_text(place.read_text().replace('"complete": true', '"complete": false'))
    with pytest.raises(SourceError, match="`coyo filter` has not finished this folder"):
        coyo_tools.to_datasets(tmp_path / "out")


def test_without_datasets_the_extra_is_named(tmp_path, source, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"coyo-tools\[datasets\]"):
        coyo_tools.to_datasets(source)
