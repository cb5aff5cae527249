"""How a setting is declared: a field of a frozen dataclass with its help, range and flag.

The command line, the environment variables, the manifest and docs/cli.md are all read from these
declarations. A setting with `affects_result=False` (how many processes, which device ...) may
change between a run and its continuation; every other one belongs to the folder it wrote.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from coyo_tools.words.errors import SettingsError

Settings = TypeVar("Settings")

SCHEMA_CHOICES = ("auto", "coyo", "laion", "datacomp", "coyo-labeled")


@dataclass(frozen=True)
class Option:
    """What the command line and the docs need to know of one setting."""

    help: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    flag: str | None = None  # where it is not the field's name with dashes
    negative_flag: str | None = None  # for booleans: --honor-opt-out/--ignore-opt-out
    multiple: bool = False
    metavar: str | None = None
    affects_result: bool = True


def option(default: Any, help: str, **rest: Any) -> Any:
    """A dataclass field that is also a command line option; see `Option` for `rest`."""
    return field(default=default, metadata={"option": Option(help, **rest)})


def schema_option() -> Any:
    """Whose column names a source has."""
    help = "Whose column names the source has; auto recognises them."
    return option("auto", help, choices=SCHEMA_CHOICES)


def limit_files_option() -> Any:
    """How much of a source to read."""
    return option(None, "Read only the first N files of the source.", minimum=1, metavar="N")


def workers_option(help: str) -> Any:
    """How many at once; never part of a result."""
    return option(None, help, minimum=1, metavar="N", affects_result=False)


def options_of(settings: type[Any]) -> dict[str, Option]:
    """The options a settings class declares, by field name, in order."""
    return {
        f.name: f.metadata["option"] for f in dataclasses.fields(settings) if "option" in f.metadata
    }


def documented(settings: type[Settings]) -> type[Settings]:
    """Add every field's help, default and range to a settings class's docstring."""
    defaults = {f.name: f.default for f in dataclasses.fields(settings)}  # type: ignore[arg-type]
    lines = [
        f"{name} ({_brief(defaults[name], spec)}): {spec.help}"
        for name, spec in options_of(settings).items()
    ]
    settings.__doc__ = "\n\n".join([inspect.cleandoc(settings.__doc__ or ""), *lines])
    return settings


def _brief(default: Any, spec: Option) -> str:
    """Default, choices and range of an option, as the docstring shows them."""
    parts = [f"default {default!r}"]
    parts += [f"one of {', '.join(spec.choices)}"] if spec.choices else []
    parts += [f"at least {spec.minimum:g}"] if spec.minimum is not None else []
    parts += [f"at most {spec.maximum:g}"] if spec.maximum is not None else []
    return "; ".join(parts)


def check_ranges(settings: Any, prefix: str = "") -> None:
    """Have each option's value as its field wants it (see `fitting`), within the declared range.

    prefix: of environment variables, where these set it and no flag does. Raises SettingsError.
    """
    types = {f.name: str(f.type) for f in dataclasses.fields(settings)}
    for name, spec in options_of(type(settings)).items():
        flag = prefix + name.upper() if prefix else spec.flag or "--" + name.replace("_", "-")
        value = fitting(getattr(settings, name), types[name], flag)
        object.__setattr__(settings, name, value)  # they are frozen
        _check_value(flag, value, spec)


_KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "whole number"),
    "float": ((int, float), "number"),
    "str": ((str,), "text"),
    "bool": ((bool,), "true or false"),
}


def fitting(value: Any, annotation: str, where: str) -> Any:
    """The value as a field of that type has it: of paths their text, of one text in place of
    several a tuple, of numpy's numbers Python's. Raises SettingsError where it is of another type.
    """
    kinds = annotation.split(" | ")
    if value is None and "None" in kinds:
        return None
    if kinds[0].startswith("tuple"):
        items = value if isinstance(value, list | tuple) else [value]
        texts = tuple(_python_value(item) for item in items)
        if all(isinstance(text, str) for text in texts):
            return texts
        raise SettingsError(f"{value!r} is no list of texts", where=where)
    value, known = _python_value(value), [kind for kind in kinds if kind in _KINDS]
    for kind in known:
        if isinstance(value, _KINDS[kind][0]) and isinstance(value, bool) == (kind == "bool"):
            return float(str(value)) if kind == "float" else value
    what = " or ".join(_KINDS[kind][1] for kind in known)
    raise SettingsError(f"{value!r} is no {what}", where=where)


def _python_value(value: Any) -> Any:
    """A path's text, the Python number of one of numpy's; everything else as it is."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item() if hasattr(value, "item") else value


def _check_value(flag: str, value: Any, spec: Option) -> None:
    if spec.choices and not spec.multiple and value is not None and value not in spec.choices:
        raise SettingsError(f"{value!r} is none of {', '.join(spec.choices)}", where=flag)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return
    if value != value:
        raise SettingsError("is not a number", where=flag)
    if math.isinf(value):
        raise SettingsError(f"{value} is no finite number", where=flag)
    if spec.minimum is not None and value < spec.minimum:
        raise SettingsError(f"{value} is below {spec.minimum:g}, the smallest allowed", where=flag)
    if spec.maximum is not None and value > spec.maximum:
        raise SettingsError(f"{value} is above {spec.maximum:g}, the largest allowed", where=flag)


def as_json(settings: Any, *, result_only: bool = True) -> dict[str, Any]:
    """Plain data for the manifest. result_only: leave out what cannot change the result."""
    specs = options_of(type(settings))
    return {
        f.name: _plain(getattr(settings, f.name))
        for f in dataclasses.fields(settings)
        if not result_only or f.name not in specs or specs[f.name].affects_result
    }


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return _python_value(value)
