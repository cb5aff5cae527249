"""Rules on the text that need more than polars: languages and lists of words."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

import coyo_tools
from coyo_tools import FilterSettings
from coyo_tools.words.errors import RuleError, SettingsConflict, SourceNotFound
from tests.metadata import bytes_of, ids_in, rows_of, write_parts

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
