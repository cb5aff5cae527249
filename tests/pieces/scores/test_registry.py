"""The declarations: complete, consistent with COYO's schema, light, and the one list of columns."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pytest

from coyo_tools.pieces.scores import (
    NOT_RECOMPUTED,
    SCORES,
    markdown_table,
    meaning_of,
    scores_of,
)
from coyo_tools.pieces.scores.base import GREY, IMAGE, ROW, TEXT, Score, ScoreColumn
from coyo_tools.words.errors import MissingExtra, SettingsError
from coyo_tools.words.schema import COYO

BY_COLUMN = {c.name: score for score in SCORES for c in score.columns}
EVERY_SCORE = pytest.mark.parametrize("score", SCORES, ids=lambda score: score.name)


@EVERY_SCORE
def test_a_declaration_is_complete(score: Score) -> None:
    assert score.columns
    assert set(score.inputs) <= {IMAGE, GREY, TEXT, ROW}
    assert score.inputs
    assert score.model
    assert score.licence
    assert score.exact or score.note
    assert bool(score.packages) == (score.extra is not None)
    for row in score.as_json():
        assert all(row[name] for name in ("column", "dtype", "meaning"))


@EVERY_SCORE
def test_a_column_with_coyos_name_has_coyos_type(score: Score) -> None:
    for column in score.columns:
        if column.name in COYO:
            assert column.dtype == COYO[column.name].dtype


def test_no_column_is_declared_twice() -> None:
    names = [column.name for score in SCORES for column in score.columns]
    assert len(names) == len(set(names)) == len(BY_COLUMN)


def test_every_published_column_is_recomputed_or_says_why_not() -> None:
    assert set(COYO) <= set(BY_COLUMN) | set(NOT_RECOMPUTED)
    assert not set(BY_COLUMN) & set(NOT_RECOMPUTED)


def test_scores_come_once_and_in_the_registrys_order() -> None:
    found = scores_of(["word_count", "image_phash", "word_count"])
    assert [score.name for score in found] == ["image_phash", "word_count"]


def test_an_unknown_column_is_answered_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean 'num_tokens_bert'"):
        scores_of(["num_token_bert"])
    with pytest.raises(SettingsError, match="--list"):
        scores_of(["zzzzzz"])


@pytest.mark.parametrize("column", sorted(NOT_RECOMPUTED))
def test_a_published_column_that_cannot_be_had_says_why(column: str) -> None:
    with pytest.raises(SettingsError, match=f"{column} cannot be recomputed: "):
        scores_of([column])


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'coyo-tools\[score\]'"):
        scores_of(["clip_similarity_vitb32"])
    assert scores_of(["image_phash"])


def test_the_table_has_a_line_for_each_column() -> None:
    lines = markdown_table().splitlines()
    assert len(lines) == 2 + len(BY_COLUMN)
    assert all(line.count(" | ") == lines[0].count(" | ") for line in lines[2:])
    assert all(f"| `{name}` |" in markdown_table() for name in BY_COLUMN)


def test_declarations_load_nothing_heavy() -> None:
    code = (
        "import sys, coyo_tools.pieces.scores, coyo_tools.cli.score; "
        "heavy = {'torch', 'numpy', 'PIL', 'pyarrow', 'tokenizers', 'open_clip'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_list_of_values_is_a_column_too() -> None:
    assert ScoreColumn("boxes", "list<list<float32>>", "m").arrow_type() == pa.list_(
        pa.list_(pa.float32())
    )
    assert ScoreColumn("labels", "list<string>", "m").arrow_type() == pa.list_(pa.string())
    assert ScoreColumn("size", "int32", "m").arrow_type() == pa.int32()


def test_what_a_column_means_is_known_by_its_name() -> None:
    assert meaning_of("num_faces") == COYO["num_faces"].meaning
    assert meaning_of("nsfw_gantman_sexy") == "probability of the class sexy"
    assert "open_clip" in meaning_of("clip_similarity_vit_b_16_dfn2b")
    assert meaning_of("brightness") == ""
