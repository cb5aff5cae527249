"""Rules that look at all rows: the top by a column, and samples of a fixed size.

Passes over the data find where such a rule cuts (`stages.select`); after that it is a
condition on one row, as every other rule. Rows are taken best first: by value, largest first, then
by smaller h(id, 0). A top may also be taken of each part by itself; then it has a cut in each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from coyo_tools.pieces.measures import Measure
from coyo_tools.pieces.sampling import SPAN, Amount, amount_of, hash_expr, seed_of
from coyo_tools.words.errors import RuleError

if TYPE_CHECKING:
    import polars as pl

Schema = Mapping[str, "pl.DataType"]
AnyKind = TypeVar("AnyKind")

# Flags of `coyo filter` beside the kinds of rules: name, what stands for its value, help.
OTHER_FLAGS: tuple[tuple[str, str, str], ...] = (
    (
        "top",
        "30%|COUNT",
        "Of the rows left so far those largest by --by; ties: smaller h(id, 0).",
    ),
    ("by", "COLUMN", "What --top looks at: a column, or SQL that gives a number."),
    ("sample", "1%|COUNT", "A random share or number of the rows, by h(id, seed); 1% lies in 10%."),
    ("seed", "N", "Of --sample; 0 unless given."),
    ("preset", "NAME", "The rules of a preset, at this place; coyo presets lists them."),
    ("recipe", "FILE", "The rules of a recipe's filter list, at this place."),
)


@dataclass(frozen=True)
class Tests:
    """A rule as polars expressions, Boolean. passes: null where unknown. unknown: never null.

    changes: never null; of a rule that changes the text, whether it changes the row's.
    """

    passes: pl.Expr
    unknown: pl.Expr
    changes: pl.Expr | None = None


@dataclass(frozen=True)
class Cut:
    """Where a selection cuts.

    rows: it keeps (a few more where ids repeat). value: rows beyond it are kept; None where every
    row with a value is kept, or none. hash: of the rows at `value`, those with a hash up to it
    are kept; None where all of them are. ties: rows at `value`, ties_kept: of them.
    """

    rows: int
    value: float | int | None = None
    hash: int | None = None
    ties: int = 0
    ties_kept: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain data. The value as text where JSON has no number for it."""
        import math

        odd = isinstance(self.value, float) and not math.isfinite(self.value)
        return {
            "rows": self.rows,
            "value": str(self.value) if odd else self.value,
            "hash": self.hash,
            "ties": self.ties,
            "ties_kept": self.ties_kept,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Cut:
        """What `to_json` gave. Raises KeyError, TypeError, ValueError."""
        value = data["value"]
        return cls(
            int(data["rows"]),
            float(value) if isinstance(value, str) else value,
            data["hash"],
            int(data["ties"]),
            int(data["ties_kept"]),
        )


@dataclass(frozen=True)
class Top:
    """`--top AMOUNT --by COLUMN`: the rows with the largest values, of the source or of each part.

    per: `source` or `part`. cut: once it is known. cuts: the same by the name of the part.
    """

    amount: Amount
    by: str
    per: str = "source"
    cut: Cut | None = None
    cuts: Mapping[str, Cut] = field(default_factory=dict, hash=False)

    @property
    def label(self) -> str:
        """How the funnel names it."""
        of = " of each part" if self.per == "part" else ""
        return f"top {self.amount}{of} by {self.by}"

    @property
    def measure(self) -> Measure:
        """What it orders rows by."""
        return Measure(self.by)

    def as_recipe(self) -> dict[str, Any]:
        """As a recipe writes it."""
        per = {"per": self.per} if self.per == "part" else {}
        return {"top": self.amount.written, "by": self.by, **per}

    @property
    def note(self) -> str:
        """Where it cuts, for the funnel."""
        if values := [cut.value for cut in self.cuts.values() if cut.value is not None]:
            return f"from {_shown(min(values))} to {_shown(max(values))}, part by part"
        if self.cut is None or self.cut.value is None:
            return ""
        if self.cut.hash is None:
            return f"from {_shown(self.cut.value)}"
        return f"from {_shown(self.cut.value)}, {self.cut.ties_kept:,} of {self.cut.ties:,} ties"

    def tests(self, schema: Schema, source: str) -> tuple[Tests, tuple[str, ...]]:
        """As `Rule.tests`; before the cut is known every row with a value passes."""
        import polars as pl

        measured = self.measure.over(schema, source)
        Measure().over(schema, source)  # ties need the id, should there be any
        value, cut = measured.expr, self.cut
        unknown = value.is_null()
        if cut is None or (cut.value is None and cut.rows):
            return Tests(pl.when(unknown).then(None).otherwise(True), unknown), measured.columns
        if cut.value is None:
            return Tests(pl.when(unknown).then(None).otherwise(False), unknown), measured.columns
        dtype = {"int": pl.Int64, "f32": pl.Float32, "f64": pl.Float64}[measured.order.kind]
        bound = pl.lit(cut.value, dtype=dtype)
        if cut.hash is None:
            return Tests(value >= bound, unknown), measured.columns
        looked_at = [value == bound, pl.col("id")]
        tied = pl.map_batches(looked_at, partial(_up_to, cut.hash), pl.Boolean, is_elementwise=True)
        return Tests((value > bound) | tied, unknown), (*measured.columns, "id")


def _up_to(last: int, columns: Sequence[pl.Series]) -> pl.Series:
    """Of the rows that are tied, those with a hash up to the last. columns: whether a row is, id.

    As an expression the hash would be that of every row: a tenth of the time that a top takes.
    """
    import polars as pl

    tied, ids = columns
    if len(tied) != len(ids):  # polars saw that all rows have one value
        tied = tied.new_from_index(0, len(ids))
    at = tied.arg_true()
    kept = pl.DataFrame({"id": ids.gather(at)}).select(hash_expr() <= pl.lit(last, dtype=pl.UInt64))
    passes = pl.repeat(value=False, n=len(ids), eager=True)
    return passes.scatter(at.filter(kept.to_series()), values=True)


def _shown(value: float | int) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


@dataclass(frozen=True)
class Sample:
    """`--sample AMOUNT --seed N`: a share is a rule on each row, h(id, seed) < share * 2^64; of a
    count the smallest h. cut: once it is known; a share needs none."""

    amount: Amount
    seed: int = 0
    cut: Cut | None = None

    @property
    def label(self) -> str:
        """How the funnel names it."""
        return f"sample {self.amount}, seed {self.seed}"

    @property
    def measure(self) -> Measure:
        """What it orders rows by."""
        return Measure(seed=self.seed)

    def as_recipe(self) -> dict[str, Any]:
        """As a recipe writes it."""
        return {"sample": self.amount.written, "seed": self.seed}

    @property
    def note(self) -> str:
        """Nothing worth telling."""
        return ""

    def tests(self, schema: Schema, source: str) -> tuple[Tests, tuple[str, ...]]:
        """As `Rule.tests`; before the cut of a count is known every row passes."""
        import polars as pl

        measured = self.measure.over(schema, source)
        last = SPAN - 1
        if self.amount.share is not None:
            last = self.amount.hash_bound - 1
        elif self.cut is not None and self.cut.hash is not None:
            last = self.cut.hash
        passes = measured.expr <= pl.lit(last, dtype=pl.UInt64)
        return Tests(passes, pl.col("id").is_null()), measured.columns


Selection = Top | Sample


def needs_cut(rule: object) -> bool:
    """Whether passes over the data have to find where this rule cuts."""
    if isinstance(rule, Sample):
        return rule.amount.share is None
    return isinstance(rule, Top)


def of_part(rule: AnyKind, name: str) -> AnyKind:
    """The rule as it is for the part of that name: a top of each part with the cut it has there.

    Raises RuleError where it was taken of other parts.
    """
    if not isinstance(rule, Top) or not rule.cuts:
        return rule
    if name not in rule.cuts:
        raise RuleError(f"was taken of other parts than {name}", where=rule.label)
    return replace(rule, cut=rule.cuts[name], cuts={})


def cuts_of(rules: Iterable[object]) -> list[dict[str, Any]]:
    """Where the selections among the rules cut, as manifests say it."""
    found: list[dict[str, Any]] = []
    for rule in rules:
        if isinstance(rule, Top) and rule.cuts:
            parts = [{"part": name, **cut.to_json()} for name, cut in rule.cuts.items()]
            found.append({"rule": rule.label, "parts": parts})
        elif isinstance(rule, Top | Sample) and rule.cut is not None:
            found.append({"rule": rule.label, **rule.cut.to_json()})
    return found


def selection_of(entry: Mapping[str, Any]) -> Selection:
    """`{top: 30%, by: COLUMN, per: part}` or `{sample: 1%, seed: 0}`. Raises RuleError."""
    kind, others = ("top", ("by", "per")) if "top" in entry else ("sample", ("seed",))
    for name in entry:
        if name not in (kind, *others):
            raise RuleError(f"{kind} has no {name!r}", todo=f"it goes with {others[0]!r}")
    amount = amount_of(entry.get(kind), f"--{kind}")
    if kind == "sample":
        return Sample(amount, seed_of(entry.get("seed", 0), "--seed"))
    by = entry.get("by")
    if not isinstance(by, str) or not by.strip():
        raise RuleError("names no column to order by", where="--top", todo="add --by COLUMN")
    return Top(amount, by.strip(), per_of(entry.get("per", "source")))


def per_of(value: Any) -> str:
    """`part` or `source`. Raises RuleError."""
    if value not in ("part", "source"):
        raise RuleError(f"per is 'part' or 'source', not {value!r}", where="--top")
    return str(value)


def taken_per(rules: Iterable[AnyKind], per: Any) -> tuple[AnyKind, ...]:
    """The rules, every top of each part or of the source. Raises RuleError."""
    return tuple(replace(r, per=per_of(per)) if isinstance(r, Top) else r for r in rules)


def check_per(rules: Iterable[object]) -> None:
    """Raises RuleError where there is no top that `per` could speak of."""
    if not any(isinstance(rule, Top) for rule in rules):
        raise RuleError(
            "per (--per-part, --global) says how a top is taken, and these rules have none",
            todo="leave it out",
        )


GO_WITH: Mapping[str, str] = {"by": "top", "seed": "sample"}
HAVE_PER = ("top", "preset", "recipe")  # what `per` may stand beside


def entries_of(rules: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Rules by keyword as a recipe's entries; those that are None were not given.

    Raises RuleError where `by`, `seed` or `per` stands alone.
    """
    given = {name: value for name, value in rules.items() if value is not None}
    per = {"per": given.pop("per")} if "per" in given else {}
    if per and not given.keys() & set(HAVE_PER):
        raise RuleError("'per' goes with 'top', 'preset' or 'recipe': none was given")
    for name, first in GO_WITH.items():
        if name in given and first not in given:
            raise RuleError(f"{name!r} goes with {first!r}, which was not given")
    for name, value in given.items():
        if name not in GO_WITH:
            more = [n for n, first in GO_WITH.items() if first == name and n in given]
            yield {name: value} | {n: given[n] for n in more} | (per if name in HAVE_PER else {})
