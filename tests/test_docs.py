"""The documentation: its commands run, its links lead somewhere, its references are current."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from coyo_tools import cli

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
BIN = Path(sys.executable).parent


def _blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", page.read_text(), re.M | re.S)


def _commands(page: Path) -> list[str]:
    """Every line of a page's shell blocks that calls `coyo`, from `coyo` on."""
    lines = "\n".join(_blocks(page, "sh")).replace("\\\n", " ").splitlines()
    return [
        match.group(0) for line in lines if (match := re.search(r"(?<![\w'\[/:-])coyo .*", line))
    ]


# The README's quick start, as written, in an empty folder.


@pytest.mark.slow
def test_the_readmes_quick_start_runs_as_written(tmp_path: Path) -> None:
    (block,) = re.findall(
        r"<!-- run this block -->\n```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.S
    )
    assert block.startswith("coyo demo\n")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {
        "coyo-demo", "subset", "scores", "comparison", "report.html",
    }  # fmt: skip
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


@EVERY_PAGE
def test_every_command_line_shown_is_understood(page: Path) -> None:
    for line in _commands(page):
        name, *args = shlex.split(line, comments=True)[1:]
        if name.startswith("-"):
            continue
        command = cli.coyo.get_command(click.Context(cli.coyo), name)
        assert command is not None, line
        command.make_context(name, args)  # raises a usage error where a flag is not there


@EVERY_PAGE
def test_every_python_block_compiles(page: Path) -> None:
    for block in _blocks(page, "python"):
        if "(*" not in block and "=<" not in block and not re.match(r"^\w+\(", block):
            compile(block, str(page), "exec")


@EVERY_PAGE
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://", "#")):
            continue
        name, _, anchor = target.partition("#")
        place = (page.parent / name).resolve()
        assert place.exists(), target
        assert ROOT in place.parents, target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", place.read_text(), re.M)
            assert anchor in {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in heads}


def test_every_page_is_on_the_map() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "index.md" or f"({page.name})" in index, page.name
    records = (ROOT / "docs" / "decisions" / "README.md").read_text()
    for page in (ROOT / "docs" / "decisions").glob("0*.md"):
        assert f"({page.name})" in records, page.name


def test_the_generated_parts_are_current() -> None:
    pages = [str(p) for p in PAGES if "[[[cog" in p.read_text()]
    assert len(pages) >= 7
    done = subprocess.run(
        [sys.executable, "-m", "cogapp", "-I", "tools", "--check", *pages],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\nrun: make docs"


def test_the_words_are_clean() -> None:
    done = subprocess.run(
        [sys.executable, "tools/check_text.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_every_command_has_a_row_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    for name in cli.COMMANDS:
        assert f"| `coyo {name} " in text


# What the reasons of skips say, by what the page of tests says of them.
SKIPS = {
    "`COYO_TEST_DATA`": "COYO_TEST_DATA",
    "published weights of SCRFD": "weights .* cannot be had here",
    "chromium": "chromium",
    "the right to mount a tmpfs": "mount a tmpfs",
    "the right to make network namespaces": "needs network namespaces",
    "an extra": "extra|not installed|playwright|embedding-reader|Xet",
    "a package that carries weights or photographs": "holds the (weights|photographs)",
    "a git checkout": "git checkout",
    "a CUDA device": "CUDA device",
}


def _reasons_of_skips() -> list[str]:
    """Of every skip in the tests, as it is written; "" where it gives none."""
    trees = (ast.parse(path.read_text()) for path in (ROOT / "tests").rglob("*.py"))
    calls = [n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.Call)]
    found = []
    for call in calls:
        name = ast.unparse(call.func).rpartition("pytest.")[2]
        if name in ("importorskip", "mark.skipif", "mark.skip", "skip"):
            given = [each.value for each in call.keywords if each.arg == "reason"]
            given += call.args if name == "skip" else []
            found.append(ast.unparse(given[0]) if given else "")
    return found


def test_every_skip_is_of_a_kind_on_the_page_of_tests() -> None:
    page = (ROOT / "docs" / "tests.md").read_text()
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    used = set()
    for reason in _reasons_of_skips():
        kinds = [kind for kind, said in SKIPS.items() if re.search(said, reason)]
        assert kinds, f"no reason, or none on the page of tests: {reason!r}"
        used |= set(kinds)
    assert used == set(SKIPS)
    assert [kind for kind in SKIPS if kind not in page] == []
    for marker in ("gpu", "hub"):
        unused = f"(marker `{marker}`) | no test carries this marker yet"
        assert f"(marker `{marker}`)" in page
        assert ("mark." + marker not in tests) == (unused in page)


def test_the_table_of_where_is_complete_and_every_example_in_it_is_understood() -> None:
    import polars as pl
    import sqlglot

    from coyo_tools.pieces import where
    from coyo_tools.words.schema import COYO_COLUMNS

    dtypes = {"int64": pl.Int64, "int32": pl.Int32, "float32": pl.Float32, "string": pl.String}
    schema = {column.name: dtypes[column.dtype]() for column in COYO_COLUMNS}
    section = (ROOT / "docs" / "rules.md").read_text().split("## `--where`")[1]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    shown = set()
    for example in re.findall(r"`([^`]+)`", " ".join(rows)):
        sql = example.replace("\\|", "|")  # a pipe is escaped in a Markdown table
        where.compile_where(sql, schema)
        shown |= {type(node) for node in sqlglot.parse_one(sql, dialect="duckdb").walk()}
    assert set(where._handlers()) - shown == set()
