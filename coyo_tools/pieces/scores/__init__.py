"""Scores: every column that can be recomputed, each declared in one file of this folder.

To add one, write its file and name it in SCORES; other packages add theirs by an entry point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from coyo_tools.pieces.scores import (
    aesthetic_score_laion_v2,
    align_similarity,
    clip_similarity,
    image_phash,
    nsfw_score_gantman,
    nsfw_score_laion_clip,
    nsfw_score_opennsfw2,
    num_faces,
    num_tokens_bert,
    num_tokens_gpt,
    size,
    text_length,
    vit_labels,
    watermark_score_laion,
    word_count,
)
from coyo_tools.pieces.scores.base import Score
from coyo_tools.pieces.scores.families import Choice, Family, choices_of, column_name
from coyo_tools.pieces.scores.plugins import plugins
from coyo_tools.words.errors import MissingExtra, PluginError, SettingsError, nearest
from coyo_tools.words.schema import COYO

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
    nsfw_score_gantman.SCORE,
    nsfw_score_laion_clip.SCORE,
    num_faces.SCORE,
    watermark_score_laion.SCORE,
    align_similarity.SCORE,
    vit_labels.SCORE,
)

# Columns whose model --model chooses.
FAMILIES: tuple[Family, ...] = (
    clip_similarity.FAMILY,
    align_similarity.FAMILY,
    vit_labels.FAMILY,
)

# Published columns without a score, and why.
NOT_RECOMPUTED: Mapping[str, str] = {
    "watermark_score": "Kakao's watermark model was never published; watermark_score_laion is "
    "another model's, on another scale",
    "id": "it is the row's name",
    "url": "it is the row's address",
    "text": "it is the caption itself",
}

# Columns that every scores file has besides those asked for.
WRITTEN_BESIDE = ("id", "key", "error")


@cache
def known_scores() -> tuple[Score, ...]:
    """SCORES, then those of other installed packages. Raises PluginError."""
    stems = (stem for family in FAMILIES if family.needs_model for stem in family.columns)
    return SCORES + plugins(SCORES, (*NOT_RECOMPUTED, *WRITTEN_BESIDE, *stems))


@cache
def score_of(column: str) -> Score | None:
    """The score that gives this column, as far as its name alone tells. Raises PluginError.

    Of a chosen model's column what its family says of all of them.
    """
    known = next((s for s in known_scores() if any(c.name == column for c in s.columns)), None)
    return known or next(filter(None, (f.described(column) for f in FAMILIES)), None)


def meaning_of(column: str) -> str:
    """What a column says, in a few words: COYO's or a score's; "" where neither is known."""
    if column in COYO:
        return COYO[column].meaning
    try:
        score = score_of(column)
    except PluginError:  # a name is no less right without a word on it
        return ""
    return next((c.meaning for c in score.columns if c.name == column), "") if score else ""


@dataclass(frozen=True)
class Chosen:
    """The scores of a run, each once, and the names of the columns it writes, in their order."""

    scores: tuple[Score, ...]
    columns: tuple[str, ...]


def choose(
    columns: Sequence[str], model: Sequence[str] = (), pretrained: Sequence[str] = ()
) -> Chosen:
    """The scores that give these columns, in the order of `known_scores`, then chosen models.

    model, pretrained: which ones, for columns of FAMILIES; see `choices_of`. Raises SettingsError
    where a column has no score or no such model, MissingExtra where one needs more packages,
    PluginError.
    """
    choices = choices_of(FAMILIES, columns, model, pretrained)
    given: dict[str, Score] = {}
    for column in columns:
        given |= _given_by(column, choices.get(column, ()))
    named = {score.name: score for score in given.values()}
    ranks = {score.name: rank for rank, score in enumerate(known_scores())}
    scores = sorted(named.values(), key=lambda score: ranks.get(score.name, len(ranks)))
    return Chosen(tuple(scores), tuple(given))


def scores_of(columns: Sequence[str]) -> list[Score]:
    """The scores that give these columns; see `choose`."""
    return list(choose(columns).scores)


def _given_by(column: str, choices: Sequence[Choice]) -> dict[str, Score]:
    """The columns that come of one asked for, with the score of each."""
    known = next((s for s in known_scores() if any(c.name == column for c in s.columns)), None)
    if known and not choices:
        return {column: _usable(known)}
    for family in FAMILIES:
        if column in family.columns:
            return _of_family(family, column, choices)
        stem = next((stem for stem in family.columns if column.startswith(f"{stem}_")), None)
        if stem and (choice := family.named(column)):
            return _of_family(family, stem, [choice])
    raise _unknown(column)


def _of_family(family: Family, stem: str, choices: Sequence[Choice]) -> dict[str, Score]:
    if not choices:
        raise SettingsError(
            f"{stem} needs to be told its model",
            where="--model",
            todo=f"for example: {family.suggestions[0].text}; `coyo score --list` has more",
        )
    _usable(family.like)
    return {column_name(stem, choice): family.declare(choice) for choice in choices}


def _usable(score: Score) -> Score:
    if score.missing_packages():
        assert score.extra is not None
        raise MissingExtra.of(score.extra, score.name)
    return score


def _unknown(column: str) -> SettingsError:
    if column in NOT_RECOMPUTED:
        return SettingsError(
            f"{column} cannot be recomputed: {NOT_RECOMPUTED[column]}",
            where="-c",
            todo="`coyo score --list` prints the columns that can",
        )
    stems = [stem for family in FAMILIES for stem in family.columns]
    near = nearest(column, [c.name for score in known_scores() for c in score.columns] + stems)
    return SettingsError(
        f"no score gives a column {column!r}",
        where="-c",
        todo=f"did you mean {near!r}?" if near else "`coyo score --list` prints them all",
    )


def listed() -> list[dict[str, Any]]:
    """Every column, then every family, as `coyo score --list --json` prints them."""
    rows = [row for score in known_scores() for row in score.as_json()]
    return rows + [row for family in FAMILIES for row in family.as_json()]


def markdown_families() -> str:
    """The table of families in docs/scores.md: one line a family."""
    lines = ["| `-c` | model | suggestions |", "|---|---|---|"]
    for family in FAMILIES:
        stems = ", ".join(f"`{stem}`" for stem in family.columns)
        choices = "<br>".join(f"`{choice.text}`" for choice in family.suggestions)
        lines.append(f"| {stems} | {family.model} | {choices} |")
    return "\n".join(lines) + "\n"


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
