"""Recipes as they are read: everything wrong is named before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from coyo_tools.pieces.recipes import preset_named, presets, recipe_at
from coyo_tools.pieces.rules import rules_of
from coyo_tools.words.config import DownloadSettings, ScoreSettings
from coyo_tools.words.errors import CoyoError, RuleError

CONTRACT = """
source: hf://datasets/kakaobrain/coyo-700m
filter:                       # in this order; the funnel shows each
  - {min_side: 256}
  - {max_watermark: 0.5}
  - {where: "num_faces = 0"}
  - {top: 30%, by: clip_similarity_vitl14}
sample: {rows: 1000000, seed: 0}
download: {image_size: 384, timeout: 5}
score: {columns: [image_phash, clip_similarity_vitl14]}
report: {}
"""


def written(folder: Path, text: str) -> str:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return str(path)


def test_the_contracts_recipe_is_read_whole(tmp_path: Path) -> None:
    found = recipe_at(written(tmp_path, CONTRACT))
    assert found.source == "hf://datasets/kakaobrain/coyo-700m"
    assert [rule.label for rule in rules_of(found.rules)] == [
        "min(width, height) >= 256", "watermark_score <= 0.5", "num_faces = 0",
        "top 30% by clip_similarity_vitl14", "sample 1,000,000, seed 0",
    ]  # fmt: skip
    assert found.stages["download"] == DownloadSettings(image_size=384, timeout_s=5.0)
    assert found.stages["score"] == ScoreSettings(("image_phash", "clip_similarity_vitl14"))
    assert list(found.stages) == ["download", "score", "report"]
    dedup = recipe_at(written(tmp_path, CONTRACT + "dedup: {by: image_phash}\n"))
    assert dedup.not_built == ("dedup",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("filters: []", "has no 'filters'; did you mean 'filter'?"),
        ("download: {image_sise: 3}", "download: has no 'image_sise'; did you mean 'image_size'?"),
        ("download: {image_size: big}", "download: image_size: 'big' is no whole number"),
        ("download: {image_size: true}", "image_size: True is no whole number"),
        ("download: {robots: 1}", "robots: 1 is no true or false"),
        ("download: {image_size: 0}", "0 is below 1"),
        ("download: 3", "download: is not a mapping of settings"),
        ("score: {columns: 3}", "columns: 3 is no list of texts"),
        ("score: {}", "no column named"),
        ("sample: 3", "sample needs rows or share"),
        ("sample: {rows: 3, sede: 1}", "sample: has no 'sede'; did you mean 'seed'?"),
        ("filter: {min_side: 3}", "filter is not a list of rules"),
        ("filter: [{recipe: x.yaml}]", "a recipe names no other recipe"),
        ("source: 3", "source is not a text"),
        ("- a", "is no recipe: it is not a mapping"),
        ("a: [", "is no YAML at line 1"),
        ("filter: [{min_side: 3}]\nsource: x\nfilter: []", "has 'filter' twice, again at line 3"),
        ("filter:\n - {top: 10%, by: width, by: height}", "has 'by' twice, again at line 2"),
        ("download: {robots: true, 'robots': false}", "has 'robots' twice"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(CoyoError) as caught:
        recipe_at(written(tmp_path, text))
    assert said in str(caught.value)
    assert (
        "recipe.yaml" in str(caught.value)
        or "score" in str(caught.value)
        or "--" in str(caught.value)
    )


def test_bytes_that_are_no_text_and_files_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(CoyoError, match="is no UTF-8 text"):
        recipe_at(str(tmp_path / "r.yaml"))
    with pytest.raises(CoyoError, match="no such file"):
        recipe_at(str(tmp_path / "none.yaml"))


@pytest.mark.parametrize("name", list(presets()))
def test_every_preset_says_what_it_is_and_where_it_is_from(name: str) -> None:
    preset = preset_named(name)
    assert preset.name == name
    assert rules_of(preset.rules)
    for text in (preset.about, preset.paper, preset.numbers):
        assert text.endswith(".")
    assert "best" not in " ".join([preset.about, preset.numbers]).lower()
    assert preset.paper.startswith("No publication") or "arXiv" in preset.paper


def test_the_presets_are_those_that_are_documented() -> None:
    assert list(presets()) == [
        "aesthetic-v2-5", "aesthetic-v2-5.5", "aesthetic-v2-6", "captions-no-faces", "coyo-hq",
        "datacomp-l14-top30", "laion2b-like", "safe", "vila-coyo",
    ]  # fmt: skip
    with pytest.raises(RuleError, match="did you mean 'laion2b-like'"):
        preset_named("laion2b")
    with pytest.raises(RuleError, match="no preset is called"):
        preset_named(["safe"])
