"""Click options made from the settings' own declarations, and those every command shares."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from coyo_tools.cli.progress_lines import KINDS
from coyo_tools.words.config import Option, options_of

Command = TypeVar("Command", bound=Callable[..., Any])
Settings = TypeVar("Settings")


class Lines(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2 only
    """Text; in an environment variable several stand on lines of their own."""

    name = "text"

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        """The lines that are not blank."""
        return [line for line in rv.splitlines() if line.strip()]


source_argument = click.argument("source", required=False, metavar="[SOURCE]")
out_option = click.option(
    "-o", "--out", required=True, metavar="DIR", help="Folder to write; local, s3:// or gs://."
)
overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Start anew in a folder this tool wrote."
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as one JSON document."
)
progress_option = click.option(
    "--progress",
    "progress_kind",
    type=click.Choice(KINDS),
    default="auto",
    show_default=True,
    help="On stderr. auto: redrawn on a terminal, else plain; plain: a line a minute; json: an "
    "object a line, about one a second.",
)


def settings_options(settings: type[Any]) -> Callable[[Command], Command]:
    """Every option a settings class declares, in its order."""

    def decorate(command: Command) -> Command:
        defaults = {f.name: f.default for f in dataclasses.fields(settings)}
        for name, spec in reversed(options_of(settings).items()):
            command = _click_option(name, spec, defaults[name], settings)(command)
        return command

    return decorate


def _click_option(
    name: str, spec: Option, default: Any, settings: type[Any]
) -> Callable[[Command], Command]:
    flag = spec.flag or "--" + name.replace("_", "-")
    if spec.negative_flag or isinstance(default, bool):
        both = f"{flag}/{spec.negative_flag}" if spec.negative_flag else flag
        return click.option(
            both, name, is_flag=True, default=default, help=spec.help, show_default=True
        )
    short = ["-c"] if flag == "--column" else []
    separated = _is_list(settings, name) and not spec.multiple
    return click.option(
        *short,
        flag,
        name,
        type=_click_type(settings, name, spec),
        default=None if separated or default is None else default,
        multiple=spec.multiple,
        metavar=spec.metavar,
        callback=_split if separated else None,
        help=spec.help,
        show_default=default not in (None, ()),
    )


def _is_list(settings: type[Any], name: str) -> bool:
    return "tuple" in str(settings.__annotations__[name])


def _split(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """`A,B` as ("A", "B")."""
    return None if value is None else tuple(p.strip() for p in value.split(",") if p.strip())


def _click_type(settings: type[Any], name: str, spec: Option) -> Any:
    if spec.choices and not spec.multiple:
        return click.Choice(spec.choices)
    if spec.multiple:
        return Lines()
    annotation = str(settings.__annotations__[name])
    if annotation.startswith("int"):
        return click.IntRange(_whole(spec.minimum), _whole(spec.maximum))
    if annotation.startswith("float"):
        return _Number(spec.minimum, spec.maximum)
    return _NumberOrAuto(_whole(spec.minimum)) if annotation == "str | int" else click.STRING


class _Number(click.FloatRange):
    """A number in a range, which no bound keeps NaN out of."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number."""
        found = float(super().convert(value, param, ctx))
        if math.isnan(found):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return found


class _NumberOrAuto(click.IntRange):
    """`auto`, or a whole number in a range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The word or the number."""
        return "auto" if value == "auto" else int(super().convert(value, param, ctx))


def _whole(bound: float | None) -> int | None:
    return None if bound is None else int(bound)


def settings_from(settings: type[Settings], values: Mapping[str, Any]) -> Settings:
    """The settings object out of what click parsed; other values are left alone."""
    names = options_of(settings)
    return settings(**{name: values[name] for name in names if name in values})
