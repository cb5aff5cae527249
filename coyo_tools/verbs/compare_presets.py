"""compare_presets: how many rows of a source several presets keep, and how these overlap."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coyo_tools.machinery import engine
from coyo_tools.machinery.traffic import Fetched, Traffic, told_of_waits
from coyo_tools.pieces import source as sources
from coyo_tools.pieces.funnel import tests_of
from coyo_tools.pieces.held import Held
from coyo_tools.pieces.overlap import MOST_SETS, Overlap, overlap_of
from coyo_tools.pieces.recipes import is_recipe_file
from coyo_tools.pieces.rules import AnyRule, rules_of
from coyo_tools.pieces.selections import check_per, needs_cut, taken_per
from coyo_tools.pieces.source import OpenPart, SourceLike
from coyo_tools.stages.overlap import patterns_in
from coyo_tools.verbs.passes import Passes, resolve
from coyo_tools.verbs.stats import MOST_AT_ONCE
from coyo_tools.words.config import DEFAULT_SOURCE, OverlapSettings
from coyo_tools.words.errors import SettingsError
from coyo_tools.words.progress import Listener, silent


@dataclass(frozen=True)
class PresetOverlap:
    """What `compare_presets` found. rules: of each preset, as the funnel names them, in order.

    overlap: sizes and intersections, in rows. fetched: of a remote source. seconds: it took.
    """

    source: str
    rules: Mapping[str, Sequence[str]]
    overlap: Overlap
    seconds: float
    fetched: Fetched | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for --json."""
        return {
            "source": self.source,
            "rules": {name: list(labels) for name, labels in self.rules.items()},
            **self.overlap.to_dict(),
            "seconds": round(self.seconds, 3),
            "fetched": self.fetched.to_dict() if self.fetched else None,
        }


def compare_presets(
    presets: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    source: SourceLike = DEFAULT_SOURCE,
    settings: OverlapSettings | None = None,
    *,
    progress: Listener = silent,
) -> PresetOverlap:
    """Count the rows that each preset keeps of a source, and those that several of them share.

    presets: names of presets, and recipe files (`.yaml`), of which `filter` and `sample` count.
    Exact, in bounded memory; nothing is written. What a preset selects over all rows takes passes
    of its own, then one pass counts for all of them.

    Raises RuleError, SettingsError, SourceError, SchemaError.
    """
    started = time.monotonic()
    settings = settings or OverlapSettings()
    several = [presets] if isinstance(presets, str | os.PathLike) else presets
    rules = _rules([os.fspath(each) for each in several], settings.per_part)
    traffic = Traffic()
    progress = told_of_waits(progress, traffic, "presets")
    found = sources.find(source, schema=settings.schema, traffic=traffic)
    found = found.first(settings.limit_files)
    overlap = _overlap(rules, found.open_all(), settings, progress)
    labels = {name: tuple(rule.label for rule in each) for name, each in rules.items()}
    return PresetOverlap(found.url, labels, overlap, time.monotonic() - started, found.fetched)


def _rules(presets: Sequence[str], per_part: bool | None) -> dict[str, tuple[AnyRule, ...]]:
    """The rules of each, by name. Raises RuleError, SettingsError."""
    if not presets or len(set(presets)) < len(presets) or len(presets) > MOST_SETS:
        raise SettingsError(
            f"takes one to {MOST_SETS} presets, each once", where="coyo presets compare"
        )
    kind = {name: "recipe" if is_recipe_file(name) else "preset" for name in presets}
    rules = {name: rules_of([{kind[name]: name}]) for name in presets}
    if per_part is None:
        return rules
    check_per(rule for each in rules.values() for rule in each)
    per = "part" if per_part else "source"
    return {name: taken_per(each, per) for name, each in rules.items()}


def _overlap(
    rules: Mapping[str, tuple[AnyRule, ...]],
    parts: Sequence[OpenPart],
    settings: OverlapSettings,
    progress: Listener,
) -> Overlap:
    for part in parts:
        for each in rules.values():
            tests_of(each, part)  # every part must be able to answer before one is read
    workers = settings.workers or min(MOST_AT_ONCE, engine.cores())
    patterns: list[Counter[int]] = []
    with tempfile.TemporaryDirectory(prefix="coyo-presets-") as scratch:
        several = any(needs_cut(rule) for each in rules.values() for rule in each)
        held = Held(Path(scratch)) if several else None  # what several passes need, fetched once
        passes = Passes("presets", [part.holding(held) for part in parts], workers, progress)
        resolved = [resolve(each, passes, lambda _: None) for each in rules.values()]
        passes.each(
            lambda part, stopped: _counted(part, resolved, stopped),
            lambda _, found: patterns.append(found),
            "overlap",
        )
    return overlap_of(list(rules), sum(patterns, Counter()))


def _counted(
    part: OpenPart, sets: Sequence[Sequence[AnyRule]], stopped: Callable[[], bool]
) -> Iterator[tuple[int, Counter[int]]]:
    yield from patterns_in(part, sets, stopped)
    if part.held is not None:
        part.held.drop(part)
