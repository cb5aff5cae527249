"""Recipes: what every stage is to do, in one YAML file; and the presets, which are such files."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, TypeVar

from coyo_tools.pieces.small_files import read_bytes
from coyo_tools.words.config import (
    CompareSettings,
    DownloadSettings,
    ReportSettings,
    ScoreSettings,
    options_of,
)
from coyo_tools.words.errors import RuleError, SettingsError, SourceError, nearest
from coyo_tools.words.options import fitting

Settings = TypeVar("Settings")
# In the order in which they run.
STAGES: Mapping[str, type[Any]] = {
    "download": DownloadSettings,
    "score": ScoreSettings,
    "compare": CompareSettings,
    "report": ReportSettings,
}
NOT_BUILT = ("dedup",)
_ABOUT = ("name", "about", "paper", "numbers")
_KEYS = (*_ABOUT, "source", "filter", "sample", *NOT_BUILT, *STAGES)


@dataclass(frozen=True)
class Recipe:
    """A recipe as it was read. rules: of `filter` and `sample`, as `rules_of` takes them.

    stages: settings by stage, of those that the recipe names. not_built: stages named that this
    version does not have.
    """

    where: str
    source: str | None = None
    rules: tuple[Mapping[str, Any], ...] = ()
    filters: bool = False
    stages: Mapping[str, Any] = field(default_factory=dict)
    not_built: tuple[str, ...] = ()


@dataclass(frozen=True)
class Preset:
    """Rules with a name. about: what they are for. paper: where they are from. numbers: what that
    source reports, or how the bounds were chosen."""

    name: str
    about: str
    paper: str
    numbers: str
    rules: tuple[Mapping[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for --json."""
        return dataclasses.asdict(self)


def is_recipe_file(name: str) -> bool:
    """Whether a name stands for a recipe's file, and not for a preset."""
    return name.endswith((".yaml", ".yml"))


def recipe_at(place: str) -> Recipe:
    """Read a recipe, local or remote. Raises SourceError, SettingsError, RuleError."""
    return recipe_of(_yaml(read_bytes(place), place), place)


def _yaml(data: bytes, where: str) -> Any:
    import yaml

    try:
        return _loader()(data.decode(), where).get_single_data()
    except UnicodeDecodeError as error:
        raise SourceError("is no UTF-8 text", where=where) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise SourceError(f"is no YAML{place}", where=where, todo="see docs/recipes.md") from error


@functools.cache
def _loader() -> Callable[[str, str], Any]:
    """YAML's safe loader, of a text and its place, to which a key that comes twice is an error:
    by itself it takes the last and drops the others."""
    import yaml

    class Loader(yaml.SafeLoader):
        def __init__(self, text: str, where: str) -> None:
            super().__init__(text)
            self._where = where

        def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
            node: yaml.MappingNode = super().compose_mapping_node(anchor)
            names = [str(key.value) for key, _ in node.value]
            for number, (key, _) in enumerate(node.value):
                if names[number] in names[:number]:
                    raise SettingsError(
                        f"has {names[number]!r} twice, again at line {key.start_mark.line + 1}",
                        where=self._where,
                        todo="write it once",
                    )
            return node

    return Loader


def recipe_of(data: Any, where: str) -> Recipe:
    """The recipe in parsed YAML. Raises SettingsError with the nearest name."""
    if not isinstance(data, Mapping):
        raise SettingsError("is no recipe: it is not a mapping", where=where)
    _check_keys(data, _KEYS, where)
    source = data.get("source")
    if source is not None and not isinstance(source, str):
        raise SettingsError("source is not a text", where=where)
    not_built = tuple(name for name in NOT_BUILT if name in data)
    sample = () if not_built else _sample(data, where)
    return Recipe(
        where,
        source,
        (*_rules(data.get("filter"), where), *sample),
        "filter" in data or "sample" in data,
        {
            name: settings_of(kind, data[name] or {}, f"{where}: {name}")
            for name, kind in STAGES.items()
            if name in data
        },
        not_built,
    )


def _check_keys(found: Mapping[Any, Any], known: Sequence[str], where: str) -> None:
    for name in found:
        if name not in known:
            near = nearest(str(name), list(known))
            raise SettingsError(
                f"has no {name!r}",
                where=where,
                todo=f"did you mean {near!r}?" if near else f"there are {', '.join(known)}",
            )


def _rules(found: Any, where: str) -> list[Mapping[str, Any]]:
    if found is None:
        return []
    if not isinstance(found, list):
        raise RuleError("filter is not a list of rules", where=where, todo="begin each with '- '")
    for entry in found:
        if isinstance(entry, Mapping) and "recipe" in entry:
            raise RuleError("a recipe names no other recipe", where=where, todo="write its rules")
    return found


def _sample(data: Mapping[str, Any], where: str) -> tuple[Mapping[str, Any], ...]:
    if "sample" not in data:
        return ()
    found = data["sample"]
    if not isinstance(found, Mapping) or len(found.keys() & {"rows", "share"}) != 1:
        raise SettingsError("sample needs rows or share", where=where, todo="{rows: N, seed: 0}")
    _check_keys(found, ("rows", "share", "seed"), f"{where}: sample")
    amount = found.get("rows", found.get("share"))
    return ({"sample": amount, "seed": found.get("seed", 0)},)


def settings_of(kind: type[Settings], found: Any, where: str) -> Settings:
    """A settings object from a recipe's mapping, by field or flag name. Raises SettingsError."""
    if not isinstance(found, Mapping):
        raise SettingsError("is not a mapping of settings", where=where, todo="write {} for none")
    names = _names(kind)
    _check_keys(found, list(names), where)
    types = {f.name: str(f.type) for f in dataclasses.fields(kind)}  # type: ignore[arg-type]  # one
    values = {names[n]: fitting(v, types[names[n]], f"{where}: {n}") for n, v in found.items()}
    return kind(**values)


def _names(kind: type[Any]) -> dict[str, str]:
    """Field by field name, and by flag without its dashes."""
    found = {}
    for name, spec in options_of(kind).items():
        found[name] = name
        if spec.flag:
            found.setdefault(spec.flag.lstrip("-").replace("-", "_"), name)
    return found


@functools.cache
def presets() -> Mapping[str, Preset]:
    """Every preset, by name, in alphabetical order."""
    folder = resources.files("coyo_tools") / "data" / "presets"
    files = [file for file in folder.iterdir() if file.name.endswith(".yaml")]
    found = sorted((_preset(f.read_bytes(), f.name) for f in files), key=lambda p: p.name)
    return {preset.name: preset for preset in found}


def _preset(data: bytes, where: str) -> Preset:
    found = _yaml(data, where)
    recipe = recipe_of(found, where)
    about, paper, numbers = (" ".join(found[key].split()) for key in _ABOUT[1:])
    return Preset(found["name"], about, paper, numbers, recipe.rules)


def preset_named(name: Any) -> Preset:
    """One preset. Raises RuleError with the nearest name."""
    if isinstance(name, str) and name in presets():
        return presets()[name]
    near = nearest(str(name), list(presets()))
    raise RuleError(
        f"no preset is called {name!r}",
        todo=f"did you mean {near!r}?" if near else f"there are {', '.join(presets())}",
    )
