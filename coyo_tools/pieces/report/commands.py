"""The command lines that a set of folders came from, read back from their manifests."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from coyo_tools.pieces.report.views import Output
from coyo_tools.words.config import (
    CompareSettings,
    DownloadSettings,
    FilterSettings,
    ScoreSettings,
    options_of,
)

SETTINGS: Mapping[str, type[Any]] = {
    "filter": FilterSettings,
    "download": DownloadSettings,
    "score": ScoreSettings,
    "compare": CompareSettings,
}
_READS = {"download": ("filter",), "score": ("download", "filter")}


def command_lines(outputs: Sequence[Output]) -> list[str]:
    """One line a folder that has a manifest, in the order given. Inputs that no manifest and none
    of the other folders names are written in capitals."""
    return [command_line(output, outputs) for output in outputs if output.manifest is not None]


def command_line(output: Output, beside: Sequence[Output] = ()) -> str:
    """`coyo COMMAND INPUT -o FOLDER` with every setting that is not the default."""
    assert output.manifest is not None
    words = ["coyo", output.command, *_inputs(output, beside), "-o", output.name]
    return shlex.join([*words, *_flags(output.command, output.manifest.settings)])


def _inputs(output: Output, beside: Sequence[Output]) -> list[str]:
    assert output.manifest is not None
    named = output.manifest.result.get("source")
    if output.command == "compare":
        return [_named(beside, ("score",)) or "SCORES", _compared_with(output, beside) or "SOURCE"]
    if named:
        return [str(named)]
    return [_named(beside, _READS.get(output.command, ())) or "SOURCE"]


def _named(beside: Sequence[Output], commands: Sequence[str]) -> str | None:
    """The one folder of those commands, where there is exactly one."""
    for command in commands:
        names = [output.name for output in beside if output.command == command]
        if names:
            return names[0] if len(names) == 1 else None
    return None


def _compared_with(output: Output, beside: Sequence[Output]) -> str | None:
    """The subset's source where the comparison read those very files, else the folder of others
    whose files have these names."""
    assert output.manifest is not None
    read = [entry for entry in output.manifest.inputs if entry.get("side") == "source"]
    names = {entry.get("name") for entry in read}
    plain = [{k: v for k, v in entry.items() if k != "side"} for entry in read]
    for other in beside:
        if other.manifest is None or other.command not in ("filter", "download"):
            continue
        if other.command == "filter" and plain == [dict(e) for e in other.manifest.inputs]:
            return str(other.manifest.result.get("source") or "SOURCE")
        if names and names <= set(other.manifest.files):
            return other.name
    return None


def _flags(command: str, settings: Mapping[str, Any]) -> Iterator[str]:
    yield from _rule_flags(settings.get("rules") or ())
    declared = options_of(SETTINGS[command])
    defaults = {f.name: f.default for f in dataclasses.fields(SETTINGS[command])}
    for name, spec in declared.items():
        value, default = settings.get(name, defaults[name]), defaults[name]
        if value == default or (not value and not default):
            continue
        flag = "-c" if spec.flag == "--column" else spec.flag or "--" + name.replace("_", "-")
        if isinstance(default, bool):
            yield flag if value else str(spec.negative_flag)
        elif spec.multiple:
            yield from (word for item in value for word in (flag, str(item)))
        else:
            yield from (flag, ",".join(value) if isinstance(value, list) else _written(value))


def _written(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _rule_flags(rules: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Every rule kind's flag is its name with dashes."""
    for rule in rules:
        for name, value in rule.items():
            yield from ("--" + name.replace("_", "-"), str(value))
