"""The dataset card: its front matter, and what it may say of whose the rows are."""

from __future__ import annotations

import pytest
import yaml

from coyo_tools.machinery.manifest import Manifest
from coyo_tools.pieces.card import Published, card, license_of, origin_of, public, size_category

COYO_PART = "part-00000-17da4908-939c-46e5-91d0-15f256041956-c000.snappy.parquet"
SHA = "a" * 40
STEP = {
    "rule": "text matches a|b",
    "dropped": 10,
    "dropped_alone": 12,
    "null": 0,
    "left": 1234,
    "note": "",
}


def a_manifest(source="meta", name="x.parquet", **more):
    result = {
        "source": source,
        "rows_in": 1244,
        "rows_out": 1234,
        "funnel": [STEP],
        "recipe": [{"text_matches": "a|b"}, {"top": "30%", "by": "width"}],
        **more.pop("result", {}),
    }
    settings = {"rules": [{"text_matches": "a|b"}], **more.pop("settings", {})}
    return Manifest(
        "filter", settings, [{"name": name}], {"coyo-tools": "1"},
        complete=True, files=("x.parquet",), result=result, digest="sha256:00", **more,
    )  # fmt: skip


def published(manifest, **more):
    columns = [("id", "int64"), ("mine", "double")]
    configs = {"default": "data/*.parquet"}
    return Published("me/mine", manifest, 1234, 5_000_000, columns, configs, **more)


@pytest.mark.parametrize(
    ("source", "name", "origin"),
    [
        (f"hf://datasets/kakaobrain/coyo-700m@{SHA}", "x", ("kakaobrain/coyo-700m", SHA)),
        (f"hf://datasets/a/b@{SHA}/data/p.parquet", "x", ("a/b", SHA)),
        ("/data/coyo", COYO_PART, ("kakaobrain/coyo-700m", None)),
        ("/data/coyo", "part-00000.parquet", (None, None)),
        ("datasets:mine[train]#1", "part-00000.parquet", (None, None)),
    ],
)
def test_where_the_rows_are_from(source, name, origin):
    assert origin_of(a_manifest(source, name)) == origin


def test_the_licence_is_coyos_only_where_the_rows_are():
    assert license_of(published(a_manifest(name=COYO_PART))) == "cc-by-4.0"
    assert license_of(published(a_manifest())) == "unknown"
    assert license_of(published(a_manifest("hf://datasets/a/b@x"))) == "unknown"
    assert license_of(published(a_manifest(name=COYO_PART), license="other")) == "other"


def test_one_foreign_file_among_coyos_is_enough_to_doubt():
    mixed = a_manifest()
    mixed = Manifest(**{**vars(mixed), "inputs": [{"name": COYO_PART}, {"name": "x.parquet"}]})
    assert origin_of(mixed) == (None, None)


@pytest.mark.parametrize(
    ("rows", "category"),
    [
        (0, "n<1K"), (999, "n<1K"), (1_000, "1K<n<10K"), (999_999, "100K<n<1M"),
        (746_972_269, "100M<n<1B"), (10**10, "n>10B"),
    ],
)  # fmt: skip
def test_the_hubs_names_for_sizes(rows, category):
    assert size_category(rows) == category


def front_of(text):
    return yaml.safe_load(text.split("---\n")[1])


def test_the_front_matter_is_what_the_hub_reads():
    text = card(published(a_manifest(f"hf://datasets/kakaobrain/coyo-700m@{SHA}")))
    front = front_of(text)
    assert front["license"] == "cc-by-4.0"
    assert front["size_categories"] == ["1K<n<10K"]
    assert front["source_datasets"] == ["kakaobrain/coyo-700m"]
    assert front["configs"] == [
        {
            "config_name": "default",
            "data_files": [{"split": "train", "path": "data/*.parquet"}],
            "default": True,
        }
    ]


def test_the_recipe_in_it_repeats_the_run():
    text = card(published(a_manifest(f"hf://datasets/kakaobrain/coyo-700m@{SHA}")))
    written = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    assert written == {
        "source": f"hf://datasets/kakaobrain/coyo-700m@{SHA}",
        "filter": [{"text_matches": "a|b"}, {"top": "30%", "by": "width"}],
    }


@pytest.mark.parametrize(
    ("made", "recipe", "manifest"),
    [
        (a_manifest(f"hf://datasets/a/b@{SHA}"), "", ""),
        (a_manifest(name=COYO_PART), "", " --source FOLDER"),
        (a_manifest(), " --source FOLDER", " --source FOLDER"),
    ],
)
def test_the_commands_in_it_name_the_source_where_they_do_not_know_it(made, recipe, manifest):
    text = card(published(made))
    assert f"`coyo run recipe.yaml{recipe} -o subset` does this to the whole source" in text
    assert f"`coyo run manifest.json{manifest} -o subset` does it again" in text


def test_what_no_recipe_holds_is_said():
    text = card(published(a_manifest(settings={"limit_files": 3, "columns": ["id"]})))
    assert "`limit_files` was 3" in text
    assert "`columns` was ['id']" in text


def test_the_body_has_funnel_columns_digest_and_whose_pictures_they_are():
    text = card(published(a_manifest(name=COYO_PART), drawn=("mine",)))
    assert r"| `text matches a\|b` | 10 | 12 | 1,234 |" in text
    assert "| `mine` | double |  |" in text
    assert "`sha256:00`" in text
    assert "![Histograms of mine](histograms.png)" in text
    assert "The pictures are not part of this dataset" in text
    assert "kakaobrain2022coyo-700m" in text


def test_a_card_of_unknown_rows_claims_nothing_of_coyo():
    text = card(published(a_manifest()))
    assert "Kakao" not in text
    assert "did not state the licence" in text
    assert "language" not in front_of(text)


def test_no_local_folder_is_told(tmp_path):
    words = f"{tmp_path}/lists/bad words.txt"
    rule = {"blocked_words": words, "sha256": "00"}
    found = public(
        a_manifest(
            f"{tmp_path}/coyo",
            settings={"rules": [rule]},
            result={"recipe": [rule], "funnel": [{**STEP, "rule": f"text lacks words of {words}"}]},
        )
    )
    assert str(tmp_path) not in str(found.to_json())
    assert found.result["source"] == "coyo"
    assert found.result["funnel"][0]["rule"] == "text lacks words of bad words.txt"
    assert found.settings["rules"] == [{"blocked_words": "bad words.txt", "sha256": "00"}]


@pytest.mark.parametrize("source", ["meta", "s3://bucket/coyo", "datasets:a/b[train]#1"])
def test_a_place_that_tells_nothing_of_this_machine_stays(source):
    assert public(a_manifest(source)).result["source"] == source
