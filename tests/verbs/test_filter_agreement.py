"""`filter` against duckdb on random recipes: every kept cell and every number of the funnel.

Each recipe is run over the same rows in few large row groups, in many small ones, and over HTTP.
Where the environment says CI, hypothesis draws the same recipes every time.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import coyo_tools
from coyo_tools import FilterSettings, PlanSettings
from coyo_tools.pieces import quantiles
from coyo_tools.words.schema import COYO
from tests.conditions import Sql, conditions, odd_columns
from tests.duck import BOUNDS, SEEDS, Wanted, duck_of, unlike
from tests.metadata import cut, nasty, parts_of, small_bites, write_parts
from tests.servers.folder import FolderServer

ROWS = 2000
SUM = "clip_similarity_vitb32 + clip_similarity_vitl14"


@pytest.fixture(scope="module")
def rows():
    odd = odd_columns(ROWS)
    table = nasty(ROWS, 1)
    for name in odd.column_names:
        if name != "id":  # nasty() has them, each once
            table = table.append_column(name, odd[name])
    return table


@pytest.fixture(scope="module")
def layouts(rows, tmp_path_factory):
    """The same rows, three times: in bites, as one bite a part, and fetched."""
    folder = tmp_path_factory.mktemp("layouts")
    write_parts(folder / "large", cut(rows, 1200), row_group_size=1000)
    write_parts(folder / "small", cut(rows, 700, 0, 1), row_group_size=100)
    with FolderServer(folder) as server, small_bites(400, one_of=100):
        yield [folder / "large", folder / "small", f"{server.base_url}/large/*.parquet"]


@pytest.fixture(scope="module")
def duck(rows):
    with duck_of(rows) as connected:
        yield connected


PATTERNS = ["dog|cat", "^photo", "東", "^$", "e\u0301", "é", "^.{8}$", r"\x00", "🙂", "(?s)g.a",
            "(?i)DOG", "[א-ת]", "100%$", "a|b|c"]  # fmt: skip
numbers = st.sampled_from([0, 0.25, 0.3, -0.1, 0.5, 1, 2, 5, 10, 60, 300, 0.1, 1e-3, -0.0, 1e-45,
                           -1, 2**31, 1e39, 0.30000001192092896])  # fmt: skip
sides = st.sampled_from([0, 1, 200, 256.5, 400, 900, 2**31 - 1])
amounts = st.sampled_from([1, 3, 100, 400, 5000, "0.01%", "1%", "10%", "33.3%", "50%", "100%"])
columns = st.sampled_from(
    [*{name for name, _ in BOUNDS.values()}, "width", "id", "f", "d", "n", SUM]
)


def rule(names: Any, values: Any) -> Any:
    return st.tuples(names, values).map(lambda named: {named[0]: named[1]})


rules = (
    rule(st.sampled_from([*BOUNDS, "max_nsfw"]), numbers)
    | rule(st.sampled_from(["min_side", "max_side"]), sides)
    | rule(st.just("max_aspect_ratio"), st.sampled_from([0, 1, 1.5, 3]))
    | rule(st.sampled_from(["text_matches", "text_excludes"]), st.sampled_from(PATTERNS))
    | rule(st.just("where"), conditions)
    | st.builds(lambda a, b: {"top": a, "by": b}, amounts, columns)
    | st.builds(lambda a, s: {"sample": a, "seed": s}, amounts, st.sampled_from(SEEDS))
)


def ours(one: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"where": one["where"].ours} if "where" in one else one


def agree(
    layout: Any, out: Path, asked: FilterSettings, wanted: list[Wanted], kept: pa.Table
) -> Any:
    """Run it, compare it to the last cell and figure; the result."""
    result = coyo_tools.filter(layout, out, asked)
    assert unlike(parts_of(out), kept) == "", layout
    funnel = [(s.dropped, s.dropped_alone, s.null, s.left) for s in result.funnel]
    expected = [(s.dropped, s.dropped_alone, s.null, len(s.rows)) for s in wanted]
    if any("unread" in step.note for step in result.funnel):
        assert asked.statistics
        # Its rows are not judged by the other rules, which a plan asks.
        for (_, alone, null, left), (_, *most, least) in zip(funnel, expected, strict=True):
            assert [max(alone, most[0]), max(null, most[1])] == most
            assert left >= least
        assert (result.rows_in, funnel[-1][3]) == (ROWS, expected[-1][3]), layout
        found = coyo_tools.plan(layout, asked, PlanSettings(uniques=False, disk=False))
        steps = [each.step for each in found.funnel]
        funnel = [(s.dropped, s.dropped_alone, s.null, s.left) for s in steps]
        if len(funnel) == 1:  # whose nulls were not read
            funnel = [(*funnel[0][:2], expected[0][2], funnel[0][3])]
    assert (result.rows_in, funnel) == (ROWS, expected), layout
    return result


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(
    recipe=st.lists(rules, max_size=5),
    workers=st.sampled_from([1, 4]),
    held=st.sampled_from([10**6, 20, 0]),
    statistics=st.booleans(),
)
def test_random_recipes_agree_with_duckdb(
    layouts, rows, duck, tmp_path_factory, recipe, workers, held, statistics
):
    wanted = duck.funnel(recipe)
    kept = rows.take(pa.array(wanted[-1].rows if recipe else range(ROWS), pa.int64()))
    asked = FilterSettings(
        rules=tuple(ours(one) for one in recipe), workers=workers, statistics=statistics
    )
    out: Path = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantiles, "HELD_AT_MOST", held)  # how many passes a top takes
        results = [
            agree(layout, out / f"{number}", asked, wanted, kept)
            for number, layout in enumerate(layouts)
        ]
    assert len({result.digest for result in results}) == 1
    shutil.rmtree(out)


@pytest.fixture(scope="module")
def wide(rows, tmp_path_factory):
    """COYO's columns as int64 and float64, as copies that went through JSON or pandas have them."""
    wider = {"int32": pa.int64(), "float": pa.float64()}
    fields = [
        pa.field(f.name, wider.get(str(f.type), f.type) if f.name in COYO else f.type)
        for f in rows.schema
    ]
    folder = tmp_path_factory.mktemp("wide")
    write_parts(folder, cut(rows.cast(pa.schema(fields)), 1200), row_group_size=300)
    with small_bites(400):
        yield folder


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(recipe=st.lists(rules, max_size=4))
def test_copies_in_wider_types_give_the_same(wide, rows, duck, tmp_path_factory, recipe):
    wanted = duck.funnel(recipe)
    kept = rows.take(pa.array(wanted[-1].rows if recipe else range(ROWS), pa.int64()))
    out: Path = tmp_path_factory.mktemp("out")
    asked = FilterSettings(rules=tuple(ours(one) for one in recipe))
    agree(wide, out / "s", asked, wanted, kept)
    shutil.rmtree(out)


def retyped(rows: pa.Table, found: str, wanted: pa.DataType) -> pa.Table:
    arrays = [
        column if str(column.type) != found
        else column.dictionary_encode() if pa.types.is_dictionary(wanted)
        else column.cast(wanted)
        for column in rows.columns
    ]  # fmt: skip
    return pa.table(arrays, names=rows.column_names)


def named(rows: pa.Table, found: str) -> list[str]:
    return [f.name for f in rows.schema if str(f.type) == found]


WRITTEN = {
    "pages of version 2": {"data_page_version": "2.0"},
    "format 1.0": {"version": "1.0"},
    "no statistics": {"write_statistics": False},
    "page index": {"write_page_index": True},
    "checksums": {"write_page_checksum": True},
    "pages of a few values": {"data_page_size": 64},
    "no arrow schema": {"store_schema": False},
    "no dictionaries": {"use_dictionary": False},
    **{codec: {"compression": codec} for codec in ("gzip", "brotli", "lz4", "zstd", "none")},
}
OF_TYPE = {
    "large text": ("string", pa.large_string()),
    "views of text": ("string", pa.string_view()),
    "categories": ("string", pa.dictionary(pa.int32(), pa.string())),
    "categories of integers": ("int32", pa.dictionary(pa.int32(), pa.int32())),
}


@pytest.mark.parametrize("how", [*WRITTEN, *OF_TYPE, "delta and split encodings"])
def test_however_a_file_is_written_its_rows_are_the_same(rows, duck, tmp_path, how):
    options = {"row_group_size": 300, **WRITTEN.get(how, {})}
    if how == "delta and split encodings":
        encodings = {"int32": "DELTA_BINARY_PACKED", "int64": "DELTA_BINARY_PACKED",
                     "float": "BYTE_STREAM_SPLIT", "string": "DELTA_BYTE_ARRAY"}  # fmt: skip
        by_name = {n: e for kind, e in encodings.items() for n in named(rows, kind)}
        options |= {"use_dictionary": False, "column_encoding": by_name}
    whole = retyped(rows, *OF_TYPE[how]) if how in OF_TYPE else rows
    write_parts(tmp_path / "m", cut(whole, 1200), **options)
    text = "t LIKE '%a%' OR length(u) > 1"
    recipe = [
        {"max_watermark": 0.3}, {"min_side": 1}, {"text_excludes": "dog"}, {"max_faces": 5},
        {"where": Sql("bool", text, text)}, {"top": "60%", "by": "word_count"},
    ]  # fmt: skip
    wanted = duck.funnel(recipe)
    kept = rows.take(pa.array(wanted[-1].rows))
    asked = FilterSettings(rules=tuple(ours(rule) for rule in recipe))
    agree(tmp_path / "m", tmp_path / "s", asked, wanted, kept)
