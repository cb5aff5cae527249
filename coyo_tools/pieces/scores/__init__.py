"""Scores: every column that can be recomputed, each declared in one file of this folder.

To add one, write its file and name it in SCORES; other packages add theirs by an entry point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from coyo_tools.pieces.scores import (
    aesthetic_score_laion_v2,
    clip_similarity,
    image_phash,
    nsfw_score_opennsfw2,
    num_faces,
    num_tokens_bert,
    num_tokens_gpt,
    size,
    text_length,
    word_count,
)
from coyo_tools.pieces.scores.base import Score
from coyo_tools.pieces.scores.plugins import plugins
from coyo_tools.words.errors import MissingExtra, SettingsError, nearest

SCORES: tuple[Score, ...] = (
    image_phash.SCORE,
    size.SCORE,
    text_length.SCORE,
    word_count.SCORE,
    num_tokens_bert.SCORE,
    num_tokens_gpt.SCORE,
    clip_similarity.VIT_B_32,
    clip_similarity.VIT_L_14,
    aesthetic_score_laion_v2.SCORE,
    nsfw_score_opennsfw2.SCORE,
    num_faces.SCORE,
)

# Published columns without a score, and why.
NOT_RECOMPUTED: Mapping[str, str] = {
    "watermark_score": "Kakao's watermark model was never published",
    "nsfw_score_gantman": "which of GantMan's classes were summed is not known, and its five "
    "probabilities are not offered yet",
    "id": "it is the row's name",
    "url": "it is the row's address",
    "text": "it is the caption itself",
}


@cache
def known_scores() -> tuple[Score, ...]:
    """SCORES, then those of other installed packages. Raises PluginError."""
    return SCORES + plugins(SCORES, NOT_RECOMPUTED)


@cache
def score_of(column: str) -> Score | None:
    """The score that gives this column. Raises PluginError."""
    return next((s for s in known_scores() if any(c.name == column for c in s.columns)), None)


def scores_of(columns: Sequence[str]) -> list[Score]:
    """The scores that give these columns, each once, in the order of `known_scores`.

    Raises SettingsError where a column has none, MissingExtra where one needs more packages,
    PluginError.
    """
    for column in columns:
        _check_known(column)
    chosen = [s for s in known_scores() if any(c.name in columns for c in s.columns)]
    for score in chosen:
        if score.missing_packages():
            assert score.extra is not None
            raise MissingExtra.of(score.extra, score.name)
    return chosen


def _check_known(column: str) -> None:
    if score_of(column):
        return
    if column in NOT_RECOMPUTED:
        raise SettingsError(
            f"{column} cannot be recomputed: {NOT_RECOMPUTED[column]}",
            where="-c",
            todo="`coyo score --list` prints the columns that can",
        )
    near = nearest(column, [c.name for score in known_scores() for c in score.columns])
    raise SettingsError(
        f"no score gives a column {column!r}",
        where="-c",
        todo=f"did you mean {near!r}?" if near else "`coyo score --list` prints them all",
    )


def markdown_table() -> str:
    """The table of docs/scores.md: one line a column."""
    head = "| column | dtype | meaning | model | weights | licence | needs | differs |"
    lines = [head, "|---|---|---|---|---|---|---|---|"]
    for row in (row for score in SCORES for row in score.as_json()):
        cells = (
            f"`{row['column']}`",
            f"`{row['dtype']}`" if "<" in row["dtype"] else row["dtype"],
            row["meaning"],
            row["model"],
            row["weights"] or "",
            row["licence"],
            f"`[{row['extra']}]`" if row["extra"] else "",
            row["note"] or ("exact" if row["exact"] else ""),
        )
        lines.append("| " + " | ".join(str(c).replace("|", "\\|") for c in cells) + " |")
    return "\n".join(lines) + "\n"
