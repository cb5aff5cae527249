"""The whole page: head, summary, sections in the data's way, foot.

It asks nothing of any network: the style sheet stands in the page, pictures are data, and the
content security policy forbids everything else, scripts first of all.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TypeVar

from coyo_tools.pieces.report import (
    part_about,
    part_comparison,
    part_scores,
    part_shards,
    part_subset,
)
from coyo_tools.pieces.report.charts import flow
from coyo_tools.pieces.report.figures import count, share, size
from coyo_tools.pieces.report.markup import Html, from_the_web, join, tag
from coyo_tools.pieces.report.views import (
    ComparisonView,
    GalleryView,
    ReportView,
    ScoresView,
    ShardsView,
    SubsetView,
)

View = TypeVar("View")


def render(view: ReportView) -> bytes:
    """The page as UTF-8. The same view gives the same bytes."""
    style = (files("coyo_tools") / "data" / "report" / "page.css").read_text("utf-8")
    sections = list(_sections(view))
    body = tag(
        "body",
        tag("a", "To the content", href="#content", class_="skip"),
        _header(view, sections),
        tag("main", *(section for _, _, section in sections), id="content"),
        _footer(view),
    )
    page = tag("html", _head(view, style), body, lang="en")
    return f"<!doctype html>\n{page}\n".encode()


def _head(view: ReportView, style: str) -> Html:
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("meta", name="robots", content="noindex, noimageindex, noai"),
        tag("meta", name="generator", content=f"coyo-tools {view.version}"),
        tag("title", f"{headline(view)} \u00b7 coyo report"),
        # Raw: the sheet is this package's own, and its digest stands in the policy above.
        Html(f"<style>{style}</style>"),
    )


def section_titles(view: ReportView) -> tuple[str, ...]:
    """What the page has, in order."""
    return tuple(title for _, title, _ in _sections(view))


def headline(view: ReportView) -> str:
    """The page in one line."""
    if view.subsets:
        subset = view.subsets[0]
        return f"{count(subset.rows_out)} of {count(subset.rows_in)} rows kept"
    if view.shards:
        shards = view.shards[0]
        return f"{count(shards.successes)} of {count(shards.rows)} pictures fetched"
    if view.scores:
        return f"{count(view.scores[0].rows)} rows scored"
    return "Stored against recomputed columns"


def _header(view: ReportView, sections: list[tuple[str, str, Html]]) -> Html:
    links = [tag("li", tag("a", title, href=f"#{name}")) for name, title, _ in sections]
    return tag(
        "header",
        tag("p", "coyo report", class_="over"),
        tag("h1", headline(view)),
        _summary(view),
        tag("nav", tag("ul", *links), aria_label="Sections"),
    )


@dataclass(frozen=True)
class _Stage:
    """One figure of the summary. part: what share of what, in words; "" where of nothing."""

    label: str
    amount: int
    part: str = ""


def _stages(view: ReportView) -> list[_Stage]:
    """Along the data's way. Folders of different runs may stand side by side: a share is of the
    folder's own rows, and what was asked for is said where it is not what was kept."""
    stages: list[_Stage] = []
    subset, shards = _first(view.subsets), _first(view.shards)
    if subset:
        kept = f"{share(subset.rows_out, subset.rows_in)} of the source"
        stages += [_Stage("rows in the source", subset.rows_in)]
        stages += [_Stage("rows kept", subset.rows_out, kept)]
    if shards:
        if subset is None or shards.rows != subset.rows_out:
            stages.append(_Stage("urls asked for", shards.rows))
        fetched = f"{share(shards.successes, shards.rows)} of the urls"
        stages.append(_Stage("pictures fetched", shards.successes, fetched))
    if view.scores:
        scores = view.scores[0]
        scored = scores.rows - sum(scores.errors.values())
        same = shards is not None and scores.rows == shards.successes
        part = f"{share(scored, scores.rows)} of the pictures" if same else ""
        stages.append(_Stage("rows scored", scored, part))
    return stages


def _first(views: Sequence[View]) -> View | None:
    return views[0] if views else None


def _summary(view: ReportView) -> Html | None:
    """The figures, and a band that narrows with them where each is of the one before."""
    stages = _stages(view)
    if len(stages) < 2:
        return None
    cells = [
        tag(
            "li",
            tag("b", count(stage.amount)),
            tag("span", stage.label),
            tag("small", stage.part or "\u00a0"),
        )
        for stage in stages
    ]
    amounts = [stage.amount for stage in stages]
    said = ", then ".join(f"{count(stage.amount)} {stage.label}" for stage in stages)
    narrows = amounts == sorted(amounts, reverse=True)
    drawn = flow(amounts, f"A band that narrows: {said}") if narrows else None
    return tag("div", tag("ol", *cells, class_="stages"), drawn, class_="summary")


Sections = Iterable[tuple[str, str, Html]]


def _sections(view: ReportView) -> Sections:
    """(anchor, title, element) of every section that has something to show."""
    yield _section("about", "What this is", part_about.lead(view), part_about.about(view))
    for i, subset in enumerate(view.subsets):
        yield from _of_subset(subset, _suffix(i, view.subsets))
    for i, shards in enumerate(view.shards):
        yield from _of_shards(shards, _suffix(i, view.shards))
    for i, scores in enumerate(view.scores):
        yield from _of_scores(scores, _suffix(i, view.scores))
    for i, comparison in enumerate(view.comparisons):
        yield _of_comparison(comparison, _suffix(i, view.comparisons))
    for i, gallery in enumerate(view.galleries):
        if gallery.pictures:
            yield _of_gallery(gallery, _suffix(i, view.galleries))


def _suffix(i: int, of: Iterable[object]) -> str:
    return f"-{i + 1}" if len(tuple(of)) > 1 else ""


def _section(
    name: str, title: str, lead: object, content: object, *, wide: bool = False
) -> tuple[str, str, Html]:
    """A heading with its explanation, at the side of the content or, where wide, above it."""
    heading = tag("h2", title, id=f"{name}-title")
    side = tag("div", heading, lead, class_="lead")
    inner = tag("div", content, class_="content")
    attributes = {"id": name, "aria_labelledby": f"{name}-title", "class": wide and "wide"}
    return name, title, tag("section", side, inner, **attributes)


def _paragraphs(*sentences: object) -> Html:
    return join(tag("p", sentence) for sentence in sentences if sentence)


def _named(title: str, name: str, suffix: str) -> str:
    return f"{title}: {name}" if suffix else title


def _of_subset(view: SubsetView, suffix: str) -> Sections:
    kept = share(view.rows_out, view.rows_in)
    lead = _paragraphs(
        f"{kept} of the rows passed every rule: {size(view.bytes_out)} of metadata.",
        "Rules apply in this order. \u201cDropped\u201d counts the rows for which a rule was the "
        "first to fail, \u201cdropped alone\u201d those it would drop without the others.",
    )
    title = _named("The funnel", view.output.name, suffix)
    yield _section(f"funnel{suffix}", title, lead, part_subset.funnel(view))
    if view.columns:
        sides = max((c.sides for c in view.columns), key=len)
        cut = any(c.marks for c in view.columns)
        lead = _paragraphs(
            part_subset.key(sides, cut=cut),
            "Heights are shares of a side\u2019s own rows, so that shapes compare.",
            view.sampled,
        )
        title = _named(
            "Columns before and after" if len(sides) > 1 else "Columns", view.output.name, suffix
        )
        yield _section(f"columns{suffix}", title, lead, part_subset.columns(view.columns))


def _of_shards(view: ShardsView, suffix: str) -> Sections:
    failed = view.rows - view.successes
    lead = _paragraphs(
        f"{share(view.successes, view.rows)} of {count(view.rows)} rows have a picture; "
        f"{count(failed)} have the reason why not.",
    )
    title = _named("The download", view.output.name, suffix)
    yield _section(f"download{suffix}", title, lead, part_shards.outcomes(view))
    if view.drift:
        lead = _paragraphs(
            "Each fetched original was hashed and set against the published image_phash."
        )
        yield _section(
            f"drift{suffix}",
            _named("Drift", view.output.name, suffix),
            lead,
            part_shards.drift(view),
        )
    if view.sizes:
        lead = _paragraphs(part_subset.key(view.sizes[0].sides), view.sampled)
        title = _named("Sizes", view.output.name, suffix)
        yield _section(f"sizes{suffix}", title, lead, part_subset.columns(view.sizes))


def _of_scores(view: ScoresView, suffix: str) -> Sections:
    failed = ", ".join(f"{name} {count(rows)}" for name, rows in view.errors.items())
    lead = _paragraphs(
        f"{count(view.rows)} rows were scored again from what was fetched.",
        f"Without a score: {failed}." if failed else None,
        view.sampled,
    )
    title = _named("Scores", view.output.name, suffix)
    yield _section(f"scores{suffix}", title, lead, part_scores.scores(view))


def _of_comparison(view: ComparisonView, suffix: str) -> tuple[str, str, Html]:
    lead = _paragraphs(
        "Differences are recomputed minus stored, joined on id. \u201cEqual\u201d means equal in "
        "the column\u2019s own precision; r is Pearson\u2019s correlation.",
        *part_comparison.notes(view),
    )
    title = _named("Stored against recomputed", view.output.name, suffix)
    return _section(f"comparison{suffix}", title, lead, part_comparison.comparison(view))


def _of_gallery(view: GalleryView, suffix: str) -> tuple[str, str, Html]:
    number = len(view.pictures)
    unreadable = f"{count(view.unreadable)} more did not decode." if view.unreadable else None
    lead = _paragraphs(
        f"{count(number)} pictures, spread evenly over the shards, with the caption, scores and "
        "host they were published with.",
        unreadable,
    )
    title = _named("Pictures", view.output.name, suffix)
    return _section(f"pictures{suffix}", title, lead, part_shards.gallery(view), wide=True)


def _footer(view: ReportView) -> Html:
    names = ", ".join(output.name for output in view.outputs)
    return tag(
        "footer",
        tag(
            "p",
            "Drawn by ",
            tag("code", f"coyo-tools {view.version}"),
            " from ",
            from_the_web(names),
            ".",
        ),
        tag(
            "p", "COYO\u2019s metadata is CC BY 4.0; pictures and captions belong to their owners."
        ),
    )
