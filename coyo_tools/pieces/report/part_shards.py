"""The page's parts about shards: outcomes by class, sizes, drift, the gallery."""

from __future__ import annotations

from typing import Any

from coyo_tools.pieces.phash import distance
from coyo_tools.pieces.report.charts import Segment, bar
from coyo_tools.pieces.report.figures import count, share, value
from coyo_tools.pieces.report.gallery import Picture, host
from coyo_tools.pieces.report.markup import Html, from_the_web, join, plain, table, tag
from coyo_tools.pieces.report.views import GalleryView, ShardsView
from coyo_tools.words.failures import FAILURES

DRIFT_MEANING = {
    "same": "at most 8 bits from the published hash: the same picture",
    "drifted": "9 to 16 bits: the picture was changed",
    "replaced": "more than 16 bits: another picture is served now",
    "placeholder": "a picture that many urls share, such as \u201cimage not found\u201d",
    "unknown": "no published hash to compare with",
}
_DRIFT_KIND = {
    "same": "kept",
    "drifted": "later",
    "replaced": "dropped",
    "placeholder": "dropped",
    "unknown": "gone",
}
# Columns worth a line under a picture, and their short names.
CAPTION_COLUMNS = {
    "clip_similarity_vitl14": "CLIP L/14",
    "clip_similarity_vitb32": "CLIP B/32",
    "aesthetic_score_laion_v2": "aesthetic",
    "watermark_score": "watermark",
    "nsfw_score_opennsfw2": "NSFW",
}
_MOST_LINES = 5
_MOST_OUTCOMES = 40  # more than there are classes; img2dataset's messages have no end


def outcomes(view: ShardsView) -> Html:
    """Fetched and failed rows by class, the most frequent first."""
    ranked = sorted(view.errors.items(), key=lambda item: (-item[1], item[0]))
    rows = [_outcome("success", "fetched, decoded and stored", view.successes, view.rows, "kept")]
    shown, others = ranked[:_MOST_OUTCOMES], ranked[_MOST_OUTCOMES:]
    rows += [_outcome(n, _meaning(n), rows_, view.rows, _kind(n)) for n, rows_ in shown]
    if others:
        name = f"{count(len(others))} other messages"
        rows.append(_outcome(name, "", sum(n for _, n in others), view.rows, "dropped"))
    return tag(
        "div",
        table("Outcome of every row", ["outcome", "rows", "share"], rows),
        class_="funnel",
    )


def _kind(name: str) -> str:
    return "later" if name in FAILURES and FAILURES[name].retry else "dropped"


def _meaning(name: str) -> str:
    if name not in FAILURES:
        return ""
    return FAILURES[name].meaning + ("; may pass later" if FAILURES[name].retry else "")


def _outcome(name: str, meaning: str, rows: int, whole: int, kind: str) -> list[object]:
    words = tag(
        "span",
        tag("span", from_the_web(name), class_="rule-name"),
        " ",
        tag("span", meaning, class_="note") if meaning else None,
        class_="head",
    )
    drawn = bar([Segment(kind, rows)], whole, f"{name}: {share(rows, whole)}")
    return [join([words, drawn]), count(rows), share(rows, whole)]


def drift(view: ShardsView) -> Html:
    """How far the fetched pictures are from those published, and the hosts of placeholders."""
    whole = sum(view.drift.values())
    rows = [
        _outcome(name, meaning, view.drift[name], whole, _DRIFT_KIND[name])
        for name, meaning in DRIFT_MEANING.items()
        if view.drift.get(name)
    ]
    head = ["drift", "pictures", "share"]
    drawn = table("Fetched pictures against their published hash", head, rows)
    return join([tag("div", drawn, class_="funnel"), *_placeholders(view)])


def _placeholders(view: ShardsView) -> list[Html]:
    rows = [
        [from_the_web(_short(each["host"], 60)), count(each["rows"])]
        for each in view.placeholders.get("hosts", ())
    ]
    return [table("Hosts with most placeholders", ["host", "pictures"], rows)] if rows else []


def gallery(view: GalleryView) -> Html:
    """The pictures with caption, scores and host."""
    return tag("ol", *(tag("li", _figure(p)) for p in view.pictures), class_="gallery")


def _figure(picture: Picture) -> Html:
    import base64

    source = "data:image/jpeg;base64," + base64.b64encode(picture.jpeg).decode("ascii")
    caption = picture.row.get("caption") or ""
    image = tag(
        "img",
        src=source,
        width=picture.width,
        height=picture.height,
        alt=_short(caption, 160) or f"picture {picture.key} without a caption",
    )
    words = tag("p", from_the_web(_short(caption, 400)), class_="caption")
    return tag(
        "figure",
        tag("div", image, class_="frame"),
        tag("figcaption", words, _numbers(picture), _origin(picture)),
    )


def _short(words: Any, most: int) -> str:
    whole = plain(words)
    return whole if len(whole) <= most else whole[: most - 1].rstrip() + "\u2026"


def _numbers(picture: Picture) -> Html | None:
    """Stored and recomputed values side by side."""
    lines = [*_phash_line(picture), *_score_lines(picture)][:_MOST_LINES]
    if not lines:
        return None
    recomputed = any(len(line) > 2 and line[2] for line in lines)
    head = ["", "stored", *(["now"] if recomputed else [])]
    shown = [line if recomputed else line[:2] for line in lines]
    return table(f"Scores of picture {picture.key}", head, shown)


def _phash_line(picture: Picture) -> list[list[str]]:
    stored, now = picture.row.get("image_phash"), picture.scores.get("image_phash")
    now = now or picture.row.get("image_phash_now")
    try:
        bits = distance(str(stored), str(now))
    except ValueError:
        return []
    return [["phash", "", "equal" if bits == 0 else f"{bits} bits"]]


def _score_lines(picture: Picture) -> list[list[str]]:
    """The model scores there are, stored or recomputed, then other recomputed columns."""
    recomputed = [n for n in picture.scores if _is_number(picture.scores[n])]
    names = [n for n in CAPTION_COLUMNS if n in recomputed or _is_number(picture.row.get(n))]
    names += [n for n in recomputed if n not in CAPTION_COLUMNS]
    return [
        [
            CAPTION_COLUMNS.get(name, name.replace("_", " ")),
            _value(picture.row.get(name)),
            _value(picture.scores.get(name)),
        ]
        for name in names
    ]


def _value(found: Any) -> str:
    return value(found, whole=isinstance(found, int)) if _is_number(found) else ""


def _is_number(found: Any) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool) and found == found


def _origin(picture: Picture) -> Html:
    """The host and the picture's size where it came from."""
    row = picture.row
    sizes = [row.get(n) for n in ("original_width", "original_height")]
    size = " \u00d7 ".join(count(s) for s in sizes if _is_number(s) and s is not None)
    place = _short(host(row.get("url")), 60)
    return tag("p", from_the_web(place), tag("span", size) if size else None, class_="origin")
