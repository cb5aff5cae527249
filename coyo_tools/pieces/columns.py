"""Which columns of a source are written: the same from every part."""

from __future__ import annotations

from collections.abc import Sequence

from coyo_tools.pieces.parts import OpenPart
from coyo_tools.words.errors import SchemaError, SettingsError, nearest


def columns_to_write(parts: Sequence[OpenPart], wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Those that are wanted, else all; every part has to have them. Raises SchemaError."""
    first = parts[0] if parts else None
    if wanted is not None:
        for part in parts:
            part.binding.in_file(wanted, part.part.url)
        if len(set(wanted)) < len(wanted) or not wanted:
            raise SettingsError("names no column, or one twice", where="--columns")
        return tuple(wanted)
    if first is None:
        return ()
    for part in parts[1:]:
        _same_columns(first, part)
    return tuple(first.binding.columns)


def _same_columns(first: OpenPart, part: OpenPart) -> None:
    ours, theirs = set(first.binding.columns), set(part.binding.columns)
    differing = sorted(ours ^ theirs) or [
        n for n in ours if first.schema.field(n).type != part.schema.field(n).type
    ]
    if differing:
        name = differing[0]
        near = nearest(name, sorted(ours & theirs))
        what = "another type of" if name in ours & theirs else "" if name in theirs else "no"
        raise SchemaError(
            f"has {what or 'a'} column {name!r}, unlike {first.part.name}"
            + (f" (which has {near!r})" if near and name in theirs else ""),
            where=part.part.url,
            todo="name the columns to write with --columns, those that all parts have",
        )
