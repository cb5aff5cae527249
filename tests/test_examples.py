"""The examples run as they are, in a folder where `coyo demo` has been run."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the demo's output in `coyo-demo`, where the examples look for it."""
    place = tmp_path_factory.mktemp("examples")
    done = _run(place, "-m", "coyo_tools", "demo")
    assert done.returncode == 0, done.stderr
    return place


def _run(place: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={
            **os.environ,
            "HF_HOME": str(place / "hf"),
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        },
    )


def _shown(place: Path, name: str) -> str:
    done = _run(place, str(EXAMPLES / name))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_run_here_and_says_what_it_shows() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {
        "train_webdataset.py",
        "load_with_datasets.py",
        "notebook_style.py",
    }
    for path in EXAMPLES.glob("*.py"):
        assert "Shows: " in path.read_text()
        assert f"python examples/{path.name}" in path.read_text()


@pytest.mark.skipif(not find_spec("torch"), reason="the score extra is not installed")
@pytest.mark.skipif(not find_spec("webdataset"), reason="the datasets extra is not installed")
def test_train_from_the_shards(place: Path) -> None:
    lines = _shown(place, "train_webdataset.py").splitlines()
    assert len(lines) == 5
    losses = [float(line.split("loss ")[1].split()[0]) for line in lines]
    assert all(0 < loss < 10 for loss in losses)


@pytest.mark.skipif(not find_spec("datasets"), reason="the datasets extra is not installed")
def test_load_metadata_and_scores(place: Path) -> None:
    head, *rows = _shown(place, "load_with_datasets.py").splitlines()
    kept, fetched = (int(word) for word in head.split() if word.isdigit())
    assert kept > fetched > 0
    assert len(rows) == 5
    assert all("same hash: True" in row or "same hash: False" in row for row in rows)


def test_the_notebook(place: Path) -> None:
    shown = _shown(place, "notebook_style.py")
    assert "strict keeps" in shown
    assert shown.rstrip().splitlines()[-1].startswith("RuleError: ")
    assert "did you mean 'watermark_score'" in shown
    assert not (place / "coyo-notebook" / "never").exists()
