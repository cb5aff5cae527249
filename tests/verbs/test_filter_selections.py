"""`--top` and `--sample` on real files: exact against duckdb, whatever the ties and the passes."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from fractions import Fraction
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import coyo_tools
from coyo_tools import FilterSettings
from coyo_tools.pieces import quantiles
from coyo_tools.pieces.bites import bites
from coyo_tools.pieces.sampling import hash_of
from coyo_tools.stages import filter as filter_stage
from coyo_tools.stages import select as select_stage
from coyo_tools.verbs import filter as verb
from coyo_tools.words.errors import RuleError, SchemaError, SettingsConflict
from tests.metadata import INF, NAN, ids_in, metadata, rows_of, write_parts
from tests.verbs.test_filter import bytes_of, nasty

ROWS = 801
SUM = "clip_similarity_vitb32 + clip_similarity_vitl14"
COLUMNS = ("clip_similarity_vitl14", "watermark_score", "aesthetic_score_laion_v2", "num_faces",
           "width", "id", SUM)  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def small_bites():
    with pytest.MonkeyPatch.context() as patch:
        for stage in (filter_stage, select_stage):
            patch.setattr(stage, "bites", lambda part: bites(part, 150))
        yield


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nasty") / "metadata"
    write_parts(folder, [nasty(500, 1), nasty(1, 2), nasty(300, 3)], row_group_size=64)
    return folder


@pytest.fixture(scope="module")
def duck(source):
    connection = duckdb.connect()
    connection.execute(
        f"CREATE TABLE rows AS SELECT *, row_number() OVER () AS row FROM '{source}/*.parquet'"
    )
    connection.execute("ALTER TABLE rows ADD COLUMN h0 UBIGINT")
    connection.execute("ALTER TABLE rows ADD COLUMN h7 UBIGINT")
    for (number,) in connection.execute("SELECT id FROM rows").fetchall():
        connection.execute(
            "UPDATE rows SET h0 = ?, h7 = ? WHERE id = ?",
            [hash_of(number, 0), hash_of(number, 7), number],
        )
    for name in ("clip_similarity_vitb32", "clip_similarity_vitl14", "watermark_score",
                 "aesthetic_score_laion_v2"):  # fmt: skip
        connection.execute(f"UPDATE rows SET {name} = NULL WHERE isnan({name})")
        connection.execute(f"UPDATE rows SET {name} = 0 WHERE {name} = 0")
    yield connection
    connection.close()


def share_of(amount: str | int, rows: int) -> int:
    if isinstance(amount, int):
        return min(amount, rows)
    return math.floor(Fraction(amount[:-1]) / 100 * rows + Fraction(1, 2))


def kept_by_duckdb(duck: Any, recipe: list[dict[str, Any]]) -> list[list[int]]:
    """Ids left after each rule, in order."""
    left = [n for (n,) in duck.execute("SELECT id FROM rows ORDER BY row").fetchall()]
    steps = []
    for rule in recipe:
        duck.register("before", pa.table({"id": pa.array(left, pa.int64())}))
        among = "SELECT id FROM rows JOIN before USING (id)"
        match rule:
            case {"where": sql}:
                query = f"{among} WHERE {sql}"
            case {"top": amount, "by": by}:
                value = "isnan" if "+" in by else ""
                valid = f"({by}) IS NOT NULL" + (f" AND NOT {value}({by})" if value else "")
                rows = share_of(amount, len(left))
                query = f"{among} WHERE {valid} ORDER BY {by} DESC, h0 LIMIT {rows}"
            case {"sample": int(amount)}:
                query = f"{among} ORDER BY h7 LIMIT {amount}"
            case {"sample": amount}:
                bound = math.ceil(Fraction(amount[:-1]) / 100 * 2**64)
                query = f"{among} WHERE h7::HUGEINT < {bound}::HUGEINT"
        kept = {n for (n,) in duck.execute(query).fetchall()}
        left = [n for n in left if n in kept]
        steps.append(left)
    return steps


amounts = st.sampled_from([1, 3, 100, 400, 5000, "0.01%", "1%", "10%", "33.3%", "50%", "100%"])
rules = (
    st.builds(lambda a, b: {"top": a, "by": b}, amounts, st.sampled_from(COLUMNS))
    | st.builds(lambda a: {"sample": a, "seed": 7}, amounts)
    | st.sampled_from([{"where": "width > 400"}, {"where": "num_faces = 0"}])
)


@settings(max_examples=60, deadline=None)
@given(
    recipe=st.lists(rules, min_size=1, max_size=4),
    workers=st.sampled_from([1, 3]),
    held=st.sampled_from([0, 20, 10**6]),
)
def test_random_recipes_agree_with_duckdb(source, duck, tmp_path_factory, recipe, workers, held):
    out = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantiles, "HELD_AT_MOST", held)
        asked = FilterSettings(rules=tuple(recipe), workers=workers)
        result = coyo_tools.filter(source, out / "s", asked)
    wanted = kept_by_duckdb(duck, recipe)
    assert ids_in(out / "s") == wanted[-1]
    assert [step.left for step in result.funnel] == [len(ids) for ids in wanted]
    steps = [result.rows_in, *[step.left for step in result.funnel]]
    assert [step.dropped for step in result.funnel] == [
        before - after for before, after in itertools.pairwise(steps)
    ]
    shutil.rmtree(out)


@pytest.mark.parametrize("share", ["1%", "10%", "70%"])
def test_a_sample_is_what_its_definition_says_and_nested(source, tmp_path, share):
    coyo_tools.filter(source, tmp_path / "s", sample=share, seed=3)
    every = pa.concat_tables([pq.read_table(p) for p in sorted(source.glob("*.parquet"))])
    bound = Fraction(share[:-1]) / 100 * 2**64
    wanted = [n for n in every["id"].to_pylist() if hash_of(n, 3) < bound]
    assert ids_in(tmp_path / "s") == wanted
    less = coyo_tools.filter(source, tmp_path / "less", sample=len(wanted) // 2, seed=3)
    assert set(ids_in(tmp_path / "less")) <= set(wanted)
    assert less.rows_out == len(wanted) // 2


def test_ties_go_by_the_smaller_hash(tmp_path):
    write_parts(tmp_path / "m", [rows_of(*[{"num_faces": n % 3} for n in range(90)])])
    result = coyo_tools.filter(tmp_path / "m", tmp_path / "s", top=40, by="num_faces")
    twos = [2**41 + n for n in range(90) if n % 3 == 2]
    ones = sorted((2**41 + n for n in range(90) if n % 3 == 1), key=hash_of)[:10]
    assert ids_in(tmp_path / "s") == sorted(twos + ones)
    assert result.funnel[0].note == "from 1, 10 of 30 ties"
    manifest = json.loads((tmp_path / "s" / "manifest.json").read_text())
    (cut,) = manifest["result"]["cuts"]
    assert cut == {"rule": "top 40 by num_faces", "rows": 40, "value": 1, "ties": 30,
                   "ties_kept": 10, "hash": hash_of(ones[-1])}  # fmt: skip


def test_the_same_bytes_on_any_number_of_workers_and_layouts(source, tmp_path):
    written = []
    recipe = ({"top": "50%", "by": "watermark_score"}, {"max_faces": 2}, {"sample": 100, "seed": 1})
    for workers in (1, 2, 4):
        asked = FilterSettings(rules=recipe, workers=workers)
        coyo_tools.filter(source, tmp_path / str(workers), asked)
        written.append(bytes_of(tmp_path / str(workers)))
    assert written[0] == written[1] == written[2]


def test_an_interrupted_top_is_continued(source, tmp_path, monkeypatch):
    named = {"top": "30%", "by": "clip_similarity_vitl14"}
    coyo_tools.filter(source, tmp_path / "whole", **named)
    real = verb.filter_part

    def falters(part, *rest, **more):
        if part.part.name == "part-1.parquet":
            raise KeyboardInterrupt
        return real(part, *rest, **more)

    monkeypatch.setattr(verb, "filter_part", falters)
    with pytest.raises(KeyboardInterrupt):
        coyo_tools.filter(source, tmp_path / "s", FilterSettings(workers=1), **named)
    monkeypatch.setattr(verb, "filter_part", real)
    coyo_tools.filter(source, tmp_path / "s", **named)
    assert bytes_of(tmp_path / "s") == bytes_of(tmp_path / "whole")
    assert coyo_tools.filter(source, tmp_path / "s", **named).complete_before
    with pytest.raises(SettingsConflict, match="rules was"):
        coyo_tools.filter(source, tmp_path / "s", top="40%", by="clip_similarity_vitl14")


def test_a_part_cut_elsewhere_is_not_taken_for_this_ones(tmp_path):
    """One part is the same in both sources, but where the top cuts depends on the other."""
    for name, seed in (("a", 1), ("b", 2)):
        write_parts(tmp_path / name, [metadata(400, 0), metadata(400, seed)])
    named = {"top": "30%", "by": "watermark_score"}
    coyo_tools.filter(tmp_path / "a", tmp_path / "sa", **named)
    coyo_tools.filter(tmp_path / "b", tmp_path / "sb", **named)
    before = bytes_of(tmp_path / "sa")
    shutil.copy(tmp_path / "sb" / "part-0.parquet", tmp_path / "sa" / "part-0.parquet")
    manifest = json.loads((tmp_path / "sa" / "manifest.json").read_text()) | {"complete": False}
    (tmp_path / "sa" / "manifest.json").write_text(json.dumps(manifest))
    coyo_tools.filter(tmp_path / "a", tmp_path / "sa", **named)
    assert bytes_of(tmp_path / "sa") == before


def test_null_nan_and_infinities(tmp_path):
    scores = [INF, -INF, -0.0, 0.0, NAN, None, 0.5]
    write_parts(tmp_path / "m", [rows_of(*[{"watermark_score": s} for s in scores])])
    for rows, kept in ((1, [0]), (2, [0, 6]), (4, [0, 2, 3, 6]), (7, [0, 1, 2, 3, 6])):
        out = tmp_path / str(rows)
        result = coyo_tools.filter(tmp_path / "m", out, top=rows, by="watermark_score")
        assert [n - 2**41 for n in ids_in(out)] == kept
        assert result.funnel[0].null == 2
    three = coyo_tools.filter(tmp_path / "m", tmp_path / "3", top=3, by="watermark_score")
    assert three.rows_out == 3
    zero = min((2, 3), key=lambda n: hash_of(2**41 + n))
    assert [n - 2**41 for n in ids_in(tmp_path / "3")] == sorted([0, 6, zero])


def test_a_share_counts_the_rows_without_a_value_too(tmp_path):
    scores = [0.1, 0.2, 0.3, 0.4, None, None, None, NAN]
    write_parts(tmp_path / "m", [rows_of(*[{"watermark_score": s} for s in scores])])
    assert coyo_tools.filter(tmp_path / "m", tmp_path / "a", top="25%", by="watermark_score"
                             ).rows_out == 2  # fmt: skip
    assert coyo_tools.filter(tmp_path / "m", tmp_path / "b", top="75%", by="watermark_score"
                             ).rows_out == 4  # fmt: skip


def test_an_empty_source_and_a_share_of_nothing(tmp_path):
    write_parts(tmp_path / "m", [rows_of()])
    result = coyo_tools.filter(tmp_path / "m", tmp_path / "s", top="50%", by="width")
    assert (result.rows_out, result.funnel[0].left) == (0, 0)
    write_parts(tmp_path / "one", [rows_of({})])
    assert coyo_tools.filter(tmp_path / "one", tmp_path / "t", top="10%", by="width").rows_out == 0


def test_ids_that_repeat_are_kept_or_dropped_together(tmp_path):
    row = {"id": 5, "num_faces": 1}
    write_parts(tmp_path / "m", [rows_of(row, row, {"id": 6, "num_faces": 1})])
    result = coyo_tools.filter(tmp_path / "m", tmp_path / "s", top=2, by="num_faces")
    assert sorted(ids_in(tmp_path / "s")) in ([5, 5, 6], [5, 5])
    assert result.funnel[0].left == result.rows_out


@pytest.mark.parametrize(
    ("named", "error", "said"),
    [
        ({"top": "30%"}, RuleError, "--top: names no column to order by; add --by COLUMN"),
        ({"top": "3", "by": "watermark"}, SchemaError, "did you mean 'watermark_score'?"),
        ({"top": "3", "by": "text"}, SchemaError, "column 'text' is no number to order by"),
        ({"top": "3", "by": "width >"}, RuleError, "--by 'width >': has a syntax error"),
        ({"top": "3", "by": "width > 3"}, RuleError, "--by 'width > 3': gives no number"),
        ({"top": "0%", "by": "width"}, RuleError, "--top: '0%' is no amount"),
        ({"sample": "x"}, RuleError, "--sample: 'x' is no amount"),
        ({"sample": "1%", "seed": -1}, RuleError, "--seed: -1 is no seed"),
        ({"by": "width"}, RuleError, "'by' goes with 'top'"),
        ({"preset": "safer"}, RuleError, "did you mean 'safe'?"),
    ],
)
def test_wrong_selections_are_told_before_anything_is_written(source, tmp_path, named, error, said):
    with pytest.raises(error) as caught:
        coyo_tools.filter(source, tmp_path / "s", **named)
    assert said in str(caught.value)
    assert not (tmp_path / "s").exists()


def test_a_source_without_ids_is_named(tmp_path):
    write_parts(tmp_path / "m", [rows_of({}).drop_columns(["id"])])
    for named in ({"top": 1, "by": "width"}, {"sample": "1%"}):
        with pytest.raises(SchemaError, match="no column 'id' of integers"):
            coyo_tools.filter(tmp_path / "m", tmp_path / "s", **named)


def test_ties_without_an_id_are_named(tmp_path):
    write_parts(tmp_path / "m", [rows_of({"id": None}, {}, {})])
    with pytest.raises(SchemaError, match="1 rows tied at 640 have no id"):
        coyo_tools.filter(tmp_path / "m", tmp_path / "s", top=2, by="width")
    assert not (tmp_path / "s").exists()
    sampled = coyo_tools.filter(tmp_path / "m", tmp_path / "t", sample=3)
    assert (sampled.rows_out, sampled.funnel[0].null) == (2, 1)


def test_float64_and_a_column_of_its_own(tmp_path):
    draw = np.random.default_rng(0).normal(size=500)
    table = rows_of(*[{}] * 500).append_column("mine", pa.array(draw))
    write_parts(tmp_path / "m", [table])
    coyo_tools.filter(tmp_path / "m", tmp_path / "s", top=20, by="mine")
    assert ids_in(tmp_path / "s") == sorted(2**41 + n for n in np.argsort(-draw)[:20].tolist())
