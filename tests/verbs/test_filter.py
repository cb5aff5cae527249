"""The verb `filter` on real files, again after every kind of interruption."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import coyo_tools
from coyo_tools import FilterSettings
from coyo_tools.pieces import written
from coyo_tools.verbs import filter as verb
from coyo_tools.words.errors import (
    CorruptFile,
    RuleError,
    SchemaError,
    SettingsConflict,
    SettingsError,
    SourceNotFound,
)
from tests.metadata import (
    INF,
    NAN,
    bytes_of,
    ids_in,
    metadata,
    parts_of,
    rows_of,
    write_parts,
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("in_small_bites")


def test_the_rows_are_untouched_and_in_order(source, tmp_path):
    coyo_tools.filter(source, tmp_path / "all")
    for name in ("part-0.parquet", "part-1.parquet", "part-2.parquet"):
        before, after = pq.read_table(source / name), pq.read_table(tmp_path / "all" / name)
        assert after.schema.equals(before.schema)
        for column in before.column_names:
            assert repr(after[column].to_pylist()) == repr(before[column].to_pylist())  # NaN too


def test_the_digest_is_over_the_sorted_ids(source, tmp_path):
    result = coyo_tools.filter(source, tmp_path / "s", min_clip_l14=0.25)
    ids = sorted(ids_in(tmp_path / "s"))
    packed = b"".join(struct.pack("<q", number) for number in ids)
    assert result.digest == "sha256:" + hashlib.sha256(packed).hexdigest()
    without = coyo_tools.filter(
        source, tmp_path / "t", FilterSettings(columns=("url", "width")), min_clip_l14=0.25
    )
    assert without.digest == result.digest
    assert pq.read_schema(tmp_path / "t" / "part-0.parquet").names == ["url", "width"]


@pytest.mark.parametrize("columns", [None, ("text", "url")])
def test_a_part_that_is_missing_is_made_again_and_nothing_else(source, tmp_path, columns):
    out = tmp_path / "s"
    wanted = FilterSettings(columns=columns)
    first = coyo_tools.filter(source, out, wanted, max_watermark=0.3)
    before = bytes_of(out)
    inode = (out / "part-0.parquet").stat().st_ino
    (out / "part-2.parquet").unlink()
    again = coyo_tools.filter(source, out, wanted, max_watermark=0.3)
    assert bytes_of(out) == before
    assert (out / "part-0.parquet").stat().st_ino == inode
    assert (again.funnel, again.digest) == (first.funnel, first.digest)
    assert not again.complete_before
    assert coyo_tools.filter(source, out, wanted, max_watermark=0.3).complete_before
    assert len((out / "runs.jsonl").read_text().splitlines()) == 2


def test_an_interrupted_run_is_continued(source, tmp_path, monkeypatch):
    whole, out = tmp_path / "whole", tmp_path / "s"
    coyo_tools.filter(source, whole, max_watermark=0.3)
    real, seen = verb.filter_part, []

    def falters(part, *rest, **named):
        seen.append(part.part.name)
        if part.part.name == "part-1.parquet":
            raise KeyboardInterrupt
        return real(part, *rest, **named)

    monkeypatch.setattr(verb, "filter_part", falters)
    with pytest.raises(KeyboardInterrupt):
        coyo_tools.filter(source, out, FilterSettings(workers=1), max_watermark=0.3)
    assert json.loads((out / "manifest.json").read_text())["complete"] is False
    monkeypatch.setattr(verb, "filter_part", real)
    coyo_tools.filter(source, out, max_watermark=0.3)
    assert bytes_of(out) == bytes_of(whole)


def test_a_part_of_other_rules_is_not_taken_for_this_ones(source, tmp_path):
    out, other = tmp_path / "s", tmp_path / "other"
    coyo_tools.filter(source, out, max_watermark=0.3)
    before = bytes_of(out)
    coyo_tools.filter(source, other, max_watermark=0.9)
    shutil.copy(other / "part-0.parquet", out / "part-0.parquet")
    manifest = json.loads((out / "manifest.json").read_text()) | {"complete": False}
    (out / "manifest.json").write_text(json.dumps(manifest))
    coyo_tools.filter(source, out, max_watermark=0.3)
    assert bytes_of(out) == before


def test_other_rules_on_the_same_folder_are_refused_until_asked(source, tmp_path):
    out = tmp_path / "s"
    coyo_tools.filter(source, out, max_watermark=0.3)
    before = bytes_of(out)
    with pytest.raises(SettingsConflict, match=r"max_watermark.*0\.3.*0\.2"):
        coyo_tools.filter(source, out, max_watermark=0.2)
    assert bytes_of(out) == before
    coyo_tools.filter(source, out, max_watermark=0.2, overwrite=True)
    assert bytes_of(out) != before


def test_rules_keep_the_order_in_which_they_are_written(source, tmp_path):
    result = coyo_tools.filter(
        source, tmp_path / "s", FilterSettings(rules=({"max_faces": 2},)),
        where=["width > 300", "height > 300"], min_side=256.0, max_nsfw=None,
    )  # fmt: skip
    assert [step.rule for step in result.funnel] == [
        "num_faces <= 2", "width > 300", "height > 300", "min(width, height) >= 256",
    ]  # fmt: skip
    manifest = json.loads((tmp_path / "s" / "manifest.json").read_text())
    assert manifest["result"]["recipe"] == manifest["settings"]["rules"]
    assert manifest["settings"]["rules"][0] == {"max_faces": 2}
    assert manifest["settings"]["rules"][3] == {"min_side": 256}


def test_a_rule_that_drops_nothing_says_why(tmp_path):
    rows = rows_of({}, {"num_faces": 3})
    write_parts(tmp_path / "m", [rows])
    result = coyo_tools.filter(
        tmp_path / "m", tmp_path / "s", max_nsfw=0.5, min_side=200, max_faces=9, min_words=3
    )
    cut = "drops nothing: COYO was cut there already"
    assert [step.note for step in result.funnel] == [cut, cut, "drops nothing", cut]


def test_copies_with_wider_types_are_cast_and_said(tmp_path):
    rows = rows_of(*[{"width": 300 + n} for n in range(5)])
    wide = pa.schema(
        [pa.field(f.name, {"int32": pa.int64(), "float": pa.float64()}.get(str(f.type), f.type))
         for f in rows.schema]
    )  # fmt: skip
    write_parts(tmp_path / "m", [rows, rows.cast(wide)])
    result = coyo_tools.filter(tmp_path / "m", tmp_path / "s", max_watermark=0.1, min_side=302)
    said = {str(cast) for cast in result.casts}
    assert "width is int64 in 1 part: read as int32" in said
    assert "watermark_score is float64 in 1 part: read as float32" in said
    assert result.rows_out == 6  # float32(0.1) <= 0.1 as a float32, in both parts
    first, second = (pq.read_table(tmp_path / "s" / f"part-{n}.parquet") for n in (0, 1))
    assert first.schema.equals(rows.schema)
    assert first.equals(second)


def test_counts_that_came_as_floats_have_their_nulls_back(tmp_path):
    rows = rows_of({"num_faces": 1}, {"num_faces": 0}, {})
    column = rows.schema.get_field_index("num_faces")
    floats = rows.set_column(column, "num_faces", pa.array([1.0, NAN, 0.0]))
    write_parts(tmp_path / "m", [floats])
    result = coyo_tools.filter(tmp_path / "m", tmp_path / "s", max_faces=5)
    assert result.funnel[0].null == 1
    assert parts_of(tmp_path / "s")["num_faces"].to_pylist() == [1, 0]


@pytest.mark.parametrize("value", [1.5, 3e9])
@pytest.mark.parametrize("rules", [{"max_faces": 5}, {"min_clip_l14": 0}])
def test_a_value_that_does_not_fit_is_named(tmp_path, value, rules):
    rows = rows_of({}, {})
    column = rows.schema.get_field_index("num_faces")
    write_parts(tmp_path / "m", [rows.set_column(column, "num_faces", pa.array([0.0, value]))])
    with pytest.raises(SchemaError, match="'num_faces' does not fit int32: it is float64"):
        coyo_tools.filter(tmp_path / "m", tmp_path / "s", **rules)
    assert not list((tmp_path / "s").glob("*.parquet"))


def test_a_source_without_ids_has_no_digest(tmp_path):
    laion = pa.table(
        {"URL": ["u", "v"], "TEXT": ["a", "b"], "WIDTH": pa.array([500.0, NAN]),
         "HEIGHT": pa.array([400.0, 300.0]), "similarity": [0.31, 0.29], "punsafe": [0.1, 0.2]}
    )  # fmt: skip
    write_parts(tmp_path / "m", [laion])
    result = coyo_tools.filter(tmp_path / "m", tmp_path / "s", min_clip_b32=0.3, min_side=300)
    assert (result.schema, result.digest, result.rows_out) == ("laion", None, 1)
    assert pq.read_schema(tmp_path / "s" / "part-0.parquet").names == [
        "url", "text", "width", "height", "clip_similarity_vitb32", "punsafe",
    ]  # fmt: skip
    assert coyo_tools.filter(tmp_path / "s", tmp_path / "t", where="punsafe < 0.5").rows_out == 1


def test_columns_that_are_not_coyos_are_kept(tmp_path):
    extra = {
        "labels": pa.array([[1, 2], [], None], pa.list_(pa.int32())),
        "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
        "flag": [True, False, None],
        "when": pa.array([1, 2, 3], pa.timestamp("us")),
        "point": [{"x": 1, "y": 2.0}] * 3,
        "raw": [b"\x00", b"", None],
        "large": pa.array([2**63, 5, None], pa.uint64()),
    }
    table = rows_of({}, {}, {})
    for name, values in extra.items():
        table = table.append_column(name, pa.array(values) if isinstance(values, list) else values)
    write_parts(tmp_path / "m", [table])
    coyo_tools.filter(tmp_path / "m", tmp_path / "s", where="flag OR kind = 'x' AND large IS NULL")
    after = pq.read_table(tmp_path / "s" / "part-0.parquet")
    assert after.to_pylist() == table.take([0, 2]).to_pylist()
    assert after.schema.field("labels").type == pa.list_(pa.int32())


def test_empty_parts_single_row_groups_and_null_columns(tmp_path):
    empty, some = rows_of(), rows_of(*[{"text": None, "num_faces": None}] * 3)
    write_parts(tmp_path / "m", [empty, some, empty], row_group_size=1)
    nothing = coyo_tools.filter(tmp_path / "m", tmp_path / "s", max_faces=1, text_matches="a")
    assert (nothing.rows_in, nothing.rows_out, nothing.parts) == (3, 0, 3)
    assert [step.null for step in nothing.funnel] == [3, 3]
    assert [pq.read_table(p).num_rows for p in sorted((tmp_path / "s").glob("*.parquet"))] == [
        0
    ] * 3
    assert nothing.digest == "sha256:" + hashlib.sha256(b"").hexdigest()
    again = coyo_tools.filter(tmp_path / "s", tmp_path / "t", min_side=1)
    assert (again.rows_in, again.rows_out) == (0, 0)


def test_odd_names_and_equal_names_in_subfolders(tmp_path):
    first, second = rows_of({"width": 300}), rows_of({"width": 900})
    for folder, rows in (("a", first), ("b %41", second)):
        (tmp_path / "m" / folder).mkdir(parents=True)
        pq.write_table(rows, tmp_path / "m" / folder / "part 1 %20[x]::y.parquet")
    result = coyo_tools.filter(tmp_path / "m", tmp_path / "s", min_side=100)
    names = sorted(path.name for path in (tmp_path / "s").glob("*.parquet"))
    assert names == ["a__part 1 %20[x]::y.parquet", "b %41__part 1 %20[x]::y.parquet"]
    (tmp_path / "s" / names[0]).unlink()
    assert coyo_tools.filter(tmp_path / "m", tmp_path / "s", min_side=100).digest == result.digest


@pytest.mark.parametrize("place", ["rows.parq", "*.parq"])
def test_what_came_of_a_file_with_another_ending_is_read_again(tmp_path, place):
    pq.write_table(metadata(30), tmp_path / "rows.parq")
    assert coyo_tools.filter(tmp_path / place, tmp_path / "out").rows_out == 30
    assert coyo_tools.stats(tmp_path / "out").rows == 30


def test_row_groups_of_the_output_are_of_one_size(tmp_path, monkeypatch):
    monkeypatch.setattr(written, "ROW_GROUP_ROWS", 100)
    write_parts(tmp_path / "m", [metadata(1000)], row_group_size=37)
    coyo_tools.filter(tmp_path / "m", tmp_path / "s", min_clip_l14=0.25)
    file = pq.ParquetFile(tmp_path / "s" / "part-0.parquet")
    sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert set(sizes[:-1]) == {100}
    assert 0 < sizes[-1] <= 100


def test_how_the_input_is_cut_does_not_show(tmp_path, monkeypatch):
    monkeypatch.setattr(written, "ROW_GROUP_ROWS", 100)
    found = set()
    for rows in (1, 37, 250, 1000):
        write_parts(tmp_path / f"m{rows}", [metadata(1000)], row_group_size=rows)
        coyo_tools.filter(tmp_path / f"m{rows}", tmp_path / f"s{rows}", min_clip_l14=0.25)
        table = pq.read_table(tmp_path / f"s{rows}" / "part-0.parquet")
        found.add(table.replace_schema_metadata(None).schema.to_string() + str(table.to_pylist()))
        sizes = pq.read_metadata(tmp_path / f"s{rows}" / "part-0.parquet")
        found.add(str([sizes.row_group(i).total_byte_size for i in range(sizes.num_row_groups)]))
    assert len(found) == 2  # one content, one layout


def test_text_is_written_as_string(tmp_path):
    write_parts(tmp_path / "m", [metadata(10)])
    coyo_tools.filter(tmp_path / "m", tmp_path / "s")
    wanted = pq.read_schema(tmp_path / "m" / "part-0.parquet").remove_metadata()
    assert pq.read_schema(tmp_path / "s" / "part-0.parquet").remove_metadata() == wanted


def test_only_the_first_files(source, tmp_path):
    result = coyo_tools.filter(source, tmp_path / "s", FilterSettings(limit_files=2))
    assert (result.rows_in, result.parts) == (501, 2)


def test_progress_reaches_every_row(source, tmp_path):
    steps = []
    coyo_tools.filter(source, tmp_path / "s", max_faces=1, progress=steps.append)
    assert [step.total for step in steps] == [801] * len(steps)
    assert max(step.done for step in steps) == 801


def test_columns_that_differ_between_parts_are_named(tmp_path):
    rows = rows_of({})
    write_parts(tmp_path / "m", [rows, rows.append_column("more", pa.array([1]))])
    with pytest.raises(SchemaError, match=r"part-1.parquet: has a column 'more', unlike part-0"):
        coyo_tools.filter(tmp_path / "m", tmp_path / "s")
    kept = coyo_tools.filter(tmp_path / "m", tmp_path / "s", FilterSettings(columns=("id", "url")))
    assert kept.rows_out == 2


@pytest.mark.parametrize(
    ("rules", "error", "said"),
    [
        ({"min_clip_l15": 0.3}, RuleError, "did you mean 'min_clip_l14'"),
        ({"min_clip_l14": NAN}, RuleError, "--min-clip-l14: nan is no bound"),
        ({"max_faces": INF}, RuleError, "inf is no bound"),
        ({"max_faces": "3"}, RuleError, "--max-faces: takes a number, not '3'"),
        ({"max_faces": True}, RuleError, "takes a number, not True"),
        ({"where": 3}, RuleError, "--where: takes text, not 3"),
        ({"text_matches": "(a"}, RuleError, "--text-matches: '(a' is no regular expression"),
        ({"where": "num_face = 0"}, RuleError, "did you mean 'num_faces'?"),
        ({"where": ["width > 1", "width >"]}, RuleError, "syntax error"),
    ],
)
def test_wrong_rules_are_told_before_anything_is_written(source, tmp_path, rules, error, said):
    with pytest.raises(error) as caught:
        coyo_tools.filter(source, tmp_path / "s", **rules)
    assert said in str(caught.value)
    assert not (tmp_path / "s").exists()


def test_a_column_that_a_rule_needs_is_named(tmp_path):
    write_parts(tmp_path / "m", [rows_of({}).drop_columns(["watermark_score"])])
    with pytest.raises(SchemaError, match="no column 'watermark_score', which --max-watermark"):
        coyo_tools.filter(tmp_path / "m", tmp_path / "s", max_watermark=0.5)
    with pytest.raises(SchemaError, match=r"no column 'texts'; did you mean 'text'"):
        coyo_tools.filter(tmp_path / "m", tmp_path / "s", FilterSettings(columns=("texts",)))
    with pytest.raises(SettingsError, match="--columns"):
        coyo_tools.filter(tmp_path / "m", tmp_path / "s", FilterSettings(columns=("id", "id")))
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("inside", ["", "sub", "sub/deeper"])
def test_the_output_is_kept_out_of_the_source(source, inside):
    before = sorted(source.iterdir())
    with pytest.raises(SettingsError, match="lies inside the source"):
        coyo_tools.filter(source, source / inside, max_faces=1)
    assert sorted(source.iterdir()) == before


def test_a_part_that_breaks_in_its_middle_leaves_no_output_of_it(tmp_path):
    paths = write_parts(tmp_path / "m", [metadata(4000, 1), metadata(4000, 2)])
    data = bytearray(paths[1].read_bytes())
    data[len(data) // 4 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 4)
    paths[1].write_bytes(data)
    with pytest.raises(CorruptFile, match=r"part-1.parquet: .*cannot be read"):
        coyo_tools.filter(tmp_path / "m", tmp_path / "s", FilterSettings(workers=1), max_faces=9)
    assert sorted(p.name for p in (tmp_path / "s").glob("*.parquet")) == ["part-0.parquet"]
    assert not list((tmp_path / "s").glob(".*.coyo-tmp"))


def test_nothing_there_is_named(tmp_path):
    with pytest.raises(SourceNotFound, match="no such file or folder"):
        coyo_tools.filter(tmp_path / "nowhere", tmp_path / "s")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceNotFound, match="holds no parquet file"):
        coyo_tools.filter(tmp_path / "empty", tmp_path / "s")


def test_infinities_are_values_and_minus_zero_is_zero(tmp_path):
    scores = [INF, -INF, -0.0, 0.0, NAN, None]
    write_parts(tmp_path / "m", [rows_of(*[{"watermark_score": s} for s in scores])])
    at_least = coyo_tools.filter(tmp_path / "m", tmp_path / "a", min_watermark=0)
    at_most = coyo_tools.filter(tmp_path / "m", tmp_path / "b", max_watermark=-0.0)
    assert parts_of(tmp_path / "a")["watermark_score"].to_pylist() == [INF, 0.0, 0.0]
    assert pc.sum(parts_of(tmp_path / "b")["watermark_score"]).as_py() == -INF
    assert (at_least.funnel[0].null, at_most.funnel[0].null) == (2, 2)
    assert (at_least.rows_out, at_most.rows_out) == (3, 3)


@pytest.mark.parametrize(("sql", "kept", "null"), [("TRUE", 5, 0), ("1 > 2", 0, 0), ("NULL", 0, 5)])
@pytest.mark.parametrize("more", [[], ["width > 1"]])
def test_a_condition_on_no_column_is_asked_of_every_row(tmp_path, sql, kept, null, more):
    write_parts(tmp_path / "m", [rows_of({}, {}, {"id": None}), rows_of({}, {})])
    result = coyo_tools.filter(tmp_path / "m", tmp_path / "s", where=[sql, *more])
    first = result.funnel[0]
    assert (result.rows_out, first.left, first.dropped_alone, first.null) == (
        kept, kept, 5 - kept, null,
    )  # fmt: skip


def test_parts_named_by_numbers_alone_keep_their_ids(tmp_path, monkeypatch):
    """What sorts the ids numbers its files too."""
    monkeypatch.setattr(verb, "_SORTED_AT_ONCE", 10)
    whole = metadata(90)
    for at, name in enumerate(("0", "00", "1")):
        pq.write_table(whole.slice(30 * at, 30), tmp_path / name)
    result = coyo_tools.filter(f"{tmp_path}/[01]*", tmp_path / "out", max_faces=100)
    ids = np.sort(whole.column("id").to_numpy()).astype("<i8")
    assert result.rows_out == 90
    assert result.digest == f"sha256:{hashlib.sha256(ids.tobytes()).hexdigest()}"
