"""`--top` and `--sample` on real files: ties, samples, continued runs; what they refuse."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import coyo_tools
from coyo_tools import FilterSettings
from coyo_tools.pieces.sampling import amount_of, hash_of
from coyo_tools.pieces.selections import Cut, Top, of_part
from coyo_tools.verbs import filter as verb
from coyo_tools.words.errors import RuleError, SchemaError, SettingsConflict
from tests.duck import share_of
from tests.metadata import INF, NAN, bytes_of, ids_in, metadata, rows_of, write_parts

pytestmark = pytest.mark.usefixtures("in_small_bites")


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


@pytest.mark.parametrize(
    "by", ["num_faces * 0", "COALESCE(1, num_faces)", "CASE WHEN id % 2 = 0 THEN 5 END"]
)
def test_where_all_are_tied_the_smallest_hashes_are_kept(tmp_path, by):
    write_parts(tmp_path / "m", [rows_of(*[{"num_faces": 2} for _ in range(90)])])
    coyo_tools.filter(tmp_path / "m", tmp_path / "s", top=40, by=by)
    tied = [2**41 + n for n in range(90) if not by.startswith("CASE") or n % 2 == 0]
    assert ids_in(tmp_path / "s") == sorted(sorted(tied, key=hash_of)[:40])


@pytest.mark.parametrize("per", ["source", "part"])
def test_an_interrupted_top_is_continued(source, tmp_path, monkeypatch, per):
    named = {"top": "30%", "by": "clip_similarity_vitl14", "per": per}
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
        coyo_tools.filter(source, tmp_path / "s", **named | {"top": "40%"})


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


SUM = "clip_similarity_vitb32 + clip_similarity_vitl14"


def top_of_each(source: Path, share: str, by: str) -> list[int]:
    """Ids of each part's best, by definition: larger value first, then smaller h(id, 0)."""
    kept = []
    for path in sorted(source.glob("*.parquet")):
        rows = pq.read_table(path, columns=["id", by]).to_pylist()
        valid = [r for r in rows if r[by] is not None and r[by] == r[by]]
        best = sorted(valid, key=lambda r: (-r[by], hash_of(r["id"])))[: share_of(share, len(rows))]
        kept += [r["id"] for r in rows if r in best]
    return kept


@pytest.mark.parametrize("by", ["watermark_score", "word_count"])
def test_a_top_of_each_part_looks_at_that_part_alone(source, tmp_path, by):
    result = coyo_tools.filter(source, tmp_path / "s", top="20%", by=by, per="part")
    assert ids_in(tmp_path / "s") == top_of_each(source, "20%", by)
    whole = coyo_tools.filter(source, tmp_path / "g", top="20%", by=by, per="source")
    assert ids_in(tmp_path / "g") != ids_in(tmp_path / "s")
    assert whole.funnel[0].rule == f"top 20% by {by}"
    assert result.funnel[0].rule == f"top 20% of each part by {by}"
    assert result.funnel[0].note.endswith(", part by part")
    (cut,) = json.loads((tmp_path / "s" / "manifest.json").read_text())["result"]["cuts"]
    assert cut["rule"] == result.funnel[0].rule
    assert [each["rows"] for each in cut["parts"]] == [100, 0, 60]
    for each in cut["parts"]:
        said = pq.read_metadata(tmp_path / "s" / each.pop("part")).metadata[b"coyo.filter"]
        assert json.loads(said)["cuts"] == [{"rule": cut["rule"], **each}]


def test_tops_of_parts_and_of_the_source_stand_among_other_rules(source, tmp_path):
    """A later top sees what the earlier ones left, whichever of them cut part by part."""
    first, of_each = {"max_faces": 2}, {"top": "40%", "by": "width", "per": "part"}
    last = {"top": 50, "by": "watermark_score"}
    coyo_tools.filter(source, tmp_path / "a", FilterSettings(rules=(first,)))
    coyo_tools.filter(tmp_path / "a", tmp_path / "b", FilterSettings(rules=(of_each,)))
    coyo_tools.filter(tmp_path / "b", tmp_path / "c", FilterSettings(rules=(last,)))
    coyo_tools.filter(source, tmp_path / "s", FilterSettings(rules=(first, of_each, last)))
    assert ids_in(tmp_path / "s") == ids_in(tmp_path / "c")
    coyo_tools.filter(source, tmp_path / "t", FilterSettings(rules=(first, last, of_each)))
    coyo_tools.filter(tmp_path / "a", tmp_path / "d", FilterSettings(rules=(last,)))
    coyo_tools.filter(tmp_path / "d", tmp_path / "e", FilterSettings(rules=(of_each,)))
    assert ids_in(tmp_path / "t") == ids_in(tmp_path / "e")


def test_a_part_keeps_its_bytes_whatever_the_other_parts_and_workers(source, tmp_path):
    named = {"top": "20%", "by": "clip_similarity_vitl14", "per": "part"}
    for workers in (1, 2, 4):
        coyo_tools.filter(source, tmp_path / str(workers), FilterSettings(workers=workers), **named)
    written = [bytes_of(tmp_path / str(workers)) for workers in (1, 2, 4)]
    assert written[0] == written[1] == written[2]
    coyo_tools.filter(source, tmp_path / "one", FilterSettings(limit_files=1), **named)
    alone, among = (tmp_path / name / "part-0.parquet" for name in ("one", "1"))
    assert alone.read_bytes() == among.read_bytes()


def test_a_part_that_a_top_was_not_taken_of_is_named():
    top = Top(amount_of("20%", "--top"), "width", "part", cuts={"a.parquet": Cut(1)})
    assert of_part(top, "a.parquet").cut == Cut(1)
    with pytest.raises(RuleError, match=r"by width: was taken of other parts than b\.parquet"):
        of_part(top, "b.parquet")


def test_vila_is_taken_of_each_part_or_of_the_source(source, tmp_path):
    of_each = coyo_tools.filter(source, tmp_path / "s", preset="vila-coyo")
    assert of_each.funnel[0].rule == f"top 20% of each part by {SUM}"
    whole = coyo_tools.filter(source, tmp_path / "g", preset="vila-coyo", per="source")
    assert whole.funnel[0].rule == f"top 20% by {SUM}"
    assert (of_each.funnel[0].left, whole.funnel[0].left) == (160, 160)
    again = coyo_tools.run(tmp_path / "s" / "manifest.json", tmp_path / "again")
    assert (again.differs, bytes_of(tmp_path / "again")) == (None, bytes_of(tmp_path / "s"))


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
        ({"top": "3", "by": "1 + 1"}, RuleError, "--by '1 + 1': gives no number of a row"),
        ({"top": "0%", "by": "width"}, RuleError, "--top: '0%' is no amount"),
        ({"sample": "x"}, RuleError, "--sample: 'x' is no amount"),
        ({"sample": "1%", "seed": -1}, RuleError, "--seed: -1 is no seed"),
        ({"by": "width"}, RuleError, "'by' goes with 'top'"),
        ({"per": "part"}, RuleError, "'per' goes with 'top', 'preset' or 'recipe'"),
        ({"top": 3, "by": "width", "per": "file"}, RuleError, "per is 'part' or 'source', not 'f"),
        ({"preset": "vila-coyo", "per": 5}, RuleError, "per is 'part' or 'source', not 5"),
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


def test_a_calculated_number_beyond_int64_is_named(tmp_path):
    write_parts(tmp_path / "m", [rows_of({}, {})])
    asked = {"top": 1, "by": "id * id"}
    with pytest.raises(RuleError, match="a calculated number does not fit int64; CAST a column"):
        coyo_tools.filter(tmp_path / "m", tmp_path / "s", **asked)
    asked["by"] = "CAST(id AS DOUBLE) * id"
    assert coyo_tools.filter(tmp_path / "m", tmp_path / "s", **asked).rows_out == 1


def test_float64_and_a_column_of_its_own(tmp_path):
    draw = np.random.default_rng(0).normal(size=500)
    table = rows_of(*[{}] * 500).append_column("mine", pa.array(draw))
    write_parts(tmp_path / "m", [table])
    coyo_tools.filter(tmp_path / "m", tmp_path / "s", top=20, by="mine")
    assert ids_in(tmp_path / "s") == sorted(2**41 + n for n in np.argsort(-draw)[:20].tolist())
