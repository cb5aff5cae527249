"""One option a rule kind, made from `pieces.rules`; the order on the command line is kept."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import click

from coyo_tools.cli.options import Lines
from coyo_tools.pieces.rules import KINDS, RULE_KINDS, RuleKind
from coyo_tools.pieces.selections import GO_WITH, HAVE_PER, OTHER_FLAGS

Command = TypeVar("Command", bound=Callable[..., Any])
_ORDER, _VALUES = "coyo_tools.rules.order", "coyo_tools.rules.values"
_PER = "per_part"


class _Number(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2 only
    """A bound, as written: an int stays an int. NaN and infinity are the rule's to refuse."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | float:
        """The number, or a usage error."""
        with contextlib.suppress(TypeError, ValueError):
            return int(value)
        try:
            return float(value)
        except (TypeError, ValueError):
            self.fail(f"{value!r} is not a number", param, ctx)


class RuleCommand(click.Command):
    """A command that remembers in which order its options were written, repeats included."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse once for the order, then as usual."""
        if not ctx.resilient_parsing:
            _, _, order = self.make_parser(ctx).parse_args(args=list(args))
            ctx.meta[_ORDER] = [str(param.name) for param in order]
        return super().parse_args(ctx, args)


def _option(kind: RuleKind) -> click.Option:
    if kind.is_switch:
        # No default: what was not given is None, as of the other options.
        return click.Option(
            [kind.flag, kind.name], is_flag=True, default=None, help=kind.help,
            expose_value=False, callback=_switch,
        )  # fmt: skip
    text = None if kind.takes_number else Lines()
    return _rule_option(kind.name, kind.metavar, kind.help, text)


def _rule_option(name: str, metavar: str, help: str, text: Lines | None) -> click.Option:
    return click.Option(
        ["--" + name.replace("_", "-"), name],
        type=text or _Number(),
        multiple=text is not None,
        metavar=metavar,
        help=help,
        expose_value=False,
        callback=_note,
    )


def _switch(ctx: click.Context, param: click.Parameter, value: bool | None) -> None:
    """A variable may say no: that is not giving the option."""
    _note(ctx, param, value or None)


def _note(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    given: dict[str, tuple[Any, ...]] = ctx.meta.setdefault(_VALUES, {})
    given[str(param.name)] = value if isinstance(value, tuple) else (value,)


def rule_options(command: Command) -> Command:
    """Every rule as an option of a command, in the table's order."""
    params: list[click.Parameter] = command.__dict__.setdefault("__click_params__", [])
    others = [_rule_option(*flag, Lines()) for flag in OTHER_FLAGS]
    per = click.Option(
        ["--per-part/--global", _PER],
        default=None,
        help="Take --top, those of presets too, of each part by itself, or of the whole source; "
        "default as the preset or recipe says, else of the whole.",
        expose_value=False,
        callback=_note,
    )
    params.extend(reversed([*map(_option, RULE_KINDS), *others, per]))
    return command


def rules_given(ctx: click.Context) -> tuple[Mapping[str, Any], ...]:
    """The rules given, as a recipe writes them: in the order of the command line, then those of
    environment variables in the table's order."""
    given = dict(ctx.meta[_VALUES])
    with_others = {first: _pairs(given, first, name) for name, first in GO_WITH.items()}
    values = {name: iter(found) for name, found in given.items() if name not in GO_WITH}
    for name in (kind.name for kind in RULE_KINDS if kind.is_choice):
        values[name] = iter([given[name]] if given[name] else [])
    names = [*KINDS, *(name for name, *_ in OTHER_FLAGS if name not in GO_WITH)]
    written = [name for name in ctx.meta[_ORDER] if name in names]
    rules = []
    # A number that is written twice counts once, with its last value, at its first place.
    for name in written:
        rules += [(name, value) for value in _take(values, name)]
    for name in names:
        rules += [(name, value) for value in values.get(name, ()) if value is not None]
    per = _per(given[_PER][0], given)
    return tuple(
        {name: value}
        | next(with_others.get(name, iter(())), {})
        | (per if name in HAVE_PER else {})
        for name, value in rules
    )


def _per(part: bool | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """What --per-part or --global adds to a top, preset or recipe."""
    if part is None:
        return {}
    if not any(given[name] for name in HAVE_PER):
        raise click.UsageError("--per-part and --global go with --top, --preset or --recipe.")
    return {"per": "part" if part else "source"}


def _pairs(given: Mapping[str, Any], first: str, name: str) -> Iterator[dict[str, Any]]:
    """The n-th --by belongs to the n-th --top. One --seed is for every --sample."""
    wanted, found = len(given[first]), given[name]
    if name == "seed" and len(found) == 1 and wanted:
        found = found * wanted
    if len(found) not in ((wanted,) if name == "by" else (0, wanted)):
        raise click.UsageError(f"Each --{first} needs one --{name}, in the same order.")
    return iter([{name: value} for value in found])


def _take(values: Mapping[str, Iterator[Any]], name: str) -> list[Any]:
    return [value for value in [next(values[name], None)] if value is not None]


def source_given(rules: Sequence[Mapping[str, Any]]) -> str | None:
    """The source that a recipe among the rules names, the first of several."""
    from coyo_tools.pieces.recipes import recipe_at

    named = (recipe_at(rule["recipe"]).source for rule in rules if "recipe" in rule)
    return next((source for source in named if source), None)
