"""--where as sqlglot parses it (DuckDB's dialect), and what is no condition told in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from coyo_tools.words.errors import RuleError, beginning

if TYPE_CHECKING:
    from sqlglot import exp

PREFIX = "SELECT * FROM t WHERE "


def too_deep(sql: str) -> RuleError:
    """What to raise where it nests beyond what Python follows."""
    todo = "write fewer brackets within each other, or shorter sums"
    return RuleError("is nested too deeply", where=named(sql), todo=todo)


def named(sql: str) -> str:
    """The condition as errors name it."""
    return f"--where {beginning(sql)!r}"


def parse(sql: str) -> exp.Expression:
    """The tree of a condition. Raises RuleError where it is none."""
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import ParseError, TokenError

    if not sql.strip():
        raise RuleError("is empty", where=named(sql))
    try:
        statements = sqlglot.parse(PREFIX + sql, dialect="duckdb")
    except ParseError as error:
        raise _syntax_error(sql, error.errors[0] if error.errors else {}) from error
    except RecursionError as error:
        raise too_deep(sql) from error
    except TokenError as error:
        what = "does not end: a quote or comment is left open"
        raise RuleError(what, where=named(sql)) from error
    select = statements[0] if len(statements) == 1 else None
    parts = {key for key, value in select.args.items() if value} if select is not None else set()
    if not isinstance(select, exp.Select) or not parts <= {"expressions", "from_", "from", "where"}:
        raise RuleError("is more than one condition", where=named(sql), todo="give one condition")
    tree: exp.Expression = select.args["where"].this
    return tree


def _syntax_error(sql: str, said: Mapping[str, Any]) -> RuleError:
    lines = sql.split("\n")
    line, at = int(said.get("line") or 1), int(said.get("col") or 0)
    column = at - len(PREFIX) if line == 1 else at
    near = str(said.get("highlight") or "")
    column = max(1, min(column - len(near) + 1, len(lines[min(line, len(lines)) - 1]) + 1))
    place = f"line {line}, character {column}" if len(lines) > 1 else f"character {column}"
    return RuleError(
        f"has a syntax error at {place}" + (f", near {near!r}" if near else ""),
        where=named(sql),
        todo='write it as in SQL, such as "num_faces = 0 AND width > 512"',
    )
