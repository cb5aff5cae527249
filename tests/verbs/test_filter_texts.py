"""Rules on the text that need more than polars: languages, lists of words, HTML entities."""

from __future__ import annotations

import hashlib
import html
import json
from pathlib import Path

import pytest

import coyo_tools
from coyo_tools import FilterSettings
from coyo_tools.words.errors import RuleError, SettingsConflict, SourceNotFound
from tests.metadata import bytes_of, ids_in, parts_of, rows_of, write_parts
from tests.servers.folder import FolderServer

TEXTS = [
    "a small dog sitting on the green grass", "ein kleiner Hund sitzt auf der grünen Wiese",
    None, "une petite maison dans la prairie", "A BAD dog barking loudly at the neighbours",
    "a badge on the jacket of a policeman", "12 34 56",
]  # fmt: skip


@pytest.fixture
def source(tmp_path) -> Path:
    rows = [{"text": text} for text in TEXTS]
    write_parts(tmp_path / "metadata", [rows_of(*rows), rows_of(*rows[::-1])], row_group_size=3)
    return tmp_path / "metadata"


@pytest.fixture
def words(tmp_path) -> Path:
    path = tmp_path / "words.txt"
    path.write_text("# not these\nbad dog\nHUND\n")
    return path


def at(folder: Path) -> list[int]:
    return [number - 2**41 for number in ids_in(folder)]


def test_languages_and_words_have_their_lines_in_the_funnel(source, words, tmp_path):
    asked = [{"language": ["en", "de"]}, {"blocked_words": str(words)}]
    result = coyo_tools.filter(source, tmp_path / "s", FilterSettings(rules=tuple(asked)))
    assert at(tmp_path / "s") == [0, 5, 1, 6]
    assert [(s.rule, s.dropped, s.dropped_alone, s.null) for s in result.funnel] == [
        ("language is en or de", 6, 6, 2), (f"text lacks {words}", 4, 6, 2),
    ]  # fmt: skip
    manifest = json.loads((tmp_path / "s" / "manifest.json").read_text())
    digest = hashlib.sha256(words.read_bytes()).hexdigest()
    assert manifest["settings"]["rules"] == manifest["result"]["recipe"] == [
        {"language": ["en", "de"]}, {"blocked_words": str(words), "sha256": digest},
    ]  # fmt: skip
    assert manifest["versions"]["cld3-py"]


def test_the_same_bytes_on_any_number_of_workers(source, words, tmp_path):
    written = []
    for workers in (1, 2, 4):
        rules = ({"language": "en"}, {"blocked_words": str(words)})
        out = tmp_path / str(workers)
        coyo_tools.filter(source, out, FilterSettings(rules=rules, workers=workers))
        written.append(bytes_of(out))
    assert written[0] == written[1] == written[2]


def test_a_list_that_changed_is_another_setting(source, words, tmp_path):
    coyo_tools.filter(source, tmp_path / "s", blocked_words=str(words))
    before = hashlib.sha256(words.read_bytes()).hexdigest()
    words.write_text("hund\n")
    now = hashlib.sha256(words.read_bytes()).hexdigest()
    said = rf"rules\[0\].sha256 was \"{before}\", is \"{now}\""
    with pytest.raises(SettingsConflict, match=said):
        coyo_tools.filter(source, tmp_path / "s", blocked_words=str(words))


def test_a_run_is_repeated_only_with_the_list_it_had(source, words, tmp_path):
    coyo_tools.filter(source, tmp_path / "s", blocked_words=str(words))
    manifest = tmp_path / "s" / "manifest.json"
    assert coyo_tools.run(manifest, tmp_path / "again").differs is None
    assert at(tmp_path / "again") == at(tmp_path / "s")
    words.write_text("hund\n")
    with pytest.raises(RuleError, match=r"words.txt: is not the list that was asked for"):
        coyo_tools.run(manifest, tmp_path / "third")
    words.unlink()
    with pytest.raises(SourceNotFound, match=r"words.txt: no such file"):
        coyo_tools.run(manifest, tmp_path / "third")
    assert not (tmp_path / "third").exists()


ENTITIES = [
    "Salt &amp; Pepper", "a &lt;b&gt; tag of a page", "plain", "R&D", "twice &amp;amp;", None, "",
    "caf&eacute; &#128526; &#x1F60E", "&notanentity; &",
]  # fmt: skip


@pytest.fixture
def escaped(tmp_path) -> Path:
    rows = [rows_of(*[{"text": text} for text in ENTITIES]), rows_of({"text": "none"}), rows_of()]
    write_parts(tmp_path / "escaped", rows, row_group_size=4)
    return tmp_path / "escaped"


def test_texts_are_unescaped_and_everybody_is_told(escaped, tmp_path):
    result = coyo_tools.filter(escaped, tmp_path / "s", unescape_html=True)
    wanted = [text and html.unescape(text) for text in [*ENTITIES, "none"]]
    kept, before = parts_of(tmp_path / "s"), parts_of(escaped)
    assert kept["text"].to_pylist() == wanted
    assert kept.drop_columns(["text"]) == before.drop_columns(["text"])
    changed = sum(a != b for a, b in zip(wanted, [*ENTITIES, "none"], strict=True))
    (step,) = result.funnel
    assert (step.rule, step.changed, step.left, step.dropped_alone) == (
        "html unescaped", changed, 10, 0,
    )  # fmt: skip
    assert step.note == f"changes {changed} of the texts left"
    assert result.notes[0].startswith("text is html-unescaped; text_length, word_count")
    said = json.loads((tmp_path / "s" / "manifest.json").read_text())["result"]
    assert said["recipe"] == [{"unescape_html": True}]
    assert said["funnel"][0]["changed"] == changed
    again = coyo_tools.filter(escaped, tmp_path / "s", unescape_html=True)
    assert (again.complete_before, again.notes) == (True, result.notes)
    assert again.funnel == result.funnel


def test_rules_see_the_text_as_it_is_at_their_place(escaped, tmp_path):
    before, after = {"text_matches": "&amp;"}, {"text_excludes": "&amp;"}
    change, short = {"unescape_html": True}, {"where": "length(text) < 14"}
    for recipe, kept, changed in (
        ([before, change, after], [0], 2),
        ([change, before], [4], 5),
        ([before, short, change], [], 0),
        ([before, change, short], [0, 4], 2),
        ([change, change, before], [], 5),
        ([change, {"top": 1, "by": "length(text)"}], [1], 5),
        ([{"top": 1, "by": "length(text)"}, change], [7], 1),
        ([change, {"top": "50%", "by": "length(text)", "per": "part"}, short], [0, 4, 7, 8, 9], 5),
    ):
        out = tmp_path / "s"
        result = coyo_tools.filter(
            escaped, out, FilterSettings(rules=tuple(recipe)), overwrite=True
        )
        texts = [*ENTITIES, "none"]
        expected = [html.unescape(texts[at]) for at in kept]
        if recipe[:2] == [change, change]:
            expected = [html.unescape(text) for text in expected]
        assert parts_of(out)["text"].to_pylist() == expected, recipe
        assert next(s.changed for s in result.funnel if s.changed is not None) == changed, recipe


def test_remote_parts_give_the_same_rows_and_workers_the_same_bytes(escaped, tmp_path):
    rules = ({"unescape_html": True}, {"text_matches": "&|none"})
    for workers in (1, 3):
        asked = FilterSettings(rules=rules, workers=workers)
        coyo_tools.filter(escaped, tmp_path / str(workers), asked)
    assert bytes_of(tmp_path / "1") == bytes_of(tmp_path / "3")
    with FolderServer(escaped) as server:
        source = f"{server.base_url}/*.parquet"
        remote = coyo_tools.filter(source, tmp_path / "r", FilterSettings(rules=rules))
    assert parts_of(tmp_path / "r") == parts_of(tmp_path / "1")
    assert [step.changed for step in remote.funnel] == [5, None]
    assert parts_of(tmp_path / "r")["text"].to_pylist() == [
        "Salt & Pepper", "R&D", "twice &amp;", "&notanentity; &".replace("&not", "¬"), "none",
    ]  # fmt: skip


def test_an_interrupted_change_is_continued(escaped, tmp_path):
    coyo_tools.filter(escaped, tmp_path / "whole", unescape_html=True)
    coyo_tools.filter(escaped, tmp_path / "s", unescape_html=True)
    manifest = json.loads((tmp_path / "s" / "manifest.json").read_text()) | {"complete": False}
    (tmp_path / "s" / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "s" / "part-1.parquet").unlink()
    coyo_tools.filter(escaped, tmp_path / "s", unescape_html=True)
    assert bytes_of(tmp_path / "s") == bytes_of(tmp_path / "whole")


def test_a_plan_and_a_comparison_see_the_changed_text_too(escaped, tmp_path):
    (tmp_path / "r.yaml").write_text("filter: [{unescape_html: true}, {text_matches: '&amp;'}]\n")
    plan = coyo_tools.plan(escaped, recipe=str(tmp_path / "r.yaml"))
    assert [(each.step.left, each.step.changed) for each in plan.funnel] == [(10, 5), (1, None)]
    assert [each.unique_kills for each in plan.funnel] == [0, 9]
    (member,) = coyo_tools.compare_presets([str(tmp_path / "r.yaml")], escaped).overlap.members
    assert member.rows == 1
