"""Arrow imports pandas in no process of ours, and whoever else wants it gets it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import coyo_tools
from tests.tars import sample, write_tar

pytest.importorskip("pandas", reason="pandas is not installed")
ARROW = "import pyarrow as pa; pa.table({'a': ['x', None]})['a'].to_numpy()"


def loaded(code: str) -> bool:
    """Whether pandas is there after the code, in a fresh process."""
    code = textwrap.dedent(code) + "\nimport sys; print('pandas' in sys.modules)"
    run = [sys.executable, "-c", code]
    said = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    return {"True": True, "False": False}[said.split()[-1]]


def spared(code: str) -> str:
    return f"""
        from coyo_tools.machinery.without_pandas import keep_pandas, spare_pandas
        spare_pandas()
        ours, theirs = {{"__name__": "coyo_tools.verbs"}}, {{"__name__": "elsewhere"}}
        {code}
    """


def test_arrow_imports_it_unless_it_is_told_that_there_is_none() -> None:
    assert loaded(ARROW)
    assert not loaded(spared(f"exec({ARROW!r}, ours)"))
    assert loaded(spared(f"keep_pandas(); exec({ARROW!r}, ours)"))


def test_other_packages_get_it() -> None:
    assert loaded(spared("exec('import pandas', theirs)"))
    assert loaded(spared(f"exec({ARROW!r}, theirs)"))


def test_tables_still_go_to_pandas_and_back() -> None:
    made = "import pyarrow as pa; t = pa.table({'a': [1, None], 'b': ['x', None]}).to_pandas()"
    code = f"""exec({ARROW!r}, ours); exec({made!r}, theirs); t = theirs["t"]
        import pyarrow as pa; back = pa.Table.from_pandas(t)
        assert back["a"].to_pylist() == [1, None] and back["b"].to_pylist() == ["x", None]
        assert pa.array(t["a"], from_pandas=True).null_count == 1"""
    assert loaded(spared(code))


@pytest.mark.parametrize(("columns", "processes"), [("-ctext_length", 1), ("-cimage_phash", 2)])
def test_the_command_line_and_its_workers_go_without(
    tmp_path: Path, columns: str, processes: int
) -> None:
    write_tar(tmp_path / "shards" / "0.tar", [sample(n) for n in range(3)])
    line = [sys.executable, "-m", "coyo_tools", "score", tmp_path / "shards", columns]
    telling = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}  # the workers too
    done = subprocess.run(
        [*line, "-o", tmp_path / "out"], capture_output=True, text=True, check=True, env=telling
    )
    modules = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines()]
    assert modules.count("coyo_tools.stages.score_table") == processes
    assert "pandas.core" not in modules


def test_a_caller_of_the_api_keeps_it(tmp_path: Path) -> None:
    before = list(sys.meta_path)
    write_tar(tmp_path / "shards" / "0.tar", [sample(0)])
    settings = coyo_tools.ScoreSettings(columns=("text_length",))
    coyo_tools.score(tmp_path / "shards", tmp_path / "out", settings)
    assert sys.meta_path == before
