"""Rules as declared: names, labels, values that are refused, the docs' table."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from coyo_tools.pieces import rules
from coyo_tools.pieces.funnel import Counts, counted, counting, funnel
from coyo_tools.pieces.rule_docs import rules_table
from coyo_tools.words.errors import RuleError
from coyo_tools.words.schema import COYO

CONTRACT = [
    "--min-clip-b32",
    "--max-clip-b32",
    "--min-clip-l14",
    "--max-clip-l14",
    "--max-nsfw",
    "--max-nsfw-opennsfw2",
    "--max-nsfw-gantman",
    "--min-watermark",
    "--max-watermark",
    "--min-aesthetic",
    "--max-aesthetic",
    "--min-faces",
    "--max-faces",
    "--min-side",
    "--max-side",
    "--max-aspect-ratio",
    "--min-words",
    "--max-words",
    "--min-chars",
    "--max-chars",
    "--text-matches",
    "--text-excludes",
    "--language",
    "--blocked-words",
    "--unescape-html",
    "--where",
]

# How `coyo_tools.pieces.bites.polars_types` gives COYO's schema.
TYPES = {
    "int64": pl.Int64(), "int32": pl.Int32(), "float32": pl.Float32(), "string": pl.String()
}  # fmt: skip
SCHEMA = {name: TYPES[column.dtype] for name, column in COYO.items()}


def test_every_rule_of_the_contract_is_there():
    assert [kind.flag for kind in rules.RULE_KINDS] == CONTRACT
    assert all(name in COYO for kind in rules.RULE_KINDS for name in kind.columns)
    assert all(kind.help.endswith(".") for kind in rules.RULE_KINDS)


def test_the_table_of_the_docs_has_every_rule():
    table = rules_table()
    assert len(table.splitlines()) == 2 + len(rules.RULE_KINDS)
    for kind in rules.RULE_KINDS:
        assert f"| `{kind.written}` | `{kind.name}` |" in table


@pytest.mark.parametrize(
    ("name", "value", "label"),
    [
        ("min_clip_l14", 0.25, "clip_similarity_vitl14 >= 0.25"),
        ("max_nsfw", 0.5, "nsfw_score_* <= 0.5"),
        ("min_side", 256.0, "min(width, height) >= 256"),
        ("max_side", np.int64(4096), "max(width, height) <= 4096"),
        ("max_aspect_ratio", 2, "aspect ratio <= 2"),
        ("text_matches", r"\bdog", r"text matches \bdog"),
        ("language", ["en", "de"], "language is en or de"),
        ("where", "num_faces = 0", "num_faces = 0"),
    ],
)
def test_labels(name, value, label):
    assert rules.rule_of(name, value).label == label


def test_a_recipe_keeps_its_order_and_lists_spread():
    recipe = [{"where": ["width > 1", "height > 1"]}, {"max_faces": 3}, {"text_excludes": "x"}]
    found = rules.rules_of(recipe)
    assert [rule.as_recipe() for rule in found] == [
        {"where": "width > 1"}, {"where": "height > 1"}, {"max_faces": 3}, {"text_excludes": "x"},
    ]  # fmt: skip
    assert rules.rules_of([rule.as_recipe() for rule in found]) == found


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"min_clip_l41": 1}, "no rule is called 'min_clip_l41'; did you mean 'min_clip_l14'?"),
        ({"zzz": 1}, "no rule is called 'zzz'; there are min_clip_b32,"),
        ({"max_faces": float("nan")}, "nan is no bound"),
        ({"max_faces": -float("inf")}, "-inf is no bound"),
        ({"max_faces": None}, "takes a number, not None"),
        ({"max_faces": [1, 2]}, "takes a number, not [1, 2]"),
        ({"max_faces": 1, "min_faces": 0}, "one name and its value"),
        ("max_faces", "one name and its value"),
        ({"text_matches": 5}, "takes text, not 5"),
        ({"text_matches": "(?=a)b"}, "is no regular expression"),
        ({"where": ""}, "is empty"),
        ({"unescape_html": False}, "--unescape-html: takes true, not False"),
        ({"unescape_html": 1}, "--unescape-html: takes true, not 1"),
    ],
)
def test_wrong_recipes_are_one_sentence(recipe, said):
    with pytest.raises(RuleError) as caught:
        rules.rules_of([recipe])
    assert said in str(caught.value)


def passing(frame: pl.DataFrame, name: str, value: object) -> list[bool | None]:
    tests, _ = rules.rule_of(name, value).tests({**SCHEMA, **frame.schema}, "here")
    return frame.select(tests.passes.alias("r"))["r"].to_list()


def test_a_bound_is_a_float32_where_the_column_is_one():
    scores = pl.DataFrame({"watermark_score": pl.Series([0.3], dtype=pl.Float32)})
    assert passing(scores, "max_watermark", 0.3) == [True]
    assert passing(scores, "min_watermark", 0.3) == [True]
    assert passing(scores, "min_watermark", 0.30000001) == [True]  # the same float32
    assert passing(scores, "min_watermark", 0.3000001) == [False]


def test_a_fraction_bounds_an_integer_column_exactly():
    faces = pl.DataFrame({"num_faces": pl.Series([0, 1, 2], dtype=pl.Int32)})
    assert passing(faces, "max_faces", 1.5) == [True, True, False]
    assert passing(faces, "min_faces", 0.5) == [False, True, True]
    assert passing(faces, "max_faces", 1e30) == [True, True, True]
    assert passing(faces, "min_faces", -1e300) == [True, True, True]


def test_sides_and_ratio_need_both_numbers():
    sides = pl.DataFrame({"width": [300, 900, None, 0], "height": [900, 300, 500, 0]},
                         schema={"width": pl.Int32, "height": pl.Int32})  # fmt: skip
    assert passing(sides, "min_side", 300) == [True, True, None, False]
    assert passing(sides, "max_side", 899) == [False, False, None, True]
    assert passing(sides, "max_aspect_ratio", 3) == [True, True, None, False]
    assert passing(sides, "max_aspect_ratio", 2.999) == [False, False, None, False]


def test_what_coyo_cut_already():
    cut = {"max_nsfw": 0.5, "max_nsfw_gantman": 0.7, "min_side": 200, "max_aspect_ratio": 3,
           "min_chars": 6, "max_chars": 1000, "min_words": 3, "language": ["de", "en"]}  # fmt: skip
    not_cut = {"max_nsfw": 0.49, "min_side": 201, "max_aspect_ratio": 2.9, "max_side": 200,
               "min_faces": 0, "where": "width >= 200", "language": "de"}  # fmt: skip
    assert all(rules.is_cut_upstream(rules.rule_of(n, v)) for n, v in cut.items())
    assert not any(rules.is_cut_upstream(rules.rule_of(n, v)) for n, v in not_cut.items())


def test_counts_add_up_part_by_part():
    frame = pl.DataFrame({"num_faces": [0, 1, None, 5], "width": [1, 900, 900, 900],
                          "height": [900] * 4})  # fmt: skip
    asked = rules.rules_of([{"max_faces": 1}, {"min_side": 500}])
    tests = [rule.tests(frame.schema, "here")[0] for rule in asked]
    halves = [
        counted(2, half.select(counting(tests)).row(0, named=True), 2)
        for half in (frame.slice(0, 2), frame.slice(2, 2))
    ]
    whole = counted(4, frame.select(counting(tests)).row(0, named=True), 2)
    assert sum(halves, Counts.none(2)) == whole == Counts(4, (2, 1), (2, 3), (1, 0))
    assert Counts.from_json(whole.to_json()) == whole
    assert whole.kept == 1
    assert [(s.dropped, s.dropped_alone, s.null, s.left) for s in funnel(asked, whole)] == [
        (2, 2, 1, 2), (1, 1, 0, 1),
    ]  # fmt: skip


def test_no_rows_and_no_rules():
    frame = pl.DataFrame(schema={"num_faces": pl.Int32})
    tests = [rules.rule_of("max_faces", 1).tests(frame.schema, "here")[0]]
    assert counted(0, frame.select(counting(tests)).row(0, named=True), 1) == Counts.none(1)
    assert Counts(7).kept == 7
    assert funnel((), Counts(7)) == ()


def test_only_coyos_own_rows_are_said_to_be_cut():
    asked = rules.rules_of([{"min_side": 200}])
    everything = Counts(5, (5,), (5,), (0,))
    assert funnel(asked, everything)[0].note == "drops nothing: COYO was cut there already"
    assert funnel(asked, everything, schema="laion")[0].note == "drops nothing"
