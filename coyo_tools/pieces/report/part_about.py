"""The page's first part: out of what, by which commands and recipe, and how to check it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coyo_tools.pieces.report.commands import command_lines
from coyo_tools.pieces.report.figures import count, size
from coyo_tools.pieces.report.markup import Html, from_the_web, join, tag
from coyo_tools.pieces.report.views import Output, ReportView


def lead(view: ReportView) -> Html | None:
    """What a manifest promises, where there is one."""
    if not any(output.manifest for output in view.outputs):
        return None
    return tag("p", "The same inputs and settings give the same bytes and the same digest of ids.")


def about(view: ReportView) -> Html:
    """Facts, command lines and the recipe."""
    lines = command_lines(view.outputs)
    commands = join(
        part
        for i, line in enumerate(lines)
        for part in ("\n" if i else None, tag("span", "$ ", class_="prompt"), _unbroken(line))
    )
    return join(
        [
            tag("dl", *_facts(view), class_="facts"),
            tag("h3", "Commands") if lines else None,
            tag("pre", tag("code", commands)) if lines else None,
            *(_recipe(output) for output in view.outputs if output.command == "filter"),
        ]
    )


def _unbroken(line: str) -> Html:
    """A command line that breaks between its words only."""
    words = [tag("span", word, class_="word") for word in line.split(" ")]
    return tag("bdi", *(part for word in words for part in (word, " ")))


def _facts(view: ReportView) -> list[Html]:
    facts = [fact for output in view.outputs for fact in _facts_of(output)]
    versions = _versions(view.outputs)
    if versions:
        facts.append(("Made with", versions))
    return [part for name, words in facts for part in (tag("dt", name), tag("dd", words))]


def _facts_of(output: Output) -> list[tuple[str, Html | str]]:
    kind = {"filter": "Subset", "download": "Shards", "score": "Scores", "compare": "Comparison"}
    name = from_the_web(output.name)
    manifest = output.manifest
    if manifest is None:
        return [(kind[output.command], join([name, ", shards without a manifest"]))]
    facts: list[tuple[str, Html | str]] = []
    if output.command == "filter":
        facts.append(("Source", _source(manifest.result, manifest.inputs)))
    digest = tag("span", f"ids {manifest.digest}", class_="digest") if manifest.digest else None
    words = join([name, " ", digest])
    return [*facts, (kind[output.command], words)]


def _source(result: Mapping[str, Any], inputs: Any) -> Html:
    rows = sum(int(entry.get("rows") or 0) for entry in inputs)
    bytes_ = sum(int(entry.get("bytes") or 0) for entry in inputs)
    files = f"{count(len(inputs))} file{'s' if len(inputs) != 1 else ''}"
    words = f"{files}, {count(rows)} rows, {size(bytes_)}"
    revisions = sorted({str(e["revision"]) for e in inputs if e.get("revision")})
    return join(
        [
            from_the_web(source_url(result) or "unnamed"),
            tag("br"),
            words,
            f", revision {', '.join(revisions)}" if revisions else None,
        ]
    )


def source_url(result: Mapping[str, Any]) -> str | None:
    """Where the rows came from, as the run was told; None where its manifest does not say."""
    named = result.get("source")
    return str(named) if named else None


def _recipe(output: Output) -> Html | None:
    import yaml

    assert output.manifest is not None
    rules = output.manifest.result.get("recipe")
    if not rules:
        return None
    words = yaml.safe_dump({"filter": rules}, sort_keys=False, allow_unicode=True, width=88)
    title = tag("h3", "Recipe of ", from_the_web(output.name))
    return join([title, tag("pre", tag("code", from_the_web(words.rstrip())))])


def _versions(outputs: tuple[Output, ...]) -> str:
    found: dict[str, set[str]] = {}
    for output in outputs:
        for package, version in (output.manifest.versions if output.manifest else {}).items():
            found.setdefault(package, set()).add(str(version))
    return ", ".join(f"{package} {' and '.join(sorted(v))}" for package, v in found.items())
