"""`demo`: the whole way on bundled pictures, served from this machine."""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coyo_tools.machinery.storage import LocalFolder, is_remote, local_path
from coyo_tools.words.config import (
    DownloadSettings,
    FilterSettings,
    ScoreSettings,
)
from coyo_tools.words.errors import SettingsConflict, SettingsError
from coyo_tools.words.progress import Listener, silent

if TYPE_CHECKING:
    from coyo_tools.pieces.demo_server import DemoServer

RECORD = "demo.json"  # says that the folder is a demo's, and where its pictures were served
_PORT = 7700  # tried first, so that two demos have the same urls
_OWN = frozenset((RECORD, "metadata", "subset", "shards", "scores", "comparison", "report.html"))
_TEXT_COLUMNS = ("text_length", "word_count", "num_tokens_bert", "num_tokens_gpt")
RULES = (
    {"min_side": 256},
    {"max_watermark": 0.6},
    {"text_excludes": "(?i)wallpaper|download"},
    {"min_clip_l14": 0.2},
)
NEXT = (
    "coyo inspect hf://datasets/kakaobrain/coyo-700m",
    "coyo filter hf://datasets/kakaobrain/coyo-700m -o subset --limit-files 1 "
    "--min-clip-l14 0.3 --max-watermark 0.3",
    "coyo download subset -o shards --image-size 384",
)


@dataclass(frozen=True)
class DemoStep:
    """One command of the demo. line: as a user would type it. result: what the verb returned."""

    command: str
    line: str
    result: Any
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "command": self.command,
            "line": self.line,
            "seconds": round(self.seconds, 3),
            "result": self.result.to_dict(),
        }


@dataclass(frozen=True)
class DemoResult:
    """What the demo did. notes: what it left out, and why. requests: the server answered.

    next: commands to try on one's own data.
    """

    folder: str
    steps: tuple[DemoStep, ...]
    report: str
    notes: tuple[str, ...]
    requests: int
    next: tuple[str, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for --json."""
        return {
            "folder": self.folder,
            "report": self.report,
            "steps": [step.to_dict() for step in self.steps],
            "notes": list(self.notes),
            "requests": self.requests,
            "next": list(self.next),
            "seconds": round(self.seconds, 3),
        }


def _ignore(_: DemoStep) -> None:
    """The teller that says nothing."""


def demo(
    folder: str | os.PathLike[str] = "coyo-demo",
    *,
    progress: Listener = silent,
    tell: Callable[[DemoStep], None] = _ignore,
) -> DemoResult:
    """Filter, download, score, compare and report about 60 bundled pictures.

    A web server on this machine serves them, misbehaving as the web does; no other network is
    used. folder: a new or empty local folder, or an earlier demo's, which is completed. tell:
    called after each command. Scores that need a model run only where its packages are installed
    and its weights are on this machine already.

    Raises SettingsError where the folder holds anything else.
    """
    started = time.monotonic()
    place = _own_folder(folder)
    with place.lock(), _served(place) as server:
        run = _Run(place.path, os.fspath(folder).rstrip("/"), progress, tell)
        columns, notes = score_columns()
        run.all_steps(server.base_url, columns)
        return DemoResult(
            folder=place.url,
            steps=tuple(run.steps),
            report=f"{run.shown}/report.html",
            notes=notes,
            requests=sum(server.hits.values()),
            next=NEXT,
            seconds=time.monotonic() - started,
        )


def _own_folder(folder: str | os.PathLike[str]) -> LocalFolder:
    """The demo's folder, made where it is absent. Raises SettingsError where it is another's."""
    url = os.fspath(folder)
    if is_remote(url):
        raise SettingsError("the demo wants a local folder", where=url, todo="name one")
    path = local_path(url)
    names = sorted(p.name for p in path.iterdir()) if path.is_dir() else []
    names = [name for name in names if not name.startswith(".")]
    strangers = names if RECORD not in names else [name for name in names if name not in _OWN]
    if strangers:
        raise SettingsError(
            f"holds files that are not the demo's ({strangers[0]})",
            where=url,
            todo="name a new or empty folder: coyo demo DIR",
        )
    place = LocalFolder(str(path))
    place.create()
    return place


@contextlib.contextmanager
def _served(place: LocalFolder) -> Iterator[DemoServer]:
    """The pictures served, where the folder's urls say so if that port is still to be had."""
    with _server(_recorded_port(place)) as server:
        place.write_json(RECORD, {"coyo_tools_demo": 1, "base_url": server.base_url})
        yield server


def _recorded_port(place: LocalFolder) -> int:
    try:
        return int(str(place.read_json(RECORD)["base_url"]).rsplit(":", 1)[1])
    except (FileNotFoundError, ValueError, KeyError, TypeError, IndexError):
        return _PORT


@contextlib.contextmanager
def _server(port: int) -> Iterator[DemoServer]:
    from coyo_tools.pieces.demo_server import DemoServer

    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(DemoServer(port))
        except OSError:  # taken: any free one, and the folder's urls change with it
            server = stack.enter_context(DemoServer())
        yield server


def score_columns() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The published columns that can be scored here and now, and a line on those that cannot."""
    from coyo_tools.pieces.scores import SCORES
    from coyo_tools.pieces.scores.base import weights_of
    from coyo_tools.pieces.scores.weights_cache import at_hand
    from coyo_tools.words.schema import COYO

    models = [s for s in SCORES if weights_of([s]) and any(c.name in COYO for c in s.columns)]
    ready = [
        score
        for score in models
        if not score.missing_packages() and all(map(at_hand, weights_of([score]).values()))
    ]
    missing = [score.name for score in models if score not in ready]
    note = (
        f"Left out, as their packages or weights are not on this machine: {', '.join(missing)} "
        "(pip install 'coyo-tools[score]'; coyo score fetches the weights)."
    )
    columns = ("image_phash", *_TEXT_COLUMNS, *(c.name for s in ready for c in s.columns))
    return columns, (note,) if missing else ()


class _Run:
    """The commands one after the other. shown: the folder as the user wrote it."""

    def __init__(
        self, path: Path, shown: str, progress: Listener, tell: Callable[[DemoStep], None]
    ) -> None:
        self.shown, self.steps = shown, list[DemoStep]()
        self._path, self._progress, self._tell = path, progress, tell

    def all_steps(self, base_url: str, columns: tuple[str, ...]) -> None:
        """Every step of the demo; those done before are left as they are."""
        from coyo_tools.pieces.demo_data import write_demo_metadata

        write_demo_metadata(self._path / "metadata", base_url)
        self._filter()
        self._download()
        self._score(columns)
        self._compare()
        self._report()

    def _at(self, name: str) -> str:
        return f"{self.shown}/{name}"

    def _filter(self) -> None:
        from coyo_tools.verbs.filter import filter

        flags = [w for rule in RULES for n, v in rule.items() for w in (_flag(n), str(v))]
        words = ["filter", self._at("metadata"), "-o", self._at("subset"), *flags]
        settings = FilterSettings(rules=RULES)
        self._step(
            words,
            lambda overwrite: filter(
                self._at("metadata"),
                self._at("subset"),
                settings,
                overwrite=overwrite,
                progress=self._progress,
            ),
        )

    def _download(self) -> None:
        from coyo_tools.verbs.download import download

        settings = DownloadSettings(
            samples_per_shard=25,
            timeout_s=3.0,
            verify_phash=True,
            allow_private_addresses=True,
        )
        words = ["download", self._at("subset"), "-o", self._at("shards"), "--verify-phash"]
        words += ["--timeout", "3", "--samples-per-shard", "25", "--allow-private-addresses"]
        self._step(
            words,
            lambda overwrite: download(
                self._at("subset"),
                self._at("shards"),
                settings,
                overwrite=overwrite,
                progress=self._progress,
            ),
        )

    def _score(self, columns: tuple[str, ...]) -> None:
        from coyo_tools.verbs.score import score

        words = ["score", self._at("shards"), "-o", self._at("scores")]
        settings = ScoreSettings(columns=columns)
        self._step(
            words + [word for name in columns for word in ("-c", name)],
            lambda overwrite: score(
                self._at("shards"),
                self._at("scores"),
                settings,
                overwrite=overwrite,
                progress=self._progress,
            ),
        )

    def _compare(self) -> None:
        from coyo_tools.verbs.compare import compare

        scores, shards, out = self._at("scores"), self._at("shards"), self._at("comparison")
        self._step(
            ["compare", scores, shards, "-o", out],
            lambda overwrite: compare(
                scores, shards, out, overwrite=overwrite, progress=self._progress
            ),
        )

    def _report(self) -> None:
        from coyo_tools.verbs.report import report

        folders = [self._at(name) for name in ("subset", "shards", "scores", "comparison")]
        self._step(
            ["report", *folders, "-o", self._at("report.html")],
            lambda _: report(folders, self._at("report.html"), progress=self._progress),
        )

    def _step(self, words: list[str], work: Callable[[bool], Any]) -> None:
        """Run one verb; where the folder belongs to an older demo, start it anew."""
        started = time.monotonic()
        try:
            result = work(False)
        except SettingsConflict:
            result = work(True)
        seconds = time.monotonic() - started
        step = DemoStep(words[0], shlex.join(["coyo", *words]), result, seconds)
        self.steps.append(step)
        self._tell(step)


def _flag(rule: str) -> str:
    return "--" + rule.replace("_", "-")
