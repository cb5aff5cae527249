"""`coyo filter` as a user meets it: what it prints, the order of its rules, every refusal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.metadata import ids_in, metadata, rows_of, write_parts


@pytest.fixture
def source(tmp_path) -> Path:
    rows = [
        {"num_faces": n % 3, "watermark_score": n / 10, "clip_similarity_vitl14": 0.2 + n / 100}
        for n in range(10)
    ]
    write_parts(tmp_path / "metadata", [rows_of(*rows), rows_of(*rows)])
    return tmp_path / "metadata"


def test_the_funnel_is_a_table_and_ends_with_the_next_command(coyo, source, tmp_path):
    out = tmp_path / "subset"
    status, said, _ = coyo("filter", source, "-o", out, "--min-clip-l14", "0.25",
                           "--max-watermark", "0.75", "--max-nsfw", "0.5")  # fmt: skip
    lines = said.splitlines()
    assert status == 0
    assert lines[:5] == [
        "rule                             dropped   dropped alone   left",
        "all rows                                                     20",
        "clip_similarity_vitl14 >= 0.25        10              10     10",
        "watermark_score <= 0.75                4               4      6",
        "nsfw_score_* <= 0.5                    0               0      6"
        "   drops nothing: COYO was cut there already",
    ]
    assert lines[5].startswith("kept 30.00 % in 2 parts, ")
    assert lines[5].endswith(f" s: {out}   next: coyo download {out} -o shards")
    assert len(lines) == 6


def test_of_a_long_list_of_conditions_the_table_shows_the_beginning(coyo, source, tmp_path):
    sql = " OR ".join(f"width = {number}" for number in range(2000))
    status, said, _ = coyo("filter", source, "-o", tmp_path / "s", "--where", sql)
    assert status == 0
    assert f"\n{sql[:97]}...  " in said
    assert max(map(len, said.splitlines())) < 400


def test_nulls_have_a_column_only_where_there_are_any(coyo, tmp_path):
    write_parts(tmp_path / "m", [rows_of({"num_faces": None}, {})])
    _, said, _ = coyo("filter", tmp_path / "m", "-o", tmp_path / "s", "--max-faces", "0")
    assert said.splitlines()[:3] == [
        "rule             dropped   dropped alone   null   left",
        "all rows                                             2",
        "num_faces <= 0         1               1      1      1",
    ]


def test_json_is_one_document(coyo, source, tmp_path):
    out = tmp_path / "s"
    status, said, heard = coyo("filter", source, "-o", out, "--max-faces", "0", "--json")
    document = json.loads(said)
    assert (status, heard) == (0, "")
    assert (document["rows_in"], document["rows_out"], document["parts"]) == (20, 8, 2)
    assert document["funnel"][0]["dropped"] == 12
    assert document["digest"].startswith("sha256:")
    assert document["bytes"] == sum(p.stat().st_size for p in out.glob("*.parquet"))


def test_rules_apply_in_the_order_of_the_command_line(coyo, source, tmp_path):
    _, said, _ = coyo(
        "filter", source, "-o", tmp_path / "s", "--json", "--where", "num_faces < 2",
        "--max-watermark", "0.9", "--where", "width > 1", "--text-matches", "dog",
        "--min-clip-b32", "0.1",
    )  # fmt: skip
    assert [step["rule"] for step in json.loads(said)["funnel"]] == [
        "num_faces < 2", "watermark_score <= 0.9", "width > 1", "text matches dog",
        "clip_similarity_vitb32 >= 0.1",
    ]  # fmt: skip


def test_environment_variables_give_rules_too_in_the_tables_order(
    coyo, source, tmp_path, monkeypatch
):
    monkeypatch.setenv("COYO_FILTER_WHERE", "num_faces < 2\nwidth > 1")
    monkeypatch.setenv("COYO_FILTER_MAX_WATERMARK", "0.8")
    monkeypatch.setenv("COYO_FILTER_OUT", str(tmp_path / "s"))
    _, said, _ = coyo("filter", source, "--json", "--min-side", "100")
    assert [step["rule"] for step in json.loads(said)["funnel"]] == [
        "min(width, height) >= 100", "watermark_score <= 0.8", "num_faces < 2", "width > 1",
    ]  # fmt: skip


def test_columns_limit_and_schema_are_options(coyo, source, tmp_path):
    status, said, _ = coyo("filter", source, "-o", tmp_path / "s", "--columns", "url, id",
                           "--limit-files", "1", "--schema", "coyo", "--json")  # fmt: skip
    assert (status, json.loads(said)["rows_in"]) == (0, 10)
    assert pq.read_schema(tmp_path / "s" / "part-0.parquet").names == ["url", "id"]


def test_a_complete_folder_is_left_alone_and_said(coyo, source, tmp_path):
    coyo("filter", source, "-o", tmp_path / "s", "--max-faces", "0")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "s").iterdir()}
    status, said, _ = coyo("filter", source, "-o", tmp_path / "s", "--max-faces", "0")
    assert (status, "complete already" in said) == (0, True)
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / "s").iterdir()}
    assert {p.name for p in after if after[p] != before.get(p)} <= {".coyo.lock"}


def test_casts_and_a_missing_id_are_said_on_stderr(coyo, tmp_path):
    table = rows_of({}, {}).drop_columns(["id"])
    at = table.schema.get_field_index("width")
    write_parts(tmp_path / "m", [table.set_column(at, "width", pa.array([5, 6], pa.int64()))])
    status, said, heard = coyo("filter", tmp_path / "m", "-o", tmp_path / "s", "--min-side", "1")
    assert status == 0
    assert "note: width is int64 in 1 part: read as int32" in heard
    assert "no column id" in heard
    assert "note" not in said


def lfs_pointer(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1054120000\n")


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def not_parquet(path: Path) -> None:
    path.write_text("<html>Not found, but with status 200</html>")


def other_type(path: Path) -> None:
    table = rows_of({})
    at = table.schema.get_field_index("width")
    pq.write_table(table.set_column(at, "width", pa.array(["640"])), path)


def no_column(path: Path) -> None:
    pq.write_table(rows_of({}).drop_columns(["num_faces"]), path)


def broken_inside(path: Path) -> None:
    pq.write_table(metadata(3000), path)
    data = bytearray(path.read_bytes())
    middle = slice(len(data) // 3, len(data) // 2)
    data[middle] = b"\xff" * len(data[middle])
    path.write_bytes(data)


BAD_PARTS = [
    (lfs_pointer, "part-1.parquet: is a git-lfs pointer, not the data; run: git lfs pull"),
    (truncated, "part-1.parquet: is truncated: "),
    (not_parquet, "part-1.parquet: is a web page, not the data; "),
    (other_type, "part-1.parquet: column 'width' is string, expected int32"),
    (no_column, "part-1.parquet: has no column 'num_faces'"),
    (broken_inside, "part-1.parquet: row group 0 cannot be read: "),
]


@pytest.mark.parametrize(("spoil", "said"), BAD_PARTS, ids=[s.__name__ for s, _ in BAD_PARTS])
def test_a_bad_part_is_one_sentence_and_leaves_no_part_of_itself(
    coyo, source, tmp_path, spoil, said
):
    spoil(source / "part-1.parquet")
    out = tmp_path / "s"
    status, printed, heard = coyo("filter", source, "-o", out, "--max-faces", "1", "--workers", "1")
    assert (status, printed) == (1, "")
    assert said in heard
    assert len(heard.splitlines()) == 1
    left = [p.name for p in out.iterdir()] if out.exists() else []
    assert "part-1.parquet" not in left
    assert not [name for name in left if name.endswith(".coyo-tmp")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{tmp}/nowhere"], "nowhere: no such file or folder; check the path"),
        (["{tmp}/nowhere.parquet"], "nowhere.parquet: no such file"),
        (["{tmp}/metadata/*.pq"], "no file matches"),
        (["{tmp}"], ""),
        (["{m}", "--where", "num_faces ="], "syntax error at character 11"),
        (["{m}", "--where", "num_facess = 0"], "did you mean 'num_faces'?"),
        (["{m}", "--text-matches", "(a"], "--text-matches: '(a' is no regular expression"),
        (["{m}", "--min-clip-l14", "nan"], "--min-clip-l14: nan is no bound"),
        (["{m}", "--max-faces", "inf"], "--max-faces: inf is no bound"),
        (["{m}", "--columns", "txt"], "has no column 'txt'; did you mean 'text'?"),
        (["{m}", "-o", "{m}/inside"], "lies inside the source"),
        (["{m}", "-o", "{tmp}/strange"], "holds files that are not this tool's"),
        (["{m}", "-o", "{tmp}/file"], "is in the way: a file, not a folder"),
        (["nope://x/y"], "nope:// is not a known place"),
    ],
)
def test_what_cannot_be_is_one_sentence(coyo, source, tmp_path, arguments, said):
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "diary.txt").write_text("mine")
    (tmp_path / "file").write_text("a file")
    filled = [a.format(tmp=tmp_path, m=source) for a in arguments]
    if "-o" not in filled:
        filled += ["-o", str(tmp_path / "metadata" / "s" if said == "" else tmp_path / "s")]
    status, printed, heard = coyo("filter", *filled)
    assert (status, printed) == (1, "")
    assert said in heard
    assert len(heard.splitlines()) == 1
    assert not (tmp_path / "s").exists()
    assert (tmp_path / "strange" / "diary.txt").read_text() == "mine"


def test_other_settings_are_refused_and_the_difference_named(coyo, source, tmp_path):
    coyo("filter", source, "-o", tmp_path / "s", "--max-faces", "0")
    status, _, heard = coyo("filter", source, "-o", tmp_path / "s", "--max-faces", "1")
    assert status == 1
    assert 'rules was [{"max_faces": 0}], is [{"max_faces": 1}]' in heard
    assert "--overwrite" in heard
    assert coyo("filter", source, "-o", tmp_path / "s", "--max-faces", "1", "--overwrite")[0] == 0


def test_a_part_that_changed_is_refused(coyo, source, tmp_path):
    coyo("filter", source, "-o", tmp_path / "s")
    write_parts(source, [rows_of({}), rows_of({"width": 1})])
    status, _, heard = coyo("filter", source, "-o", tmp_path / "s")
    assert status == 1
    assert "input part-0.parquet differs in" in heard


@pytest.mark.parametrize("arguments", [["--max-faces", "many"], ["--limit-files", "0"],
                                       ["--schema", "cifar"], ["--nonsense"]])  # fmt: skip
def test_usage_errors_exit_with_2(coyo, source, tmp_path, arguments):
    status, printed, heard = coyo("filter", source, "-o", tmp_path / "s", *arguments)
    assert (status, printed) == (2, "")
    assert "Usage:" in heard


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from coyo_tools.cli import main\n"
        "try: main(['filter', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'polars', 'pyarrow', 'numpy', 'torch', 'sqlglot', 'fsspec'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "--min-clip-l14 N" in done.stdout


def test_an_interrupted_process_exits_with_130_and_can_go_on(tmp_path):
    write_parts(tmp_path / "m", [metadata(20_000, n) for n in range(3)])
    code = (
        "import os, signal, sys; from coyo_tools.cli import main\n"
        "import coyo_tools.verbs.filter as verb\n"
        "real = verb.filter_part\n"
        "def falters(part, *rest, **named):\n"
        "    if part.part.name == 'part-1.parquet': os.kill(os.getpid(), signal.SIGINT)\n"
        "    return real(part, *rest, **named)\n"
        "verb.filter_part = falters\n"
        f"main(['filter', {str(tmp_path / 'm')!r}, '-o', {str(tmp_path / 's')!r}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env={**os.environ}
    )
    assert done.returncode == 130, done.stderr
    assert done.stderr == "interrupted; run the same command again to go on\n"
    again = [sys.executable, "-m", "coyo_tools", "filter", tmp_path / "m", "-o", tmp_path / "s"]
    assert subprocess.run(again, capture_output=True, timeout=60).returncode == 0
    assert len(ids_in(tmp_path / "s")) == 60_000
