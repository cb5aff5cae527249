"""How the columns of a file answer to COYO's names and types: by name, never by position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coyo_tools.words.errors import SchemaError, nearest
from coyo_tools.words.schema import COYO, SCHEMAS

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Binding:
    """How a file's columns answer to COYO's names. columns: COYO name to name in the file.

    casts: COYO name to the file's own type, where it is not COYO's. schema: whose names the file
    has, a key of `words.schema.SCHEMAS`.
    """

    columns: Mapping[str, str]
    casts: Mapping[str, str]
    schema: str = "coyo"

    def in_file(self, names: Sequence[str], where: str) -> list[str]:
        """The file's names for `names`. Raises SchemaError with the nearest name."""
        for name in names:
            if name not in self.columns:
                near = nearest(name, list(self.columns))
                raise SchemaError(
                    f"has no column {name!r}",
                    where=where,
                    todo=f"did you mean {near!r}?" if near else f"it has {', '.join(self.columns)}",
                )
        return [self.columns[name] for name in names]


def bind(schema: pa.Schema, wanted: str, where: str) -> Binding:
    """Match a file's columns to COYO's by name. Raises SchemaError on a type that cannot be cast.

    Columns that are not COYO's keep their names and types.
    """
    known = recognise(schema.names) if wanted == "auto" else wanted
    aliases = SCHEMAS[known]
    columns: dict[str, str] = {}
    casts: dict[str, str] = {}
    for field in schema:
        name = aliases.get(field.name, field.name)
        if name in columns or (name != field.name and name in schema.names):
            name = field.name
        if name in columns:
            raise SchemaError(f"has two columns named {name!r}", where=where, todo="rename one")
        if _means_several(name):
            raise SchemaError(
                f"has a column named {name!r}, which is no name to polars",
                where=where,
                todo="rename it",
            )
        columns[name] = field.name
        if name in COYO and _differs(name, field.type, where):
            casts[name] = type_name(field.type)
    return Binding(columns, casts, known)


def _means_several(name: str) -> bool:
    """Whether polars takes it for a pattern over names, or it may be one that is used within."""
    return name == "*" or (name.startswith("^") and name.endswith("$")) or name.startswith("?")


def recognise(names: Sequence[str]) -> str:
    """Whose names these are: the neighbour with the most of its own names present, else coyo."""
    present = set(names)
    scores = {kind: len(present & set(aliases)) for kind, aliases in SCHEMAS.items()}
    best = max(scores, key=lambda kind: scores[kind])
    return best if scores[best] else "coyo"


def target_type(name: str, found: pa.DataType) -> pa.DataType:
    """The type a column is read as: COYO's, or for other columns its own (dictionaries undone)."""
    import pyarrow as pa

    if name in COYO:
        return pa.type_for_alias(COYO[name].dtype)
    if pa.types.is_dictionary(found):
        return target_type(name, found.value_type)
    if pa.types.is_large_string(found) or str(found) == "string_view":
        return pa.string()  # one type in parquet: how the writer held it in memory is no matter
    if pa.types.is_large_binary(found) or str(found) == "binary_view":
        return pa.binary()
    return found


def type_name(found: pa.DataType) -> str:
    """Arrow's name of a type, but float32 and float64 as everybody calls them."""
    return {"float": "float32", "double": "float64", "halffloat": "float16"}.get(
        str(found), str(found)
    )


def _differs(name: str, found: pa.DataType, where: str) -> bool:
    """Whether values have to be converted. Raises SchemaError where they cannot be."""
    import pyarrow as pa

    values = found.value_type if pa.types.is_dictionary(found) else found
    if pa.types.is_null(values):
        return True
    if COYO[name].dtype == "string":
        fits = str(values) in ("string", "large_string", "string_view")
        differs = False
    else:
        fits = pa.types.is_integer(values) or pa.types.is_floating(values)
        differs = values != pa.type_for_alias(COYO[name].dtype)
    if fits:
        return differs
    raise SchemaError(
        f"column {name!r} is {type_name(found)}, expected {COYO[name].dtype}",
        where=where,
        todo="convert the column, or name the right --schema",
    )
