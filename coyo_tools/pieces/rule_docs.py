"""Every kind of rule in words: for `help(coyo_tools.filter)` and docs/rules.md."""

from __future__ import annotations

from coyo_tools.pieces.rules import RULE_KINDS, RuleKind
from coyo_tools.pieces.selections import OTHER_FLAGS


def rules_help() -> str:
    """Every kind by the name the API and recipes give it, a line each, and what goes beside."""
    kinds = [(k.name, "True" if k.is_switch else k.metavar, k.help) for k in RULE_KINDS]
    return "\n".join(f"{name}={metavar}: {said}" for name, metavar, said in (*kinds, *OTHER_FLAGS))


def rules_table() -> str:
    """docs/rules.md's table: every kind, what it reads and when it keeps a row."""
    lines = ["| flag | recipe and API | reads | keeps a row when |", "|---|---|---|---|"]
    for kind in RULE_KINDS:
        reads = ", ".join(f"`{name}`" for name in kind.columns) or "the columns it names"
        lines.append(f"| `{kind.written}` | `{kind.name}` | {reads} | {_keeps(kind)} |")
    return "\n".join(lines)


def _keeps(kind: RuleKind) -> str:
    match kind.operator:
        case "sql":
            return "the condition is true"
        case "matches":
            return "the regular expression (Rust's syntax) is found in it"
        case "excludes":
            return "the regular expression (Rust's syntax) is not found in it"
        case "changes":
            return "always; what follows sees the text with `&amp;` and the like as characters"
        case "is":
            return "cld3 reliably calls it CODE, or one of several"
        case "lacks":
            return "no word or phrase of the file is found in it"
    sign = "≥" if kind.operator == ">=" else "≤"
    if kind.combine:
        return {
            "shorter": f"the shorter side {sign} N px",
            "longer": f"the longer side {sign} N px",
            "ratio": f"longer side / shorter side {sign} N",
        }[kind.combine]
    return " and ".join(f"`{name}` {sign} N" for name in kind.columns)
