"""`run`: every stage of a recipe, and runs again from their manifests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import coyo_tools
from coyo_tools import FilterSettings, ScoreSettings
from coyo_tools.words.errors import CorruptFile, SettingsError, SourceError, SourceNotFound
from tests.metadata import bytes_of, ids_in, metadata, write_parts


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_parts(tmp_path / "metadata", [metadata(600, 1), metadata(400, 2)])
    return tmp_path / "metadata"


def recipe(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def test_every_stage_has_a_folder(source, tmp_path):
    told = []
    result = coyo_tools.run(
        recipe(
            tmp_path,
            f"source: {source}\nfilter: [{{preset: safe}}, {{top: 30%, by: width}}]\n"
            "sample: {rows: 50, seed: 3}\nscore: {columns: [text_length]}\ncompare:\nreport: {}\n",
        ),
        tmp_path / "out",
        tell=lambda step: told.append(step.command),
    )
    assert told == ["filter", "score", "compare", "report"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "comparison", "report.html", "scores", "subset",
    ]  # fmt: skip
    rules = ({"max_nsfw": 0.1}, {"top": "30%", "by": "width"}, {"sample": 50, "seed": 3})
    coyo_tools.filter(source, tmp_path / "s", FilterSettings(rules=rules))
    assert bytes_of(tmp_path / "s") == bytes_of(tmp_path / "out" / "subset")
    assert result.steps[2].result.columns["text_length"]["rows"] == 50
    document = result.to_dict()
    assert [step["command"] for step in document["steps"]] == told
    again = coyo_tools.run(tmp_path / "mine.yaml", tmp_path / "out")
    assert again.steps[0].result.complete_before


def test_without_filter_the_source_itself_is_read(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = recipe(tmp_path, "score: {columns: [word_count]}")
    result = coyo_tools.run(path, source=source)
    assert (result.out, result.steps[0].result.rows) == ("mine", 1000)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("filter: []\ndedup: {by: url}", "asks for dedup, which this version does not have"),
        ("source: x", "names no stage"),
        ("filter: []\ncompare: {}", "compares, but scores nothing"),
        ("report: {}", "reports, but makes nothing"),
        ("filter: []\nscore: {columns: [nonsense]}", "nonsense"),
        ("filter: [{min_sid: 3}]", "did you mean 'min_side'?"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_done(source, tmp_path, text, said):
    with pytest.raises(coyo_tools.CoyoError) as caught:
        coyo_tools.run(recipe(tmp_path, text), tmp_path / "out", source=source)
    assert said in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_filters_manifest_gives_the_same_bytes(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = FilterSettings(
        rules=({"preset": "laion2b-like"}, {"top": 100, "by": "width"}), columns=("id", "url")
    )
    coyo_tools.filter(source, tmp_path / "s", asked, where=["num_faces < 3"])
    result = coyo_tools.run(tmp_path / "s" / "manifest.json")
    assert (result.out, result.differs) == ("s-again", None)
    assert bytes_of(tmp_path / "s-again") == bytes_of(tmp_path / "s")
    monkeypatch.chdir(tmp_path / "s")
    assert coyo_tools.run("manifest.json", "../third").differs is None


def test_a_scores_manifest_needs_its_source_and_gives_the_same_bytes(source, tmp_path):
    coyo_tools.score(source, tmp_path / "scores", ScoreSettings(columns=("word_count",)))
    place = tmp_path / "scores" / "manifest.json"
    with pytest.raises(SettingsError, match="name it with --source"):
        coyo_tools.run(place, tmp_path / "again")
    result = coyo_tools.run(place, tmp_path / "again", source=source)
    assert result.differs is None
    assert bytes_of(tmp_path / "again") == bytes_of(tmp_path / "scores")


def test_a_downloads_manifest_is_run_with_its_settings(source, tmp_path):
    # Nothing answers at these urls' addresses: every row fails, which is a result like any other.
    rows = metadata(3, 1)
    urls = ["http://127.0.0.1:9/x"] * 3
    at = rows.schema.get_field_index("url")
    write_parts(tmp_path / "m", [rows.set_column(at, "url", [urls])])
    wanted = coyo_tools.DownloadSettings(image_size=77, retries=0, processes=1)
    coyo_tools.download(tmp_path / "m", tmp_path / "shards", wanted)
    result = coyo_tools.run(
        tmp_path / "shards" / "manifest.json", tmp_path / "again", source=tmp_path / "m"
    )
    assert result.differs is None
    said = json.loads((tmp_path / "again" / "manifest.json").read_text())
    assert said["settings"]["image_size"] == 77


def test_another_input_is_refused_and_named(source, tmp_path):
    coyo_tools.filter(source, tmp_path / "s", max_faces=0)
    write_parts(tmp_path / "m", [metadata(600, 1), metadata(400, 3)])
    with pytest.raises(SourceError, match=r"input part-1\.parquet differs in"):
        coyo_tools.run(tmp_path / "s" / "manifest.json", tmp_path / "t", source=tmp_path / "m")
    assert not (tmp_path / "t").exists()


def test_the_source_of_a_manifest_is_named_where_it_is_not_seen(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    coyo_tools.filter("metadata", "s", max_faces=0)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(SourceNotFound) as caught:
        coyo_tools.run("../s/manifest.json", "t")
    assert str(caught.value) == (
        "metadata: no such file or folder: it is the source that ../s/manifest.json names, seen "
        "from the folder it ran in; name it with --source"
    )
    with pytest.raises(SourceNotFound, match=r"^nothing: no such file or folder; check the path$"):
        coyo_tools.run("../s/manifest.json", "t", source="nothing")
    again = coyo_tools.run("../s/manifest.json", "t", source="../metadata")
    assert again.differs == "the same rows, but source differ"


def test_what_came_out_differently_is_said(source, tmp_path):
    coyo_tools.filter(source, tmp_path / "s", max_faces=0)
    place = tmp_path / "s" / "manifest.json"
    said = json.loads(place.read_text())
    (tmp_path / "edited.json").write_text(json.dumps(said | {"digest": "sha256:0"}))
    result = coyo_tools.run(tmp_path / "edited.json", tmp_path / "t")
    assert result.differs == "other rows: the digest differs"
    edited = said | {"versions": {"polars": "0"}, "result": said["result"] | {"bytes_out": 1}}
    (tmp_path / "edited.json").write_text(json.dumps(edited))
    again = coyo_tools.run(tmp_path / "edited.json", tmp_path / "u")
    assert again.differs is not None
    assert again.differs.startswith("the same rows, but bytes_out differ, other versions of polars")


def test_manifests_that_cannot_be_repeated_are_named(source, tmp_path):
    coyo_tools.stats(source, tmp_path / "st")
    with pytest.raises(SettingsError, match="`coyo stats` cannot be repeated"):
        coyo_tools.run(tmp_path / "st" / "manifest.json", tmp_path / "t")
    coyo_tools.diff(source, source, tmp_path / "d")
    for named in (None, source):
        with pytest.raises(SettingsError, match="`coyo diff` cannot be repeated"):
            coyo_tools.run(tmp_path / "d" / "manifest.json", tmp_path / "t", source=named)
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(CorruptFile, match="is no manifest of this tool"):
        coyo_tools.run(tmp_path / "x.json", tmp_path / "t")
    said = json.loads((tmp_path / "st" / "manifest.json").read_text()) | {"complete": False}
    (tmp_path / "x.json").write_text(json.dumps(said))
    with pytest.raises(SourceError, match="has not finished"):
        coyo_tools.run(tmp_path / "x.json", tmp_path / "t")


def test_a_recipes_rules_are_also_filters(source, tmp_path):
    path = recipe(tmp_path, "filter: [{max_faces: 0}]\nsample: {share: 50%, seed: 1}")
    coyo_tools.filter(source, tmp_path / "a", recipe=str(path))
    coyo_tools.filter(source, tmp_path / "b", max_faces=0, sample="50%", seed=1)
    assert ids_in(tmp_path / "a") == ids_in(tmp_path / "b") != []
