"""What polars' allocator is told, and when it is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from coyo_tools.machinery import allocator
from tests.metadata import metadata, write_parts

NAME = "_RJEM_MALLOC_CONF"


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "")  # what is set below is taken back afterwards
    monkeypatch.delenv(NAME)
    monkeypatch.delitem(sys.modules, "polars", raising=False)


@pytest.mark.usefixtures("unset")
def test_large_blocks_are_told_of_before_polars_is_loaded(monkeypatch):
    allocator.expect_large_blocks()
    assert NAME not in os.environ  # the process is not ours
    allocator.spare()
    assert "oversize" not in os.environ[NAME]
    allocator.expect_large_blocks()
    assert "oversize" in os.environ[NAME]
    monkeypatch.delenv(NAME)
    allocator.spare()
    usual = os.environ[NAME]
    monkeypatch.setitem(sys.modules, "polars", object())
    allocator.expect_large_blocks()
    assert os.environ[NAME] == usual


@pytest.mark.usefixtures("unset")
def test_what_a_user_has_set_stands(monkeypatch):
    monkeypatch.setenv(NAME, "narenas:7")
    allocator.spare()
    allocator.expect_large_blocks()
    assert os.environ[NAME] == "narenas:7"


@pytest.mark.parametrize(("rows", "large"), [(70_000, True), (500, False)])
def test_filter_tells_by_the_row_groups_it_finds(tmp_path: Path, rows: int, large: bool):
    write_parts(tmp_path / "in", [metadata(70_000)], row_group_size=rows)
    code = (
        "import os, sys; from coyo_tools.cli import main\n"
        "try: main(sys.argv[1:])\n"
        f"finally: print('oversize' in os.environ[{NAME!r}])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, "filter", "in", "--max-faces", "0", "-o", "out"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != NAME},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.splitlines()[-1] == str(large)
