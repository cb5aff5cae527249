"""--where: a condition in SQL, turned into one polars expression over a row.

sqlglot parses (DuckDB's dialect), so that names, positions and everything that is no condition on
one row can be told; the tree is then translated here, node by node, and what is not
translated is refused. Handing the regenerated SQL to `polars.sql_expr` was tried and is not enough:
polars compares NaN as the largest value, takes `1/0`, `%` and LIKE its own way, and names errors
after its own plan. On 3 million rows the two differ by less than a millisecond for numbers, and
for text this one is not the slower.

Meaning: SQL's three-valued logic. A NaN counts as null, so no comparison with either is true, not
even under NOT; IS NULL finds both, isnan() only NaN. A number is compared in the column's own type:
0.3 with a float32 column means float32(0.3), and an integer column is compared exactly
(`num_faces < 0.5` keeps 0). Integer arithmetic is exact, in 128 bits, and refused where these may
not be enough; `/` gives a fraction, and infinities as floats do; `//` and `%` cut toward zero and
give null for a zero divisor. length() counts characters.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coyo_tools.pieces import sql_functions as functions
from coyo_tools.pieces import sql_terms as terms
from coyo_tools.pieces.sql_parsing import PREFIX, named, parse, too_deep
from coyo_tools.pieces.sql_terms import Term
from coyo_tools.words.errors import CoyoError, RuleError, beginning, nearest

if TYPE_CHECKING:
    import polars as pl
    from sqlglot import exp


@dataclass(frozen=True)
class Condition:
    """A parsed condition. columns: those it reads. expr: Boolean, null where unknown."""

    sql: str
    columns: tuple[str, ...]
    expr: pl.Expr


def names_in(sql: str) -> tuple[str, ...]:
    """The names a condition mentions, as written. Raises RuleError where it is no condition."""
    from sqlglot import exp

    found = parse(sql).find_all(exp.Column)
    return tuple(dict.fromkeys(column.name for column in found))


def compile_where(sql: str, schema: Mapping[str, pl.DataType]) -> Condition:
    """Translate a condition over columns of these types. Raises RuleError, a sentence."""
    import polars as pl

    term, columns = _translated(sql, schema)
    if term.kind not in ("bool", "null"):
        raise RuleError(
            "is not a condition: it gives a value that is neither true nor false",
            where=named(sql),
            todo="compare it with something",
        )
    expr = term.expr_as("bool")
    if not columns and schema:  # an answer for every row, not one for all of them
        columns = (next(iter(schema)),)
        expr = pl.when(pl.col(columns[0]).is_null()).then(expr).otherwise(expr)
    return Condition(sql, columns, expr)


def compile_number(sql: str, schema: Mapping[str, pl.DataType]) -> tuple[Term, tuple[str, ...]]:
    """Translate an expression that gives a number: the term, and the columns that it reads.

    Raises RuleError, a sentence.
    """
    term, columns = _translated(sql, schema)
    if term.kind not in terms.NUMBERS or not columns:
        raise RuleError("gives no number of a row", where=named(sql))
    return term, columns


def _translated(sql: str, schema: Mapping[str, pl.DataType]) -> tuple[Term, tuple[str, ...]]:
    """The term that it is, and the columns that it reads."""
    translate = _Translator(sql, schema)
    try:
        term = translate(parse(sql))
    except RecursionError as error:
        raise too_deep(sql) from error
    return term, tuple(translate.columns)


Handler = Callable[["_Translator", Any], Term]


class _Translator:
    """Walks the tree. Each node's class has a handler and the arguments it understands."""

    def __init__(self, sql: str, schema: Mapping[str, pl.DataType]) -> None:
        self._sql, self._schema = sql, schema
        self.columns: dict[str, None] = {}
        self.keep_nan = False

    def __call__(self, node: Any) -> Term:
        if node is None:
            raise terms.Mismatch("a value is missing")
        handler, known = _handlers().get(type(node), (None, frozenset()))
        unknown = {key for key, value in node.args.items() if value} - known
        if handler is None or unknown:
            raise self.refusal(node)
        try:
            return handler(self, node)
        except terms.Mismatch as error:
            raise RuleError(f"{error} in {_text(node)}", where=named(self._sql)) from error

    def refusal(self, node: Any) -> CoyoError:
        """Why this is no part of a condition on a row."""
        from sqlglot import exp

        if isinstance(node, exp.AggFunc | exp.Window):
            why = "looks at many rows; a rule sees one row at a time"
        elif isinstance(node, exp.Query | exp.Subquery | exp.Exists):
            why = "is a query of its own; a rule sees one row at a time"
        else:
            why = "is not among the functions and operators of --where (docs/rules.md)"
        return RuleError(f"{_text(node)} {why}", where=named(self._sql))

    def column(self, node: exp.Column) -> Term:
        name = self._name(node)
        self.columns[name] = None
        expr = terms.expr_of(self._schema, name)
        return terms.column(name, self._schema[name], keep_nan=self.keep_nan, expr=expr)

    def _name(self, node: exp.Column) -> str:
        name = name_in(self._schema, node)
        if name is None:
            raise self._unknown(node, node.name)
        return name

    def _unknown(self, node: exp.Column, name: str) -> RuleError:
        start = node.this.meta.get("start")
        place = f" at character {start - len(PREFIX) + 1}" if start is not None else ""
        near = nearest(name, list(self._schema))
        if node.this.args.get("quoted"):
            todo = "text stands in single quotes; double quotes are for names"
        elif near:
            todo = f"did you mean {near!r}?"
        else:
            todo = f"there are {', '.join(self._schema)}"
        return RuleError(f"no column {name!r}{place}", where=named(self._sql), todo=todo)


def name_in(schema: Mapping[str, pl.DataType], node: exp.Column) -> str | None:
    """The schema's name of a column, in any case where it is not quoted; None: there is none."""
    if node.name in schema:
        return node.name
    folded = [known for known in schema if known.lower() == node.name.lower()]
    return folded[0] if len(folded) == 1 and not node.this.args.get("quoted") else None


def _text(node: Any) -> str:
    from sqlglot.errors import SqlglotError

    try:
        return beginning(node.sql(dialect="duckdb"), 60)
    except SqlglotError:  # something is missing in it that cannot be written without
        return str(node.key).upper()


def _literal(_: _Translator, node: exp.Literal) -> Term:
    return terms.text(node.this) if node.args.get("is_string") else terms.number(node.this)


def _negative(to: _Translator, node: exp.Neg) -> Term:
    return functions.negative(to(node.this))


def _binary(operate: Callable[[Term, Term], Term]) -> Handler:
    return lambda to, node: operate(to(node.this), to(node.expression))


def _chained(operate: Callable[[Term, Term], Term]) -> Handler:
    """Of a chain such as a OR b OR c all at once: it may have thousands."""
    return lambda to, node: terms.balanced(operate, [*map(to, node.flatten(unnest=False))])


def _unary(operate: Callable[[Term], Term]) -> Handler:
    return lambda to, node: operate(to(node.this))


def _compared(operator: str) -> Handler:
    return _binary(lambda a, b: terms.compare(operator, a, b))


def _arithmetic(operator: str) -> Handler:
    return _binary(lambda a, b: functions.arithmetic(operator, a, b))


def _listed(to: _Translator, node: exp.In) -> Term:
    if not node.expressions:
        raise terms.Mismatch("nothing is listed")
    return terms.one_of(to(node.this), [to(item) for item in node.expressions])


def _between(to: _Translator, node: exp.Between) -> Term:
    value, low, high = to(node.this), to(node.args["low"]), to(node.args["high"])
    return terms.both(terms.compare(">=", value, low), terms.compare("<=", value, high))


def _is(to: _Translator, node: exp.Is) -> Term:
    from sqlglot import exp

    if isinstance(node.expression, exp.Null):
        return terms.is_null(to(node.this))
    if isinstance(node.expression, exp.Boolean):
        return terms.is_truth(to(node.this), bool(node.expression.this))
    raise to.refusal(node)


def _case(to: _Translator, node: exp.Case) -> Term:
    subject = to(node.this) if node.this is not None else None
    branches = []
    for branch in node.args["ifs"]:
        when = to(branch.this)
        if subject is not None:
            when = terms.compare("=", subject, when)
        branches.append((when, to(branch.args["true"])))
    default = node.args.get("default")
    return functions.case(branches, to(default) if default is not None else terms.null())


def _if(to: _Translator, node: exp.If) -> Term:
    other = node.args.get("false")
    then = to(node.args["true"])
    return functions.case([(to(node.this), then)], to(other) if other is not None else terms.null())


def _all_of(operate: Callable[[Sequence[Term]], Term]) -> Handler:
    return lambda to, node: operate([to(node.this), *[to(item) for item in node.expressions]])


def _pattern(kind: str) -> Handler:
    def handle(to: _Translator, node: Any) -> Term:
        found = functions.matches(kind, to(node.this), to(node.expression))
        return terms.inverted(found) if node.args.get("negate") else found

    return handle


def _escaped(to: _Translator, node: exp.Escape) -> Term:
    from sqlglot import exp

    like = node.this
    kind = {exp.Like: "like", exp.ILike: "ilike"}.get(type(like))
    if kind is None:
        raise to.refusal(node)
    found = functions.matches(kind, to(like.this), to(like.expression), escape=node.expression.this)
    return terms.inverted(found) if like.args.get("negate") else found


def _regexp(to: _Translator, node: exp.RegexpLike) -> Term:
    flag = node.args.get("flag")
    flags = str(to(flag).value) if flag is not None else ""
    return functions.matches("regexp", to(node.this), to(node.expression), flags=flags)


def _is_nan(to: _Translator, node: exp.IsNan) -> Term:
    outer, to.keep_nan = to.keep_nan, True
    try:
        return terms.is_nan(to(node.this))
    finally:
        to.keep_nan = outer


def _round(to: _Translator, node: exp.Round) -> Term:
    digits = node.args.get("decimals")
    return functions.rounded(to(node.this), to(digits) if digits is not None else terms.number("0"))


def _substring(to: _Translator, node: exp.Substring) -> Term:
    start, length = to(node.args.get("start")), node.args.get("length")
    return functions.substring(to(node.this), start, to(length) if length is not None else None)


def _cast(to: _Translator, node: exp.Cast) -> Term:
    return functions.cast(to(node.this), node.to.sql(dialect="duckdb"))


@functools.cache
def signs() -> Mapping[type, str]:
    """Comparisons by node class."""
    from sqlglot import exp

    return {exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">",
            exp.GTE: ">="}  # fmt: skip


@functools.cache
def _handlers() -> Mapping[type, tuple[Handler, frozenset[str]]]:
    """Node class: handler, and the arguments that it takes into account."""
    from sqlglot import exp

    two = frozenset({"this", "expression"})
    one = frozenset({"this"})
    several = frozenset({"this", "expressions"})
    operators = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.IntDiv: "//", exp.Mod: "%"}
    of_one = {
        exp.Sqrt: "sqrt", exp.Ln: "log", exp.Exp: "exp", exp.Floor: "floor", exp.Ceil: "ceil"
    }  # fmt: skip
    parts = {exp.Contains: "contains", exp.StartsWith: "starts_with", exp.EndsWith: "ends_with"}
    return {
        exp.Column: (_Translator.column, one),
        exp.Literal: (_literal, frozenset({"this", "is_string"})),
        exp.Boolean: (lambda _, node: terms.truth(bool(node.this)), one),
        exp.Null: (lambda _, __: terms.null(), frozenset()),
        exp.Paren: (lambda to, node: to(node.this), one),
        exp.Neg: (_negative, one),
        exp.Not: (_unary(terms.inverted), one),
        exp.And: (_chained(terms.both), two),
        exp.Or: (_chained(terms.either), two),
        **{node: (_compared(sign), two) for node, sign in signs().items()},
        exp.NullSafeEQ: (_binary(terms.same), two),
        exp.NullSafeNEQ: (_binary(lambda a, b: terms.inverted(terms.same(a, b))), two),
        **{node: (_arithmetic(sign), two) for node, sign in operators.items()},
        exp.Div: (_arithmetic("/"), two | {"typed", "safe"}),
        exp.Pow: (_binary(functions.power), two),
        exp.DPipe: (_chained(functions.joined), two | {"safe"}),
        exp.In: (_listed, several),
        exp.Between: (_between, frozenset({"this", "low", "high"})),
        exp.Is: (_is, two),
        exp.Case: (_case, frozenset({"this", "ifs", "default"})),
        exp.If: (_if, frozenset({"this", "true", "false"})),
        exp.Coalesce: (_all_of(functions.coalesce), several),
        exp.Greatest: (_all_of(functions.greatest), several | {"ignore_nulls"}),
        exp.Least: (_all_of(functions.least), several | {"ignore_nulls"}),
        exp.Nullif: (_binary(functions.null_if), two),
        exp.Like: (_pattern("like"), two | {"negate"}),
        exp.ILike: (_pattern("ilike"), two | {"negate"}),
        exp.Escape: (_escaped, two),
        exp.RegexpLike: (_regexp, two | {"flag"}),
        exp.RegexpFullMatch: (_pattern("regexp_full"), two),
        **{node: (_pattern(kind), two) for node, kind in parts.items()},
        exp.Abs: (_unary(functions.absolute), one),
        **{
            node: (_unary(functools.partial(functions.function, name)), one)
            for node, name in of_one.items()
        },
        exp.Round: (_round, frozenset({"this", "decimals"})),
        exp.Length: (_unary(functions.length), one),
        exp.Lower: (_unary(functools.partial(functions.letters, "lower")), one),
        exp.Upper: (_unary(functools.partial(functions.letters, "upper")), one),
        exp.Trim: (_unary(functools.partial(functions.letters, "trim")), one),
        exp.Substring: (_substring, frozenset({"this", "start", "length"})),
        exp.IsNan: (_is_nan, one),
        exp.Cast: (_cast, frozenset({"this", "to"})),
    }
