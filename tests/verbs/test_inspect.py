"""inspect: everything from footers, bad files named without stopping."""

from __future__ import annotations

import json
import shlex

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import coyo_tools
from coyo_tools.cli import main
from tests.metadata import metadata, rows_of, write_parts


@pytest.fixture
def folder(tmp_path):
    whole = metadata(300)
    holes = rows_of({"num_faces": None}, {"text": None}, {"num_faces": None})
    write_parts(tmp_path / "m", [whole, holes], row_group_size=100)
    return tmp_path / "m"


def test_counts_types_and_nulls(folder):
    seen = coyo_tools.inspect(folder)
    assert (seen.files, seen.rows, seen.row_groups, seen.row_group_rows) == (2, 303, 4, (3, 100))
    assert seen.bytes == sum(path.stat().st_size for path in folder.iterdir())
    assert (seen.schema, seen.codecs, seen.ok) == ("coyo", {"snappy": 17 * 4}, True)
    columns = {column.name: column for column in seen.columns}
    assert (columns["num_faces"].nulls, columns["text"].nulls, columns["id"].nulls) == (2, 1, 0)
    assert columns["watermark_score"].dtypes == {"float32": 2}
    assert not any(column.note for column in seen.columns)


def test_what_differs_from_coyo_is_noted(tmp_path):
    table = pa.table({"URL": ["u"], "WIDTH": [5.0], "similarity": pa.array([0.3], pa.float32()),
                      "punsafe": [0.5], "labels": [[1, 2]]})  # fmt: skip
    write_parts(tmp_path / "m", [table, table.drop_columns(["punsafe"])])
    columns = {c.name: c for c in coyo_tools.inspect(tmp_path / "m").columns}
    assert columns["width"].note == "read as int32"
    assert columns["width"].in_file == ("WIDTH",)
    assert columns["clip_similarity_vitb32"].note == ""
    assert columns["punsafe"].note == "not COYO's, in 1 of 2 files"
    assert columns["id"].note == "missing"
    assert columns["labels"].nulls is None  # a list's footer counts its leaves


def test_nulls_that_no_footer_tells_are_unknown(tmp_path):
    write_parts(tmp_path / "m", [rows_of({})])
    pq.write_table(rows_of({}), tmp_path / "m" / "z.parquet", write_statistics=False)
    assert {c.nulls for c in coyo_tools.inspect(tmp_path / "m").columns} == {None}


def test_every_bad_file_is_named_and_the_rest_counted(folder):
    (folder / "a.parquet").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    (folder / "b.parquet").write_bytes((folder / "part-0.parquet").read_bytes()[:-50])
    at = rows_of({}).schema.get_field_index("width")
    pq.write_table(rows_of({}).set_column(at, "width", pa.array(["x"])), folder / "c.parquet")
    seen = coyo_tools.inspect(folder)
    assert (seen.files, seen.rows, seen.ok) == (5, 303, False)
    said = "\n".join(seen.problems)
    assert "a.parquet: is a git-lfs pointer, not the data" in said
    assert "b.parquet: is truncated" in said
    assert "c.parquet: column 'width' is string, expected int32" in said


def run(*arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    return int(ended.value.code or 0), *capsys.readouterr()


def test_the_command_prints_a_table_and_the_next_step(folder, capsys):
    status, said, heard = run("inspect", folder, capsys=capsys)
    assert (status, heard) == (0, "")
    lines = said.splitlines()
    assert lines[0] == f"source    {folder}"
    assert "rows      303 in 4 row groups" in lines
    assert any(line.split() == ["num_faces", "int32", "2"] for line in lines)
    assert lines[-1] == f"next: coyo filter {folder} -o subset --min-clip-l14 0.25"


@pytest.mark.parametrize(
    ("columns", "rule"),
    [
        ({"URL": ["u"], "TEXT": ["t"], "similarity": [0.3], "WIDTH": [9]}, "--min-clip-b32 0.28"),
        ({"id": [1], "imagehash": ["00"], "width": [9], "height": [9]}, "--min-side 256"),
        ({"id": [1], "url": ["u"]}, "--sample 1%"),
        ({"url": ["u"]}, "--limit-files 1"),
    ],
)
def test_the_next_step_asks_for_columns_that_are_there(tmp_path, columns, rule, capsys):
    place = tmp_path / "my metadata"
    write_parts(place, [pa.table(columns)])
    _, said, _ = run("inspect", place, capsys=capsys)
    assert said.splitlines()[-1] == f"next: coyo filter '{place}' -o subset {rule}"
    words = shlex.split(said.splitlines()[-1])[2:]
    words[words.index("subset")] = str(tmp_path / "my subset")
    status, said, heard = run(*words, capsys=capsys)
    assert (status, said.splitlines()[-1].partition("next: ")[2]) == (
        0, f"coyo download '{tmp_path / 'my subset'}' -o shards",
    ), heard  # fmt: skip


def test_bad_files_make_the_exit_status_1_after_the_table(folder, capsys):
    (folder / "a.parquet").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    status, said, heard = run("inspect", folder, capsys=capsys)
    assert status == 1
    assert "1 file of 3 cannot be used, see below" in said
    assert heard.startswith("coyo: ")
    assert "a.parquet: is a git-lfs pointer, not the data; run: git lfs pull" in heard
    status, said, _ = run("inspect", folder, "--json", capsys=capsys)
    assert (status, json.loads(said)["ok"], json.loads(said)["rows"]) == (1, False, 303)


def test_only_pointers_still_print(tmp_path, capsys):
    (tmp_path / "a.parquet").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0")
    status, said, _ = run("inspect", tmp_path, capsys=capsys)
    assert status == 1
    assert "rows      0 in 0 row groups" in said


def test_a_subset_says_who_wrote_it(folder, tmp_path, capsys):
    coyo_tools.filter(folder, tmp_path / "s", max_faces=1)
    _, said, _ = run("inspect", tmp_path / "s", capsys=capsys)
    assert f"source    {tmp_path / 's'}, written by coyo filter" in said
    assert "zstd" in said


def test_progress_hears_of_each_file(folder):
    steps = []
    coyo_tools.inspect(folder, progress=steps.append)
    assert [(step.done, step.total) for step in steps] == [(1, 2), (2, 2)]
