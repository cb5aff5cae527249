"""`coyo diff` as a user types it."""

from __future__ import annotations

import json

import pytest

from tests.metadata import rows_of, write_parts


@pytest.fixture
def subsets(coyo, tmp_path):
    rows = [{"num_faces": n % 3, "watermark_score": n / 10} for n in range(10)]
    write_parts(tmp_path / "m", [rows_of(*rows)])
    for name, rules in (("a", ["--max-faces", 0]), ("b", ["--top", 6, "--by", "watermark_score"])):
        status, _, _ = coyo("filter", tmp_path / "m", "-o", tmp_path / name, *rules)
        assert status == 0
    return tmp_path


def test_it_says_what_is_shared_and_why_not_more(coyo, subsets):
    status, said, _ = coyo("diff", subsets / "a", subsets / "b")
    lines = [line.split() for line in said.splitlines()]
    assert status == 0
    assert lines[0] == ["rows", "ids", "in", "both", "only", "here"]
    assert lines[1] == ["A", str(subsets / "a"), "4", "4", "2", "2"]
    assert lines[2] == ["B", str(subsets / "b"), "6", "6", "2", "4"]
    assert "  - {max_faces: 0}\n  + {top: 6, by: watermark_score}  # from 0.4\n" in said
    assert "2 ids only in A, by the rules of B\n" in said
    assert ["top", "6", "by", "watermark_score", "2", "2", "from", "0.4"] in lines
    assert ["num_faces", "<=", "0", "4", "4"] in lines
    assert said.splitlines()[-1].startswith("Jaccard 0.2500, ")
    assert said.splitlines()[-1].endswith(f"{subsets / 'b'} -o difference")


def test_the_next_command_can_be_pasted_where_names_have_blanks(coyo, tmp_path):
    write_parts(tmp_path / "my a", [rows_of({"id": 1})])
    write_parts(tmp_path / "b", [rows_of({"id": 2})])
    _, said, _ = coyo("diff", tmp_path / "my a", tmp_path / "b")
    told = f"next: coyo diff '{tmp_path / 'my a'}' {tmp_path / 'b'} -o difference"
    assert said.rstrip().endswith(told)
    _, said, _ = coyo("stats", tmp_path / "my a", "--of", "width + height", "-o", tmp_path / "my s")
    assert said.rstrip().endswith(
        f"next: coyo filter '{tmp_path / 'my a'}' -o subset --top 30% --by 'width + height' "
        f"--stats '{tmp_path / 'my s'}'"
    )


def test_what_was_not_limited_is_all_of_it(coyo, subsets):
    coyo("filter", subsets / "m", "-o", subsets / "c", "--max-faces", 1, "--columns", "id,url",
         "--limit-files", 1)  # fmt: skip
    _, said, _ = coyo("diff", subsets / "a", subsets / "c")
    assert 'columns: all in A, ["id", "url"] in B\nlimit_files: all in A, 1 in B\n' in said


def test_json_and_exit_code(coyo, subsets):
    status, said, _ = coyo("diff", subsets / "a", subsets / "b", "--json", "--exit-code")
    found = json.loads(said)
    assert (status, found["same"], found["both"]) == (1, False, 2)
    assert found["only_a"]["reasons"][0]["dropped"] == 2
    status, said, _ = coyo("diff", subsets / "a", subsets / "a", "--exit-code")
    assert status == 0
    assert "the same 4 rows, by their digest sha256:" in said
    status, _, heard = coyo("diff", subsets / "a", subsets / "nowhere", "--exit-code")
    assert (status, "no such file" in heard) == (1, True)


def test_repeated_and_absent_ids_are_said(coyo, tmp_path):
    write_parts(tmp_path / "a", [rows_of({"id": 1}, {"id": 1}, {"id": None})])
    write_parts(tmp_path / "b", [rows_of({"id": 1})])
    status, said, _ = coyo("diff", tmp_path / "a", tmp_path / "b", "--exit-code")
    assert status == 1  # not the same rows, though the same ids
    lines = said.splitlines()
    assert "repeating an id   without id" in lines[0]
    assert lines[1].split()[2:] == ["3", "1", "1", "1", "1", "0"]
    assert lines[2].split()[2:] == ["1", "0", "0", "1", "1", "0"]
