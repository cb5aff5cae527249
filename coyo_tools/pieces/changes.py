"""How two runs differ, as their manifests have it: rules, settings, inputs, versions."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coyo_tools.machinery.manifest import Manifest
from coyo_tools.pieces.rules import AnyRule, rules_of
from coyo_tools.pieces.selections import Cut, needs_cut
from coyo_tools.words.errors import CoyoError, RuleError


def rules_in(manifest: Manifest) -> tuple[AnyRule, ...]:
    """The rules of a `coyo filter`, each selection with the cut that was found for it.

    Raises RuleError where the manifest has none, or some that this version does not know.
    """
    if manifest.command != "filter" or "recipe" not in manifest.result:
        raise RuleError(f"was made by `coyo {manifest.command}`, which has no rules")
    cuts = list(manifest.result.get("cuts", []))
    try:
        rules = rules_of(manifest.result["recipe"])
        return tuple(_with_cut(rule, cuts) if needs_cut(rule) else rule for rule in rules)
    except (LookupError, TypeError, ValueError) as error:
        raise RuleError("its manifest does not say where its selections cut") from error


def _with_cut(rule: Any, found: list[Mapping[str, Any]]) -> AnyRule:
    """The rule with the first of the cuts, which is taken."""
    said = found.pop(0)
    if said["rule"] != rule.label:
        raise ValueError(said["rule"])
    if "parts" in said:
        cuts = {each["part"]: Cut.from_json(each) for each in said["parts"]}
        of_parts: AnyRule = dataclasses.replace(rule, cuts=cuts)
        return of_parts
    cut: AnyRule = dataclasses.replace(rule, cut=Cut.from_json(said))
    return cut


@dataclass(frozen=True)
class Changes:
    """How the run that made B differs from the one that made A.

    command, source: of both. recipe: lines, each with a sign: "-" only in A, "+" only in B, " " in
    both. settings: other than the rules, both values of those that differ; versions: likewise.
    inputs: files of A and of B, those only one has, those of one name that differ. revisions: of
    the hub, of both.
    """

    command: tuple[str | None, str | None]
    source: tuple[str | None, str | None]
    recipe: tuple[tuple[str, str], ...]
    settings: Mapping[str, tuple[Any, Any]]
    versions: Mapping[str, tuple[Any, Any]]
    inputs: Mapping[str, int]
    revisions: tuple[tuple[str, ...], tuple[str, ...]]


def changes_between(a: Manifest, b: Manifest) -> Changes:
    """How B's run differs from A's."""
    return Changes(
        (a.command, b.command),
        (a.result.get("source"), b.result.get("source")),
        _lines(_recipe(a), _recipe(b)),
        _differing(_other_settings(a), _other_settings(b)),
        _differing(a.versions, b.versions),
        _inputs(a.inputs, b.inputs),
        (_revisions(a), _revisions(b)),
    )


def _recipe(manifest: Manifest) -> list[str]:
    """A line a rule, as a recipe writes it; of a selection also where it cut."""
    try:
        rules = rules_in(manifest)
    except CoyoError:
        return [_written(entry) for entry in manifest.result.get("recipe", [])]
    notes = [f"  # {rule.note}" if rule.note else "" for rule in rules]
    return [_written(rule.as_recipe()) + note for rule, note in zip(rules, notes, strict=True)]


def _written(entry: Any) -> str:
    import yaml

    text: str = yaml.safe_dump(
        entry, default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf")
    )
    return text.strip()


def _lines(a: Sequence[str], b: Sequence[str]) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    for kind, a1, a2, b1, b2 in matcher.get_opcodes():
        if kind == "equal":
            found += [(" ", line) for line in a[a1:a2]]
        else:
            found += [("-", line) for line in a[a1:a2]]
            found += [("+", line) for line in b[b1:b2]]
    return tuple(found)


def _other_settings(manifest: Manifest) -> dict[str, Any]:
    return {name: value for name, value in manifest.settings.items() if name != "rules"}


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {n: (a.get(n), b.get(n)) for n in {**a, **b} if a.get(n) != b.get(n)}


def _inputs(a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    ours, theirs = ({str(each.get("name")): each for each in side} for side in (a, b))
    common = ours.keys() & theirs.keys()
    return {
        "a": len(ours),
        "b": len(theirs),
        "only_a": len(ours) - len(common),
        "only_b": len(theirs) - len(common),
        "differing": sum(ours[name] != theirs[name] for name in common),
    }


def _revisions(manifest: Manifest) -> tuple[str, ...]:
    return tuple(sorted({str(i["revision"]) for i in manifest.inputs if i.get("revision")}))
