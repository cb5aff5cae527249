"""run: every stage of a recipe, or a run again as its manifest describes it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from coyo_tools.machinery.manifest import MANIFEST, Manifest, manifest_in, read_manifest
from coyo_tools.machinery.refusals import difference_between
from coyo_tools.machinery.storage import folder_at, is_remote, local_path
from coyo_tools.pieces import source as sources
from coyo_tools.pieces.recipes import Recipe, recipe_at, settings_of
from coyo_tools.pieces.rules import rules_of
from coyo_tools.pieces.small_files import read_bytes
from coyo_tools.words.config import (
    DEFAULT_SOURCE,
    DownloadSettings,
    FilterSettings,
    ScoreSettings,
)
from coyo_tools.words.errors import CorruptFile, SettingsError, SourceError, SourceNotFound
from coyo_tools.words.progress import Listener, silent

SUBSET, SHARDS, SCORES, COMPARISON = "subset", "shards", "scores", "comparison"
PAGE = "report.html"


@dataclass(frozen=True)
class RunStep:
    """A stage that ran. command: its verb. result: what the verb returned."""

    command: str
    out: str
    result: Any


@dataclass(frozen=True)
class RunResult:
    """What `run` did. steps: in order. differs: of a manifest that was repeated, what came out
    differently, or None."""

    out: str
    steps: tuple[RunStep, ...]
    differs: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for --json."""
        steps = [{"command": s.command, "out": s.out, **s.result.to_dict()} for s in self.steps]
        return {"out": self.out, "steps": steps, "differs": self.differs}


Teller = Callable[[RunStep], None]


def _ignore(_: RunStep) -> None:
    """The teller that says nothing."""


def run(
    recipe: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    source: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: Listener = silent,
    tell: Teller = _ignore,
) -> RunResult:
    """Run every stage of a recipe, or repeat a run from its manifest.json.

    recipe: a YAML file with the keys source, filter (a list of rules), sample, download, score,
    compare and report (settings by name), or the manifest.json of `filter`, `download` or `score`.
    out: of a recipe a folder that holds one a stage (subset, shards, scores, comparison,
    report.html), by default called as the recipe; of a manifest the folder to write, by default
    that of the manifest with `-again`. source: in place of the one that the recipe or manifest
    names; a download's or score's manifest names none. tell: called after each stage.

    A manifest of `filter` gives the same bytes again where the same versions run it. Raises
    SettingsError before anything is done where the recipe asks for what is not there, SourceError
    where the input is not the manifest's, and the errors of each verb.
    """
    place, named = os.fspath(recipe), None if source is None else os.fspath(source)
    if place.endswith(".json"):
        again = _Again(place, named)
        return again.run(os.fspath(out or f"{again.name}-again"), overwrite, progress, tell)
    wanted = recipe_at(place)
    stages = _Stages(wanted, named, os.fspath(out or PurePosixPath(place).stem))
    return stages.run(overwrite, progress, tell)


class _Stages:
    """A recipe's stages, in their order, each reading what an earlier one wrote."""

    def __init__(self, recipe: Recipe, source: str | None, out: str) -> None:
        self._recipe, self._out = recipe, out.rstrip("/")
        self._metadata = source or recipe.source or DEFAULT_SOURCE
        self._rules = rules_of(recipe.rules)
        self._steps: list[RunStep] = []
        _check(recipe)

    def run(self, overwrite: bool, progress: Listener, tell: Teller) -> RunResult:
        """Run them all; what is complete already is left as it is."""
        more: dict[str, Any] = {"overwrite": overwrite, "progress": progress}
        stages = self._recipe.stages

        def done(command: str, out: str, result: Any) -> str:
            self._steps.append(RunStep(command, out, result))
            tell(self._steps[-1])
            return out

        metadata, pictures = self._metadata, None
        if self._recipe.filters:
            metadata = done("filter", *self._filter(more))
        if "download" in stages:
            from coyo_tools.verbs.download import download

            place = f"{self._out}/{SHARDS}"
            pictures = done(
                "download", place, download(metadata, place, stages["download"], **more)
            )
        if "score" in stages:
            from coyo_tools.verbs.score import score

            place = f"{self._out}/{SCORES}"
            done("score", place, score(pictures or metadata, place, stages["score"], **more))
        if "compare" in stages:
            from coyo_tools.verbs.compare import compare

            scores, place = f"{self._out}/{SCORES}", f"{self._out}/{COMPARISON}"
            done("compare", place, compare(scores, metadata, place, stages["compare"], **more))
        if "report" in stages:
            from coyo_tools.verbs.report import report

            folders, place = [step.out for step in self._steps], f"{self._out}/{PAGE}"
            done("report", place, report(folders, place, stages["report"], progress=progress))
        return RunResult(self._out, tuple(self._steps))

    def _filter(self, more: Mapping[str, Any]) -> tuple[str, Any]:
        from coyo_tools.verbs.filter import filter

        place = f"{self._out}/{SUBSET}"
        settings = FilterSettings(rules=tuple(rule.as_recipe() for rule in self._rules))
        return place, filter(self._metadata, place, settings, **more)


def _check(recipe: Recipe) -> None:
    """Refuse what cannot be done, before anything is. Raises SettingsError."""
    where, stages = recipe.where, recipe.stages
    for name in recipe.not_built:
        raise SettingsError(
            f"asks for {name}, which this version does not have", where=where, todo="leave it out"
        )
    if not recipe.filters and not stages:
        raise SettingsError("names no stage", where=where, todo="add filter, download or score")
    if "compare" in stages and "score" not in stages:
        raise SettingsError("compares, but scores nothing", where=where, todo="add score")
    if not recipe.filters and not stages.keys() & {"download", "score"}:
        raise SettingsError("reports, but makes nothing to report", where=where)
    if "score" in stages:
        from coyo_tools.pieces.scores import choose

        score = stages["score"]
        choose(score.columns, score.model, score.pretrained)


class _Again:
    """A run repeated from its manifest."""

    def __init__(self, place: str, source: str | None) -> None:
        self._manifest = _manifest_at(place)
        self.name = PurePosixPath(place).parent.name or "run"
        if place == MANIFEST:
            self.name = PurePosixPath(os.path.abspath(place)).parent.name  # noqa: PTH100  a name
        self._place = place
        self._named = source is not None
        self._source = source or self._manifest.result.get("source")

    def run(self, out: str, overwrite: bool, progress: Listener, tell: Teller) -> RunResult:
        """Run the command with the manifest's settings and inputs."""
        verb, settings = _verb_of(self._manifest, self._place)
        if self._source is None:
            raise SettingsError(
                f"a manifest of `coyo {self._manifest.command}` does not say where its input lies",
                where=self._place,
                todo="name it with --source",
            )
        self._check_inputs(getattr(settings, "schema", "auto"))
        result = verb(self._source, out, settings, overwrite=overwrite, progress=progress)
        step = RunStep(self._manifest.command, out, result)
        tell(step)
        made = read_manifest(folder_at(out))
        assert made is not None
        return RunResult(out, (step,), _difference(self._manifest, made))

    def _check_inputs(self, schema: str) -> None:
        """The input has to be the same, file by file; shards are compared afterwards."""
        listed = [dict(each) for each in self._manifest.inputs]
        if not listed or not all("footer_sha256" in each for each in listed):
            return
        parts = self._found(schema).first(self._manifest.settings.get("limit_files")).open_all()
        here = dataclasses.replace(self._manifest, inputs=[part.identity() for part in parts])
        differing = difference_between(self._manifest, here)
        if differing:
            raise SourceError(
                f"is not what {self._place} was made from: {differing}",
                where=self._source,
                todo="name the right one with --source",
            )

    def _found(self, schema: str) -> sources.Source:
        assert self._source is not None
        try:
            return sources.find(self._source, schema=schema)
        except SourceNotFound as error:
            if self._named:
                raise
            fixed = is_remote(self._source) or local_path(self._source).is_absolute()
            seen_from = "" if fixed else ", seen from the folder it ran in"
            raise SourceNotFound(
                f"{error.what}: it is the source that {self._place} names{seen_from}",
                where=self._source,
                todo="name it with --source",
            ) from error


def _manifest_at(place: str) -> Manifest:
    try:
        found = manifest_in(read_bytes(place))
    except ValueError as error:
        raise CorruptFile("is no manifest of this tool", where=place) from error
    if not found.complete:
        raise SourceError(
            f"`coyo {found.command}` has not finished this folder",
            where=place,
            todo="run that command again first: it goes on where it stopped",
        )
    return found


def _verb_of(manifest: Manifest, place: str) -> tuple[Callable[..., Any], Any]:
    """The verb and its settings, as the manifest has them. Raises SettingsError."""
    said = dict(manifest.settings)
    match manifest.command:
        case "filter":
            from coyo_tools.verbs.filter import filter

            rules = tuple(rule.as_recipe() for rule in rules_of(said.pop("rules", ())))
            return filter, dataclasses.replace(
                settings_of(FilterSettings, said, place), rules=rules
            )
        case "download":
            from coyo_tools.verbs.download import download

            return download, settings_of(DownloadSettings, said, place)
        case "score":
            from coyo_tools.verbs.score import score

            said.pop("weights", None)  # by digest; the files are found as usual
            return score, settings_of(ScoreSettings, said, place)
    raise SettingsError(
        f"`coyo {manifest.command}` cannot be repeated from its manifest",
        where=place,
        todo="run the command itself",
    )


def _difference(before: Manifest, now: Manifest) -> str | None:
    """What came out differently, as a phrase."""
    differing = difference_between(before, now)
    if differing:
        return differing
    if before.digest != now.digest:
        return "other rows: the digest differs"
    names = _differing(before.result, now.result)
    if not names:
        return None
    versions = _differing(before.versions, now.versions)
    why = f", other versions of {', '.join(versions)}" if versions else ""
    return f"the same rows, but {', '.join(names)} differ{why}"


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> Sequence[str]:
    return [name for name in {**a, **b} if a.get(name) != b.get(name)]
