"""The funnel: how many rows each rule took, counted once and added up over parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coyo_tools.pieces.bites import polars_types
from coyo_tools.pieces.rules import AnyRule, Rule, is_cut_upstream
from coyo_tools.pieces.selections import Tests, of_part
from coyo_tools.pieces.source import OpenPart
from coyo_tools.pieces.sql_terms import Columns

if TYPE_CHECKING:
    import polars as pl


_SELDOM = ("changed", "unread", "groups")  # of `Counts`: mostly zeros, which are not written


@dataclass(frozen=True)
class Counts:
    """Rows of some data, and per rule, in order: how many pass.

    left: pass this rule and every one before it. alone: pass this rule. unknown: have a null or
    NaN where this rule looks (they do not pass). changed: of `left`, those whose text it changes.
    unread: belong to row groups that this rule ruled out by their statistics; they count as
    dropped by it alone, whatever the rules before it say. groups: how many those are.
    """

    rows: int
    left: tuple[int, ...] = ()
    alone: tuple[int, ...] = ()
    unknown: tuple[int, ...] = ()
    changed: tuple[int, ...] = ()
    unread: tuple[int, ...] = ()
    groups: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in _SELDOM:
            object.__setattr__(self, name, getattr(self, name) or (0,) * len(self.left))

    @property
    def kept(self) -> int:
        """Rows that pass every rule."""
        return self.left[-1] if self.left else self.rows

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.rows + other.rows,
            _added(self.left, other.left),
            _added(self.alone, other.alone),
            _added(self.unknown, other.unknown),
            *(_added(getattr(self, name), getattr(other, name)) for name in _SELDOM),
        )

    @classmethod
    def none(cls, rules: int) -> Counts:
        """Of no rows at all."""
        zeros = (0,) * rules
        return cls(0, zeros, zeros, zeros)

    @classmethod
    def ruled_out(cls, rows: int, by: int, rules: int) -> Counts:
        """Of a row group of so many rows in which the rule of that number keeps nothing."""
        only = tuple(int(number == by) for number in range(rules))
        return cls(
            rows,
            left=tuple(rows * (number < by) for number in range(rules)),
            alone=tuple(rows * (1 - one) for one in only),
            unknown=(0,) * rules,
            unread=tuple(rows * one for one in only),
            groups=only,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "rows": self.rows,
            "left": list(self.left),
            "alone": list(self.alone),
            "unknown": list(self.unknown),
            **{n: list(found) for n in _SELDOM if any(found := getattr(self, n))},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Counts:
        """What `to_json` gave. Raises KeyError, TypeError."""
        return cls(
            int(data["rows"]),
            tuple(data["left"]),
            tuple(data["alone"]),
            tuple(data["unknown"]),
            *(tuple(data.get(name, ())) for name in _SELDOM),
        )


def _added(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...]:
    return tuple(x + y for x, y in zip(a, b, strict=True))


def tests_of(rules: Sequence[AnyRule], part: OpenPart) -> tuple[list[Tests], tuple[str, ...]]:
    """The rules over this part's columns, and the columns that they read.

    Raises RuleError and SchemaError where one cannot be evaluated on this part.
    """
    types = Columns(polars_types(part.schema))
    tests, read = [], {}
    for rule in rules:
        test, columns = of_part(rule, part.part.name).tests(types, part.part.url)
        tests.append(test)
        read.update(dict.fromkeys(columns))
        types = _after(rule, types)
    # A condition on no column at all still has to be asked of every row.
    return tests, tuple(read) or (next(iter(part.binding.columns)),)


def columns_after(rules: Sequence[AnyRule], part: OpenPart) -> Columns:
    """This part's columns as they are once the rules have changed what they change."""
    types = Columns(polars_types(part.schema))
    for rule in rules:
        types = _after(rule, types)
    return types


def _after(rule: AnyRule, columns: Columns) -> Columns:
    return rule.after(columns) if isinstance(rule, Rule) else columns


def counting(tests: Sequence[Tests]) -> list[pl.Expr]:
    """Expressions that count, over a frame, what `Counts` holds; see `counted`."""
    exprs: list[pl.Expr] = []
    passing: pl.Expr | None = None
    for number, test in enumerate(tests):
        passing = test.passes if passing is None else passing & test.passes
        exprs += [
            passing.sum().alias(f"left{number}"),
            test.passes.sum().alias(f"alone{number}"),
            test.unknown.sum().alias(f"unknown{number}"),
        ]
        if test.changes is not None:
            exprs.append((passing & test.changes).sum().alias(f"changed{number}"))
    return exprs


def counting_unique_kills(tests: Sequence[Tests]) -> list[pl.Expr]:
    """Expressions that count, over a frame, the rows that one rule drops and all others keep:
    `only0`, `only1` ... in the rules' order."""
    import polars as pl

    drops = [~test.passes.fill_null(False) for test in tests]
    once = pl.sum_horizontal([0, *(each.cast(pl.UInt32) for each in drops)]) == 1
    return [(each & once).sum().alias(f"only{number}") for number, each in enumerate(drops)]


def counted(rows: int, row: Mapping[str, Any], rules: int) -> Counts:
    """The counts in the one row that `counting` gives."""

    def of(name: str) -> tuple[int, ...]:
        return tuple(int(row.get(f"{name}{n}") or 0) for n in range(rules))

    return Counts(rows, of("left"), of("alone"), of("unknown"), of("changed"))


@dataclass(frozen=True)
class Step:
    """One line of the funnel. All in rows.

    dropped: taken by this rule from what the rules before it left. dropped_alone: what it would
    take from all rows. null: rows it could not judge, because a value is null or NaN; they are
    among the dropped. left: what remains after it. changed: of those, whose text it changed; None
    of a rule that changes nothing.
    """

    rule: str
    dropped: int
    dropped_alone: int
    null: int
    left: int
    note: str = ""
    changed: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "rule": self.rule,
            "dropped": self.dropped,
            "dropped_alone": self.dropped_alone,
            "null": self.null,
            "left": self.left,
            "note": self.note,
            **({} if self.changed is None else {"changed": self.changed}),
        }


def funnel(rules: Sequence[AnyRule], counts: Counts, *, schema: str = "coyo") -> tuple[Step, ...]:
    """The lines of the funnel, a rule each, in order. schema: whose data it is."""
    before = counts.rows
    steps = []
    for number, rule in enumerate(rules):
        left, alone = counts.left[number], counts.rows - counts.alone[number]
        changed = counts.changed[number] if isinstance(rule, Rule) and rule.kind.is_switch else None
        note = _note(rule, counts, number, schema)
        if changed is not None:
            note = f"changes {changed:,} of the texts left"
        note = "; ".join(filter(None, [note, _unread(counts, number)]))
        unknown = counts.unknown[number]
        steps.append(Step(rule.label, before - left, alone, unknown, left, note, changed))
        before = left
    return tuple(steps)


def _note(rule: AnyRule, counts: Counts, number: int, schema: str) -> str:
    read = counts.rows - sum(counts.unread)
    others = sum(counts.unread) - counts.unread[number]
    if counts.rows == others or counts.alone[number] < counts.rows:
        counted = f"counted of the {read:,} rows read" if others else ""
        return "; ".join(filter(None, [rule.note, counted]))
    if schema == "coyo" and is_cut_upstream(rule):
        return "drops nothing: COYO was cut there already"
    return f"drops nothing of the {read:,} rows read" if others else "drops nothing"


def _unread(counts: Counts, number: int) -> str:
    """What this rule ruled out by statistics."""
    rows, groups = counts.unread[number], counts.groups[number]
    noun = "row group" if groups == 1 else "row groups"
    any_way = ", whatever the rules before it say" if number else ""
    return f"{rows:,} rows in {groups:,} {noun} unread, by statistics{any_way}" if groups else ""
