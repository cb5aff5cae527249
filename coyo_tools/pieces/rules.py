"""The rules of `filter`: what a row has to be like to be kept. Each kind is declared once, below.

The command line's flags, the keywords of `coyo_tools.filter()`, recipes, the funnel and
docs/rules.md all read `RULE_KINDS`. A rule is evaluated by polars over columns under COYO's names.

All bounds are inclusive and compared in the column's own type: 0.3 on a float32 column means
float32(0.3), and a fraction as bound of an integer column is compared exactly. A rule keeps no row
in which a column it reads is null or NaN; infinities are values, and -0.0 equals 0.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from coyo_tools.pieces import where
from coyo_tools.pieces.blocked_words import BlockedWords, blocked_words_of
from coyo_tools.pieces.html_text import unescaped
from coyo_tools.pieces.language import is_one_of, languages_of
from coyo_tools.pieces.selections import (
    Sample,
    Tests,
    Top,
    check_per,
    selection_of,
    taken_per,
)
from coyo_tools.pieces.sql_functions import check_regex
from coyo_tools.pieces.sql_terms import Columns, Mismatch, Term, column, compare, expr_of
from coyo_tools.words.errors import RuleError, SchemaError, nearest
from coyo_tools.words.schema import CUT_UPSTREAM

if TYPE_CHECKING:
    import polars as pl

Schema = Mapping[str, "pl.DataType"]
Value = float | str | tuple[str, ...] | BlockedWords
_METAVARS = {"sql": "SQL", "matches": "REGEX", "excludes": "REGEX", "is": "CODE", "lacks": "FILE"}
Combine = str  # "" compares each column by itself; see `_combined` for the others


@dataclass(frozen=True)
class RuleKind:
    """One kind of rule. name: as a recipe writes it. columns: it reads; () where its value says.

    operator: `>=` and `<=` take a number, `matches` and `excludes` a regular expression, `sql` a
    condition, `is` languages, `lacks` a file of words; `changes` drops nothing and changes the text
    for the rules after it and the output. combine: several columns to one number
    ("shorter", "longer", "ratio"), else each of them has to fulfil the bound. shown: the left side
    of its label.
    """

    name: str
    columns: tuple[str, ...]
    operator: str
    help: str
    combine: Combine = ""
    shown: str = ""

    @property
    def flag(self) -> str:
        """Its option on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def takes_number(self) -> bool:
        """Whether its value is a number (else it is text)."""
        return self.operator in (">=", "<=")

    @property
    def repeatable(self) -> bool:
        """Whether it may be given more than once: those that take text."""
        return not self.takes_number and not self.is_switch

    @property
    def is_switch(self) -> bool:
        """Whether it takes no value: a flag alone, `true` in a recipe."""
        return self.operator == "changes"

    @property
    def written(self) -> str:
        """The option with what stands for its value."""
        return self.flag if self.is_switch else f"{self.flag} {self.metavar}"

    @property
    def is_choice(self) -> bool:
        """Whether several values make one rule, which any of them fulfils."""
        return self.operator == "is"

    @property
    def metavar(self) -> str:
        """What stands for its value in help texts."""
        return _METAVARS.get(self.operator, "N")

    def label(self, value: Value) -> str:
        """How the funnel names a rule of this kind."""
        if self.operator == "sql":
            return str(value)
        if self.is_switch:
            return self.shown
        left = self.shown or self.columns[0]
        said = " or ".join(value) if isinstance(value, tuple) else value
        return f"{left} {self.operator} {said}"


def _bounds(stem: str, name: str, meaning: str) -> tuple[RuleKind, RuleKind]:
    return (
        RuleKind(f"min_{stem}", (name,), ">=", f"{name} ({meaning}) is N or more."),
        RuleKind(f"max_{stem}", (name,), "<=", f"{name} ({meaning}) is N or less."),
    )


_NSFW = ("nsfw_score_opennsfw2", "nsfw_score_gantman")
_SIDES = ("width", "height")

RULE_KINDS: tuple[RuleKind, ...] = (
    *_bounds("clip_b32", "clip_similarity_vitb32", "cosine, about 0.1 to 0.5"),
    *_bounds("clip_l14", "clip_similarity_vitl14", "cosine, about 0 to 0.5"),
    RuleKind("max_nsfw", _NSFW, "<=", "Both NSFW scores are N or less.", shown="nsfw_score_*"),
    RuleKind("max_nsfw_opennsfw2", _NSFW[:1], "<=", "nsfw_score_opennsfw2 is N or less."),
    RuleKind("max_nsfw_gantman", _NSFW[1:], "<=", "nsfw_score_gantman is N or less."),
    *_bounds("watermark", "watermark_score", "0 to 1"),
    *_bounds("aesthetic", "aesthetic_score_laion_v2", "about 1 to 8"),
    *_bounds("faces", "num_faces", "faces found"),
    RuleKind("min_side", _SIDES, ">=", "The shorter side is N px or more.", "shorter",
             "min(width, height)"),
    RuleKind("max_side", _SIDES, "<=", "The longer side is N px or less.", "longer",
             "max(width, height)"),
    RuleKind("max_aspect_ratio", _SIDES, "<=", "Longer side / shorter side is N or less.", "ratio",
             "aspect ratio"),
    *_bounds("words", "word_count", "words"),
    *_bounds("chars", "text_length", "characters"),
    RuleKind("text_matches", ("text",), "matches",
             "The text contains a match of the regular expression; repeatable."),
    RuleKind("text_excludes", ("text",), "excludes",
             "The text contains no match of the regular expression; repeatable."),
    RuleKind("language", ("text",), "is",
             "The text is in this language, en for instance, by cld3; repeatable: in any of them.",
             shown="language"),
    RuleKind("blocked_words", ("text",), "lacks",
             "The text holds no word or phrase of the file, one a line; repeatable."),
    RuleKind("unescape_html", ("text",), "changes",
             "Make characters of &amp; and the like, for the rules after it and the output.",
             shown="html unescaped"),
    RuleKind("where", (), "sql", "Any condition in SQL over the columns; repeatable."),
)  # fmt: skip
KINDS: Mapping[str, RuleKind] = {kind.name: kind for kind in RULE_KINDS}


@dataclass(frozen=True)
class Rule:
    """One rule and its value: a number, a regular expression, a condition, languages or words."""

    kind: RuleKind
    value: Value

    @property
    def label(self) -> str:
        """How the funnel names it."""
        return self.kind.label(self.value)

    @property
    def note(self) -> str:
        """What the funnel adds: nothing."""
        return ""

    def as_recipe(self) -> dict[str, Any]:
        """As a recipe writes it: {"min_clip_l14": 0.25}."""
        if isinstance(self.value, BlockedWords):
            return self.value.as_recipe()
        if isinstance(self.value, tuple):
            return {self.kind.name: self.value[0] if len(self.value) == 1 else list(self.value)}
        return {self.kind.name: self.value}

    def tests(self, schema: Schema, source: str) -> tuple[Tests, tuple[str, ...]]:
        """The rule over columns of these types, and the columns that it reads.

        Raises RuleError or SchemaError where it cannot be evaluated; source: what to blame.
        """
        if self.kind.operator == "sql":
            condition = where.compile_where(str(self.value), schema)
            return Tests(condition.expr, condition.expr.is_null()), condition.columns
        for name in self.kind.columns:
            if name not in schema:
                raise SchemaError(
                    f"has no column {name!r}, which {self.kind.flag} reads",
                    where=source,
                    todo="leave the rule out, or put it in terms of other columns with --where",
                )
        if self.kind.takes_number:
            return self._bound(schema), self.kind.columns
        return self._text(schema), self.kind.columns

    def after(self, columns: Columns) -> Columns:
        """The columns as the rules after it see them."""
        if not self.kind.is_switch:
            return columns
        return columns.with_made("text", unescaped(expr_of(columns, "text")))

    def _bound(self, schema: Schema) -> Tests:
        bound = Term("number", value=Decimal(repr(self.value)))
        terms = [column(name, schema[name]) for name in self.kind.columns]
        unknown = functools.reduce(lambda a, b: a | b, [_expr(t).is_null() for t in terms])
        if self.kind.combine:
            terms = [_combined(self.kind.combine, terms)]
        held = [_expr(compare(self.kind.operator, term, bound)) for term in terms]
        return Tests(functools.reduce(lambda a, b: a & b, held), unknown)

    def _text(self, schema: Schema) -> Tests:
        text = expr_of(schema, "text")
        if self.kind.is_switch:
            always = text.is_null() | True  # of every row, where True alone would be one answer
            return Tests(always, ~always, unescaped(text).ne_missing(text))
        match self.value:
            case BlockedWords():
                passes = ~self.value.found_in(text)
            case tuple():
                passes = is_one_of(text, self.value)
            case _:
                found = text.str.contains(str(self.value))
                passes = found if self.kind.operator == "matches" else ~found
        return Tests(passes, text.is_null())


def _expr(term: Term) -> pl.Expr:
    assert term.expr is not None
    return term.expr


def _combined(how: Combine, terms: Sequence[Term]) -> Term:
    """Width and height to one number; null where either is."""
    import polars as pl

    one, other = (_expr(term) for term in terms)
    shorter = pl.when(one < other).then(one).otherwise(other)
    longer = pl.when(one < other).then(other).otherwise(one)
    either_null = one.is_null() | other.is_null()
    result = {
        "shorter": shorter,
        "longer": longer,
        "ratio": longer.cast(pl.Float64) / shorter.cast(pl.Float64),
    }[how]
    kind = "f64" if how == "ratio" else terms[0].kind
    return Term(kind, pl.when(either_null).then(None).otherwise(result))


def rule_of(name: str, value: Any) -> Rule:
    """The rule a recipe's `{name: value}` stands for. Raises RuleError, a sentence."""
    kind = KINDS.get(name)
    if kind is None:
        known = [*KINDS, "top", "sample", "preset", "recipe"]
        near = nearest(str(name), known)
        raise RuleError(
            f"no rule is called {name!r}",
            todo=f"did you mean {near!r}?" if near else f"there are {', '.join(known)}",
        )
    return Rule(kind, _value(kind, value))


def _value(kind: RuleKind, value: Any) -> Value:
    if kind.takes_number:
        return _number(kind, value)
    if kind.is_switch:
        if value is not True:
            raise RuleError(f"takes true, not {value!r}", where=kind.flag)
        return value
    if kind.operator == "is":
        return languages_of(value)
    if kind.operator == "lacks":
        return blocked_words_of(value)
    if not isinstance(value, str):
        raise RuleError(f"takes text, not {value!r}", where=kind.flag)
    _CHECKS[kind.operator](kind, value)
    return value


AnyRule = Rule | Top | Sample


def rules_of(recipe: Iterable[Mapping[str, Any]]) -> tuple[AnyRule, ...]:
    """The rules of a recipe, in order; presets and recipes that it names are filled in.

    A list as value stands for several. Raises RuleError, and SourceError where a file is missing.
    """
    found: list[AnyRule] = []
    asks_per = False
    for entry in recipe:
        asks_per |= isinstance(entry, Mapping) and "per" in entry
        if isinstance(entry, Mapping) and entry.keys() & {"top", "sample"}:
            found.append(selection_of(entry))
            continue
        if isinstance(entry, Mapping) and entry.keys() == {"blocked_words", "sha256"}:
            words = blocked_words_of(entry["blocked_words"], entry["sha256"])
            found.append(Rule(KINDS["blocked_words"], words))
            continue
        if isinstance(entry, Mapping) and len(entry.keys() - {"per"}) == 1:
            (name,) = entry.keys() - {"per"}
            if name in ("preset", "recipe"):
                found += _rules_from(name, entry[name], entry.get("per"))
                continue
        if not isinstance(entry, Mapping) or len(entry) != 1:
            raise RuleError(f"a rule is written as one name and its value, not as {entry!r}")
        ((name, value),) = entry.items()
        found += [rule_of(name, item) for item in _several(name, value)]
    if asks_per:
        check_per(found)
    return tuple(found)


def _several(name: str, value: Any) -> Sequence[Any]:
    """The values of as many rules."""
    kind = KINDS.get(name)
    spreads = kind is not None and kind.repeatable and not kind.is_choice
    return value if spreads and isinstance(value, list | tuple) else [value]


def _rules_from(kind: str, value: Any, per: Any) -> list[AnyRule]:
    """The rules of a preset or recipe. per: of its tops, in place of what it says itself."""
    from coyo_tools.pieces.recipes import preset_named, recipe_at

    rules = rules_of(preset_named(value).rules if kind == "preset" else recipe_at(value).rules)
    return list(rules if per is None else taken_per(rules, per))


def _number(kind: RuleKind, value: Any) -> float:
    """A bound as int or float. Raises RuleError for NaN, infinities, bools and text."""
    if hasattr(value, "item"):
        value = value.item()  # numpy's numbers
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RuleError(f"takes a number, not {value!r}", where=kind.flag)
    if isinstance(value, float) and not math.isfinite(value):
        raise RuleError(f"{value} is no bound to compare with", where=kind.flag)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)  # 256.0 and 256 are one rule, in the manifest too
    return value


def _check_regex(kind: RuleKind, value: str) -> None:
    try:
        check_regex(value, value)
    except Mismatch as error:
        raise RuleError(str(error), where=kind.flag) from error


_CHECKS: Mapping[str, Callable[[RuleKind, str], object]] = {
    "matches": _check_regex,
    "excludes": _check_regex,
    "sql": lambda _, value: where.names_in(value),
}


def packages_of(rules: Iterable[AnyRule]) -> tuple[str, ...]:
    """Optional packages whose release shapes what these rules keep."""
    judged = any(isinstance(rule, Rule) and rule.kind.operator == "is" for rule in rules)
    return ("cld3-py",) if judged else ()


def notes_of(rules: Iterable[AnyRule]) -> tuple[str, ...]:
    """What a reader of the result has to know about its columns."""
    if not any(isinstance(rule, Rule) and rule.kind.is_switch for rule in rules):
        return ()
    return (
        "text is html-unescaped; text_length, word_count, token counts and scores are of the text "
        "as it was: `coyo score -c text_length` counts anew",
    )


def is_cut_upstream(rule: AnyRule) -> bool:
    """Whether every row of COYO passes, because its makers cut there already."""
    if not isinstance(rule, Rule):
        return False
    if isinstance(rule.value, tuple):
        return "en" in rule.value
    if not rule.kind.takes_number or not isinstance(rule.value, int | float):
        return False
    names = ("aspect_ratio",) if rule.kind.combine == "ratio" else rule.kind.columns
    if rule.kind.combine == "longer":
        return False
    return all(_implied(name, rule.kind.operator, rule.value) for name in names)


def _implied(name: str, operator: str, value: float) -> bool:
    for column_name, cut_operator, cut in CUT_UPSTREAM:
        if (column_name, cut_operator) == (name, operator):
            return value >= cut if operator == "<=" else value <= cut
    return False
