"""The generated parts of docs/*.md, called from their cog blocks; `make docs` writes them anew.

Everything comes from the declarations in coyo_tools: nothing is said twice.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable, Sequence
from typing import Any

WIDTH = 96


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; pipes in cells are escaped."""
    first, *rest = [f"| {' | '.join(_cell(c) for c in line)} |\n" for line in (head, *rows)]
    return f"{first}|{'---|' * len(head)}\n{''.join(rest)}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def commands() -> str:
    """Every command's --help."""
    import click

    from coyo_tools.cli import COMMANDS, coyo, subcommands

    width = {"terminal_width": WIDTH, "max_content_width": WIDTH}
    parent = click.Context(coyo, info_name="coyo", **width, **coyo.context_settings)
    sections = [f"## coyo\n\n```text\n{coyo.get_help(parent)}\n```\n"]
    for name in COMMANDS:
        command = coyo.get_command(parent, name)
        assert command is not None
        below = {f"{name} {sub}": each for sub, each in subcommands(command).items()}
        for title, each in {name: command, **below}.items():
            context = click.Context(each, parent, title, **width)
            sections.append(f"## coyo {title}\n\n```text\n{each.get_help(context)}\n```\n")
    return "\n" + "\n".join(sections) + "\n"


def verbs() -> str:
    """Each verb's signature and docstring; at the end those that are no command."""
    import coyo_tools
    from coyo_tools.cli import COMMANDS

    others = [n for n in coyo_tools.__all__ if n.islower() and n not in COMMANDS]
    sections = []
    for name in (*COMMANDS, *others):
        verb = getattr(coyo_tools, name)
        call = f"{name}{_signature(verb)}"
        said = inspect.getdoc(verb) or ""
        sections.append(f"### {name}\n\n```python\n{call}\n```\n\n```text\n{said}\n```\n")
    return "\n" + "\n".join(sections) + "\n"


def _signature(verb: Any) -> str:
    parameters = inspect.signature(verb).parameters.values()
    parts, starred = [], False
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            parts.append("*")
            starred = True
        prefix = "**" if parameter.kind is parameter.VAR_KEYWORD else ""
        default = parameter.default
        shown = "" if default is parameter.empty else f"={_default(default)}"
        parts.append(f"{prefix}{parameter.name}{shown}")
    return f"({', '.join(parts)})"


def _default(value: Any) -> str:
    name = getattr(value, "__name__", None) or repr(value)
    return "..." if name.startswith("_") else name


def settings(name: str) -> str:
    """A settings class: its fields, types, defaults and meanings."""
    import coyo_tools
    from coyo_tools.words.config import options_of

    kind = getattr(coyo_tools, name)
    specs = options_of(kind)
    rows = [
        (
            f"`{field.name}`",
            f"`{field.type}`",
            f"`{field.default!r}`",
            _range(specs[field.name]),
            specs[field.name].help,
        )
        for field in dataclasses.fields(kind)
        if field.name in specs
    ]
    said = " ".join((inspect.getdoc(kind) or "").split())
    head = ("field", "type", "default", "range", "meaning")
    return f"\n### {name}\n\n{said}\n\n{table(head, rows)}\n"


def _range(spec: Any) -> str:
    if spec.choices and not spec.multiple:
        return ", ".join(f"`{choice}`" for choice in spec.choices)
    bounds = [
        f"{bound:,.10g}" if bound is not None else "" for bound in (spec.minimum, spec.maximum)
    ]
    if all(bounds):
        return f"{bounds[0]} to {bounds[1]}"
    return f"from {bounds[0]}" if bounds[0] else ""


def remote() -> str:
    """How remote sources are read, by environment variable."""
    from coyo_tools.words.config import RemoteSettings, options_of

    specs = options_of(RemoteSettings)
    rows = [
        [f"`COYO_REMOTE_{f.name.upper()}`", f"{f.default:g}", specs[f.name].help]
        for f in dataclasses.fields(RemoteSettings)
    ]
    return table(["variable", "default", "meaning"], rows)


def columns() -> str:
    """The published columns and what the neighbours call them."""
    from coyo_tools.words.schema import COYO_COLUMNS, SCHEMAS

    neighbours = [name for name in SCHEMAS if name != "coyo"]
    back = {n: {coyo: own for own, coyo in SCHEMAS[n].items()} for n in neighbours}
    rows = [
        (
            f"`{column.name}`",
            column.dtype + (" (float16 values)" if column.float16_valued else ""),
            column.meaning,
            *(f"`{back[n][column.name]}`" if column.name in back[n] else "" for n in neighbours),
        )
        for column in COYO_COLUMNS
    ]
    return "\n" + table(("column", "dtype", "meaning", *neighbours), rows) + "\n"


def failures() -> str:
    """The closed list of what can go wrong with a row."""
    from coyo_tools.words.failures import FAILURE_CLASSES

    rows = [
        (f"`{kind.name}`", f"`{kind.status}`", "yes" if kind.retry else "", kind.meaning)
        for kind in FAILURE_CLASSES
    ]
    return "\n" + table(("error", "status", "retried", "meaning"), rows) + "\n"


def errors() -> str:
    """The tree of named errors, as its module draws it."""
    from coyo_tools.words import errors as module

    lines = (module.__doc__ or "").splitlines()
    drawn = [line[4:] for line in lines if line.startswith("    ")]
    return "\n```text\n" + "\n".join(drawn) + "\n```\n\n"


def rules() -> str:
    """Every rule of `coyo filter`, as it is declared."""
    from coyo_tools.pieces.rule_docs import rules_table

    return f"\n{rules_table().rstrip()}\n\n"


def presets() -> str:
    """Every preset: its rules, and where it is from."""
    from coyo_tools.pieces.recipes import presets as known
    from coyo_tools.pieces.rules import rules_of

    rows = [
        (f"`{p.name}`", ", then ".join(f"`{r.label}`" for r in rules_of(p.rules)), p.about, p.paper)
        for p in known().values()
    ]
    return "\n" + table(("preset", "rules", "for", "source"), rows) + "\n"


def families() -> str:
    """The families of docs/scores.md."""
    from coyo_tools.pieces.scores import markdown_families

    return "\n" + markdown_families() + "\n"


def scores() -> str:
    """Every column that can be recomputed, as it is declared."""
    from coyo_tools.pieces.scores import NOT_RECOMPUTED, markdown_table

    rows = [(f"`{name}`", why) for name, why in NOT_RECOMPUTED.items()]
    return f"\n{markdown_table()}\nNot recomputed:\n\n{table(('column', 'why'), rows)}\n"


def wrong_input() -> str:
    """The table of tests/wrong_input.py, every line of which is a test."""
    import sys

    sys.path.insert(0, ".")
    from tests.wrong_input import CASES, READERS

    rows = []
    for case in CASES:
        if case.refused:
            every = case.by == READERS
            rows.append((case.wrong, "refused" if every else _listed(case.by), case.refused))
        notes: dict[str, list[str]] = {}
        for verb, note in case.noted.items():
            notes.setdefault(note, []).append(f"`{verb}`")
        rows += [(case.wrong, f"read; {', '.join(by)} says", note) for note, by in notes.items()]
        if not case.refused and not notes:
            rows.append((case.wrong, "read", ""))
    return "\n" + table(("what is wrong or odd", "", "what is said"), rows) + "\n"


def hostile() -> str:
    """The table of tests/hostile/cases.py, every line of which is a test."""
    import sys
    from itertools import groupby

    sys.path.insert(0, ".")
    from tests.hostile.cases import CASES

    sections = []
    for group, cases in groupby(CASES, key=lambda case: case.group):
        rows = [
            (
                case.does + ("; also behind redirects" if case.anywhere else ""),
                f"`{case.error}`" if case.error else "success",
                (case.message or "").format(timeout="N"),
            )
            for case in cases
        ]
        sections.append(f"\n## {group}\n\n{table(('the server', 'class', 'recorded'), rows)}")
    return "".join(sections) + "\n"


def engines() -> str:
    """The table of tests/engines.py, every line of which is a test."""
    import sys

    sys.path.insert(0, ".")
    from tests.engines import LINES

    rows = [
        [line.does, *(f"`{e}`" if e else "success" for e in (line.coyo, line.img2dataset))]
        for line in LINES
    ]
    return "\n" + table(("the server", "`--engine coyo`", "`--engine img2dataset`"), rows) + "\n"


def without() -> str:
    """Settings that --engine img2dataset refuses."""
    from coyo_tools.pieces.img2dataset import flag_of
    from coyo_tools.pieces.img2dataset import without as lacking

    return "\n" + ", ".join(f"`{flag_of(name)}`" for name in lacking()) + "\n\n"


def _listed(verbs: Sequence[str]) -> str:
    return "refused by " + ", ".join(f"`{verb}`" for verb in verbs)
