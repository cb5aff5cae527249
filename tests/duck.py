"""What `filter` has to give, computed by duckdb from the contract's words alone.

A bound is compared in the column's own type; a rule keeps no row whose value is null or NaN; ties
of a top go by the smaller h(id, 0); a share of N rows is floor(share * N + 0.5) rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SEEDS = (0, 7, 2**64 - 1)
BOUNDS = {
    "min_clip_b32": ("clip_similarity_vitb32", ">="),
    "max_clip_b32": ("clip_similarity_vitb32", "<="),
    "min_clip_l14": ("clip_similarity_vitl14", ">="),
    "max_clip_l14": ("clip_similarity_vitl14", "<="),
    "max_nsfw_opennsfw2": ("nsfw_score_opennsfw2", "<="),
    "max_nsfw_gantman": ("nsfw_score_gantman", "<="),
    "min_watermark": ("watermark_score", ">="),
    "max_watermark": ("watermark_score", "<="),
    "min_aesthetic": ("aesthetic_score_laion_v2", ">="),
    "max_aesthetic": ("aesthetic_score_laion_v2", "<="),
    "min_faces": ("num_faces", ">="),
    "max_faces": ("num_faces", "<="),
    "min_words": ("word_count", ">="),
    "max_words": ("word_count", "<="),
    "min_chars": ("text_length", ">="),
    "max_chars": ("text_length", "<="),
}
_INTEGERS = ("num_faces", "word_count", "text_length", "width", "height")
_SIDES = "width IS NULL OR height IS NULL"
_NSFW = ("nsfw_score_opennsfw2", "nsfw_score_gantman")
# splitmix64 over 128-bit integers, whose remainders stand for the overflow of 64-bit ones.
_MACROS = """
CREATE MACRO word(x) AS (x % 18446744073709551616::UHUGEINT)::UBIGINT;
CREATE MACRO sum64(a, b) AS word(a::UHUGEINT + b::UHUGEINT);
CREATE MACRO mul64(a, b) AS word(a::UHUGEINT * b::UHUGEINT);
CREATE MACRO last(z) AS xor(z, z >> 31);
CREATE MACRO second(z) AS last(mul64(xor(z, z >> 27), 10723151780598845931));
CREATE MACRO first(z) AS second(mul64(xor(z, z >> 30), 13787848793156543929));
CREATE MACRO splitmix64(x) AS first(sum64(x, 11400714819323198485));
CREATE MACRO h(id, seed) AS splitmix64(
  sum64((id::HUGEINT + CASE WHEN id < 0 THEN 18446744073709551616::HUGEINT ELSE 0 END),
        splitmix64(seed)));
"""


@dataclass(frozen=True)
class Wanted:
    """One step of the funnel, and the numbers of the rows that are left after it."""

    dropped: int
    dropped_alone: int
    null: int
    rows: list[int]


@dataclass(frozen=True)
class _Condition:
    """A rule as SQL. passes: true, false or null. unknown: where it cannot judge."""

    passes: str
    unknown: str


class Duck:
    """The rows of a table, in order, NaN as null.

    `X_raw` holds the float column X as it is, `h_SEED` the hash of the id.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, table: pa.Table) -> None:
        self._connection, self.rows = connection, table.num_rows
        raw = [f.name for f in table.schema if pa.types.is_floating(f.type)]
        connection.register("source", table.append_column("row", pa.array(range(self.rows))))
        told = ", ".join(f"CASE WHEN isnan({n}) THEN NULL ELSE {n} END AS {n}" for n in raw)
        more = ", ".join(f"{n} AS {n}_raw" for n in raw)
        hashed = ", ".join(f"h(id, {seed}) AS h_{seed}" for seed in SEEDS)
        connection.execute(_MACROS)
        connection.execute(
            f"CREATE TABLE rows AS SELECT * REPLACE ({told}), {more}, {hashed} FROM source"
        )

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of the answer."""
        return self._connection.execute(query).fetchall()

    def one(self, query: str) -> Any:
        """The one value of the answer."""
        [(value,)] = self.ask(query)
        return value

    def funnel(self, recipe: Sequence[Mapping[str, Any]]) -> list[Wanted]:
        """Every step. A `where` is a pair here: ours, and the same for duckdb."""
        left, rows, steps = "TRUE", list(range(self.rows)), []
        for rule in recipe:
            condition = self._condition(rule, left)
            left = f"({left}) AND ({condition.passes})"
            alone, null = self.ask(
                f"SELECT count(*) FILTER ({condition.passes}), "
                f"count(*) FILTER ({condition.unknown}) FROM rows"
            )[0]
            after = [row for (row,) in self.ask(f"SELECT row FROM rows WHERE {left} ORDER BY row")]
            steps.append(Wanted(len(rows) - len(after), self.rows - alone, null, after))
            rows = after
        return steps

    def _condition(self, rule: Mapping[str, Any], left: str) -> _Condition:
        if "top" in rule:
            return self._top(rule["top"], rule["by"], left)
        if "sample" in rule:
            return self._sample(rule["sample"], rule["seed"], left)
        ((name, value),) = rule.items()
        return _of_one_row(name, value)

    def _top(self, amount: str | int, by: str, left: str) -> _Condition:
        value = (
            f"(({by}) + 0)" if "+" not in by else f"(CASE WHEN isnan({by}) THEN NULL ELSE {by} END)"
        )
        has = f"{value} IS NOT NULL"
        among = f"FROM rows WHERE ({left}) AND {has}"
        valued = self.one(f"SELECT count(*) {among}")
        rows = min(share_of(amount, self.one(f"SELECT count(*) FROM rows WHERE {left}")), valued)
        if rows in (0, valued):
            return _Condition(has if rows else "FALSE", f"{value} IS NULL")
        order = f"{among} ORDER BY {value} DESC, h_0"
        last = self.one(f"SELECT row {order} LIMIT 1 OFFSET {rows - 1}")
        cut, hashed = (f"(SELECT {x} FROM rows WHERE row = {last})" for x in (value, "h_0"))
        tied = f"{value} = {cut}"
        kept = self.one(f"SELECT count(*) FROM (SELECT * {order} LIMIT {rows}) WHERE {tied}")
        whole = kept == self.one(f"SELECT count(*) {among} AND {tied}")
        ties = tied if whole else f"{tied} AND h_0 <= {hashed}"
        return _Condition(f"{value} > {cut} OR {ties}", f"{value} IS NULL")

    def _sample(self, amount: str | int, seed: int, left: str) -> _Condition:
        hashed = f"h_{seed}"
        if isinstance(amount, str):
            bound = math.ceil(Fraction(amount[:-1]) / 100 * 2**64)
            return _Condition(f"{hashed}::UHUGEINT < {bound}::UHUGEINT", "id IS NULL")
        among = f"FROM rows WHERE ({left}) AND id IS NOT NULL"
        if amount >= self.one(f"SELECT count(*) {among}"):
            return _Condition("id IS NOT NULL", "id IS NULL")
        last = self.one(f"SELECT {hashed} {among} ORDER BY {hashed} LIMIT 1 OFFSET {amount - 1}")
        return _Condition(f"{hashed} <= {last}::UBIGINT", "id IS NULL")


def _of_one_row(name: str, value: Any) -> _Condition:
    match name:
        case "max_nsfw":
            both = " AND ".join(_bound(column, "<=", value) for column in _NSFW)
            return _Condition(both, " OR ".join(f"{column} IS NULL" for column in _NSFW))
        case "min_side":
            return _Condition(f"width >= {value} AND height >= {value}", _SIDES)
        case "max_side":
            return _Condition(f"width <= {value} AND height <= {value}", _SIDES)
        case "max_aspect_ratio":
            ratio = "greatest(width, height)::DOUBLE / least(width, height)::DOUBLE"
            whole = f"NOT isnan({ratio}) AND NOT ({_SIDES})"
            return _Condition(f"{ratio} <= {value}::DOUBLE AND {whole}", _SIDES)
        case "text_matches":
            return _Condition(f"regexp_matches(text, {_text(value)})", "text IS NULL")
        case "text_excludes":
            return _Condition(f"NOT regexp_matches(text, {_text(value)})", "text IS NULL")
        case "where":
            return _Condition(value.duck, f"({value.duck}) IS NULL")
    column, operator = BOUNDS[name]
    return _Condition(_bound(column, operator, value), f"{column} IS NULL")


def _bound(column: str, operator: str, value: float) -> str:
    """float32 columns compare with float32(value); int32 ones exactly, as float64 can."""
    if column in _INTEGERS:
        return f"{column}::DOUBLE {operator} {value!r}::DOUBLE"
    with np.errstate(over="ignore"):  # float32(1e39) is infinite
        return f"{column} {operator} '{np.float32(value)}'::FLOAT"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def share_of(amount: str | int, rows: int) -> int:
    """How many of so many rows an amount is."""
    if isinstance(amount, int):
        return min(amount, rows)
    return math.floor(Fraction(amount[:-1]) / 100 * rows + Fraction(1, 2))


@contextmanager
def duck_of(table: pa.Table) -> Iterator[Duck]:
    """duckdb over the rows of a table."""
    with closing(duckdb.connect()) as connection:
        connection.execute("SET threads TO 1")
        yield Duck(connection, table)


def unlike(one: pa.Table, other: pa.Table) -> str:
    """The first column of which two tables differ in some cell, to the bit; "" where none does."""
    if one.schema != other.schema or one.num_rows != other.num_rows:
        return f"{one.num_rows} rows of {one.schema}\n{other.num_rows} rows of {other.schema}"
    for name in one.column_names:
        a, b = (t[name].combine_chunks() for t in (one, other))
        if not _bits(a).equals(_bits(b)):
            return name
    return ""


def _bits(values: pa.Array) -> pa.Array:
    """Floats as the integers of their bits, NaN and -0.0 told apart; nulls as nulls."""
    if not pa.types.is_floating(values.type):
        return values
    word = pa.uint32() if values.type == pa.float32() else pa.uint64()
    return pc.if_else(values.is_valid(), pc.fill_null(values, 0).view(word), pa.scalar(None, word))
