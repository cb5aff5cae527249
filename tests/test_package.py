"""What is around the code: the wheel, the releases, the container, the Makefile."""

from __future__ import annotations

import fnmatch
import importlib.util
import inspect
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import coyo_tools

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = dict(
    line.split("==")
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
)
REQUIREMENTS = [
    Requirement(text)
    for group in [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for text in group
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names in the wheel, built from the tracked files alone."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "docs/", "benchmarks/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
         "--disable-pip-version-check", "-w", str(out), str(source)],
        check=True,
    )  # fmt: skip
    (built,) = out.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        assert sum(info.file_size for info in archive.infolist()) < 12_000_000
        return archive.namelist()


def test_the_wheel_holds_what_the_code_reads(wheel: list[str]) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "coyo_tools"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    assert {name for name in tracked if name and (ROOT / name).exists()} <= set(wheel)
    assert "coyo_tools/py.typed" in wheel


def test_the_wheel_holds_the_licences_and_nothing_else(wheel: list[str]) -> None:
    licences = [name for name in wheel if "dist-info/licenses/" in name]
    assert any(name.endswith("licenses/LICENSE") for name in licences)
    assert any("vocab" in name for name in licences)
    assert any("demo" in name for name in licences)
    assert all(name.startswith(("coyo_tools/", "coyo_tools-")) for name in wheel)
    assert not any("__pycache__" in name for name in wheel)


def test_the_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


# The public face.


@pytest.mark.parametrize("name", coyo_tools.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert inspect.getdoc(getattr(coyo_tools, name))


def test_the_functions_are_the_commands() -> None:
    from coyo_tools.cli import COMMANDS

    assert set(COMMANDS) <= set(coyo_tools.__all__)


def test_names_that_are_not_there_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        coyo_tools.nonsense  # noqa: B018  the access is the test
    assert set(coyo_tools.__all__) <= set(dir(coyo_tools))


def test_installed_and_declared_version_agree() -> None:
    assert version("coyo-tools") == PROJECT["version"]


# The releases.


@pytest.mark.parametrize("wanted", REQUIREMENTS, ids=str)
def test_every_dependency_is_pinned_within_its_range(wanted: Requirement) -> None:
    if wanted.name != "coyo-tools":
        assert Version(PINS[canonicalize_name(wanted.name)]) in wanted.specifier


def test_both_builds_of_opencv_are_one_release() -> None:
    assert PINS["opencv-python"] == PINS["opencv-python-headless"]


def test_every_extra_named_in_an_error_exists() -> None:
    named = set()
    for path in (ROOT / "coyo_tools").rglob("*.py"):
        named |= set(re.findall(r"MissingExtra\.of\(\s*\"(\w+)\"", path.read_text()))
    assert named <= set(PROJECT["optional-dependencies"])


# The container.

DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")


def test_what_the_dockerfile_copies_exists_and_is_not_ignored() -> None:
    rules = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    sources = [
        name
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.M)
        for name in line.split()[:-1]
    ]
    assert "coyo_tools" in sources
    for name in sources:
        assert (ROOT / name).exists()
        kept = not any(fnmatch.fnmatch(name, r) for r in rules if not r.startswith("!"))
        assert kept or f"!{name}" in rules


def test_the_dockerfiles_arguments_are_used_and_its_extras_exist() -> None:
    for argument in re.findall(r"^ARG (\w+)", DOCKERFILE, re.M):
        assert f"${argument}" in DOCKERFILE
    extras = {e for group in re.findall(r"extras=([\w,]+)", DOCKERFILE) for e in group.split(",")}
    assert extras
    assert extras <= set(PROJECT["optional-dependencies"])


def test_the_dockerfile_does_not_run_as_root() -> None:
    last = DOCKERFILE.split("FROM ")[-1]
    assert re.search(r"^USER (?!root)", last, re.M)
    assert 'ENTRYPOINT ["coyo"]' in last


# The Makefile and what continuous integration runs.

MAKEFILE = (ROOT / "Makefile").read_text()


def test_every_target_says_what_it_does() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.M)
    assert phony
    shown = set(re.findall(r"^([a-z-]+):.*## \S", MAKEFILE, re.M))
    assert set(phony.group(1).split()) == shown
    assert {"setup", "check", "test", "docs", "demo", "bench"} <= shown


def test_continuous_integration_does_what_a_contributor_does() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    text = script.read_text()
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert text.rstrip().endswith("make check\nmake test")
    assert "set -euo pipefail" in text


@pytest.fixture
def run_tests() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_tests", ROOT / "tools" / "run_tests.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_test_is_run_by_one_of_both_processes(run_tests: ModuleType) -> None:
    given = [ROOT / each for half in run_tests.halves() for each in half]
    files = [file for each in given for file in ([each] if each.is_file() else each.rglob("*"))]
    tests = [file for file in files if file.match("test_*.py")]
    assert sorted(tests) == sorted((ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize(
    ("failing", "arguments", "status"),
    [("tests/verbs", [], 3), ("tests/words", [], 3), ("no", [], 0), ("-x", ["-x"], 3)],
)
def test_a_failure_of_either_is_one_of_the_whole(
    run_tests: ModuleType, failing: str, arguments: list[str], status: int, monkeypatch: Any
) -> None:
    stands_for_pytest = f"import sys; sys.exit(3 * ({failing!r} in sys.argv))"
    monkeypatch.setattr(run_tests, "PYTEST", (sys.executable, "-c", stands_for_pytest))
    monkeypatch.setattr(run_tests.shutil, "copyfileobj", lambda *_: None)
    assert run_tests.main(arguments) == status


def test_help_of_every_verb_and_setting_is_complete_without_the_docs() -> None:
    from coyo_tools.pieces.rules import RULE_KINDS
    from coyo_tools.words.config import options_of

    for name in coyo_tools.__all__:
        text = inspect.getdoc(getattr(coyo_tools, name)) or ""
        assert len(text) > 20, name
        assert "docs/" not in text, f"{name}: help() points to a file that a user may not have"
    for kind in RULE_KINDS:
        assert f"{kind.name}=" in (inspect.getdoc(coyo_tools.filter) or "")
    for settings in (coyo_tools.FilterSettings, coyo_tools.DownloadSettings):
        for option, spec in options_of(settings).items():
            assert f"{option} (" in (settings.__doc__ or "")
            assert spec.help in (settings.__doc__ or "")
