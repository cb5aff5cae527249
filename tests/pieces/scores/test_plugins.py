"""Scores of other packages: found by their entry points, named where they are wrong."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from coyo_tools.pieces.scores import known_scores, score_of, scores_of
from coyo_tools.words.errors import PluginError
from tests.tars import write_shards

Install = Callable[..., None]
GOOD = """
from dataclasses import replace
from coyo_tools.pieces.scores.clip import VIT_B_32
from coyo_tools.pieces.scores.weights_files import CLIP_VIT_B_32
from coyo_tools.pieces.scores.base import TEXT, Score, ScoreColumn
def declared(name):
    return Score(name=name, columns=(ScoreColumn(name, "int32", "a test"),), inputs=(TEXT,),
        model="none", licence="none", load=lambda setup: None, exact=True)
SCORE = declared("vowels")
BOTH = (SCORE, declared("consonants"))
CLASH = declared("word_count")
PUBLISHED = declared("watermark_score")
KEY = declared("key")
ERROR = declared("error")
TWICE = (SCORE, SCORE)
NAMED_SIZE = replace(SCORE, name="size")
NAMED_TWICE = (SCORE, replace(declared("consonants"), name="vowels"))
OTHER_WEIGHTS = replace(SCORE, weights=replace(CLIP_VIT_B_32, sha256="00"))
OTHER_ENCODER = replace(SCORE, encoder=replace(VIT_B_32, weights=OTHER_WEIGHTS.weights))
SAME_ENCODER = replace(SCORE, encoder=VIT_B_32)
NUMBER = 3
EMPTY = ()
"""


def _forget() -> None:
    known_scores.cache_clear()
    score_of.cache_clear()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    def install(*values: str) -> None:
        (tmp_path / "vowel_scores.py").write_text(GOOD)
        (tmp_path / "broken_scores.py").write_text("import a_package_that_is_not_there\n")
        info = tmp_path / "vowel_scores-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vowel-scores\nVersion: 1.0\n")
        lines = [f"p{number} = {value}" for number, value in enumerate(values)]
        (info / "entry_points.txt").write_text("\n".join(["[coyo_tools.scores]", *lines]))
        monkeypatch.syspath_prepend(str(tmp_path))
        _forget()

    yield install
    _forget()
    sys.modules.pop("vowel_scores", None)


def test_one_or_several_are_found(install: Install) -> None:
    install("vowel_scores:BOTH")
    assert [score.name for score in known_scores()[-2:]] == ["vowels", "consonants"]
    assert [score.name for score in scores_of(["consonants", "word_count"])] == [
        "word_count",
        "consonants",
    ]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("vowel_scores:CLASH", "gives a column 'word_count', which there is already"),
        ("vowel_scores:PUBLISHED", "gives a column 'watermark_score', which there is already"),
        ("vowel_scores:KEY", "gives a column 'key', which there is already"),
        ("vowel_scores:ERROR", "gives a column 'error', which there is already"),
        ("vowel_scores:TWICE", "gives a column 'vowels', which there is already"),
        ("vowel_scores:NAMED_SIZE", "is named 'size', as another score is"),
        ("vowel_scores:NAMED_TWICE", "is named 'vowels', as another score is"),
        ("vowel_scores:OTHER_WEIGHTS", "has weights named 'clip_similarity_vitb32', which"),
        ("vowel_scores:OTHER_ENCODER", "has weights named 'clip_similarity_vitb32', which"),
        ("vowel_scores:NUMBER", "is neither a Score nor a tuple of them"),
        ("vowel_scores:EMPTY", "is neither a Score nor a tuple of them"),
        ("vowel_scores:ABSENT", "cannot be imported: AttributeError"),
        ("broken_scores:SCORE", "cannot be imported: ModuleNotFoundError: No module named"),
    ],
)
def test_a_wrong_one_is_named_with_its_package(install: Install, value: str, said: str) -> None:
    install(value)
    with pytest.raises(PluginError) as raised:
        known_scores()
    sentence = str(raised.value)
    assert sentence.startswith(f"vowel-scores: the score plugin p0 = {value} {said}")
    assert sentence.endswith("pip uninstall vowel-scores")


def test_an_encoder_of_this_package_may_be_looked_through(install: Install) -> None:
    install("vowel_scores:SAME_ENCODER")
    assert known_scores()[-1].encoder in {score.encoder for score in known_scores()[:-1]}


def test_two_plugins_do_not_share_a_column(install: Install) -> None:
    install("vowel_scores:SCORE", "vowel_scores:BOTH")
    with pytest.raises(PluginError, match=r"p1 = .*'vowels', which there is already"):
        known_scores()


def test_the_command_line_says_it_in_one_sentence(tmp_path: Path, install: Install) -> None:
    install("broken_scores:SCORE")
    done = subprocess.run(
        [sys.executable, "-m", "coyo_tools", "score", "--list"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=_environment(tmp_path),
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("coyo: vowel-scores: the score plugin p0")
    assert done.stderr.count("\n") == 1


def _environment(folder: Path) -> dict[str, str]:
    root = str(Path(__file__).parents[3])
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(folder), root))}


def test_the_example_of_the_documentation(tmp_path: Path) -> None:
    """As written in docs/adding-a-score.md: installed, tested by its test, run by `coyo score`."""
    page = (Path(__file__).parents[3] / "docs" / "adding-a-score.md").read_text("utf-8")
    module, its_test = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    (toml,) = re.findall(r"^```toml\n(.*?)^```", page, re.M | re.S)
    project = tomllib.loads(toml)["project"]
    (tmp_path / "coyo_brightness.py").write_text(module)
    (tmp_path / "test_brightness.py").write_text(its_test)
    info = tmp_path / "coyo_brightness-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    ((group, points),) = project["entry-points"].items()
    lines = [f"{name} = {value}" for name, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines]))
    write_shards(tmp_path / "shards", 1, 3)
    (command,) = re.findall(r"^```text\ncoyo (.*?)\n```", page, re.M | re.S)
    for arguments in (
        ["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_brightness.py"],
        ["-m", "coyo_tools", *command.split()],
    ):
        done = subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=_environment(tmp_path),
        )
        assert done.returncode == 0, done.stdout + done.stderr
    values = pq.read_table(tmp_path / "scores" / "00000.parquet").column("brightness").to_pylist()
    assert len(values) == 3
    assert all(0 < value < 1 for value in values)
