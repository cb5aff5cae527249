"""Columns whose model is chosen by --model and --pretrained: a family gives a score for each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from coyo_tools.pieces.scores.base import Score
from coyo_tools.words.errors import SettingsError


@dataclass(frozen=True)
class Choice:
    """One model of a family, as --model and --pretrained name it."""

    model: str
    pretrained: str = ""

    @property
    def text(self) -> str:
        """As flags."""
        return f"--model {self.model}" + (
            f" --pretrained {self.pretrained}" * bool(self.pretrained)
        )


def no_name(_: str) -> Choice | None:
    """For families whose column names do not tell the model."""
    return None


@dataclass(frozen=True)
class Family:
    """The declaration of columns whose model is chosen.

    columns: their stems, as `-c` takes them; a chosen model's are `column_name(stem, choice)`.
    like: the score of the model that is taken where none is chosen, or, with `needs_model`, what
    all of them have in common. model: which models there are, in words. declare: the score of a
    choice, with a column for each stem; raises SettingsError with the nearest names. named: the
    choice that a column's full name tells.
    """

    columns: tuple[str, ...]
    like: Score
    model: str
    declare: Callable[[Choice], Score]
    suggestions: tuple[Choice, ...]
    named: Callable[[str], Choice | None] = no_name
    needs_model: bool = False
    takes_pretrained: bool = False

    def described(self, column: str) -> Score | None:
        """What can be said of a chosen model's column without looking the model up."""
        for stem, own in zip(self.columns, self.like.columns, strict=True):
            if column.startswith(f"{stem}_"):
                return replace(self.like, name=column, columns=(replace(own, name=column),))
        return None

    def as_json(self) -> list[dict[str, Any]]:
        """One plain mapping a stem, for `coyo score --list --json`."""
        flags = "_MODEL_PRETRAINED" if self.takes_pretrained else "_MODEL"
        choices = [choice.text for choice in self.suggestions]
        return [
            row
            | {"column": stem + flags, "family": stem, "suggestions": choices}
            | {"model": self.model, "weights": "those of the model"}
            | {"licence": "as the weights' publisher says"}
            for stem, row in zip(self.columns, self.like.as_json(), strict=True)
        ]


def slug(*names: str) -> str:
    """Names as a part of a column's: `ViT-B-16` and `openai` as `vit_b_16_openai`."""
    return re.sub(r"[^a-z0-9]+", "_", " ".join(names).lower()).strip("_")


def column_name(stem: str, choice: Choice) -> str:
    """The column of a stem with this model."""
    return f"{stem}_{slug(choice.model, choice.pretrained)}"


def choices_of(
    families: Sequence[Family],
    columns: Sequence[str],
    model: Sequence[str],
    pretrained: Sequence[str],
) -> Mapping[str, list[Choice]]:
    """What --model and --pretrained choose, by the stems of these families' columns.

    Each is `NAME`, or `COLUMN=NAME` where several families are asked for; the nth --pretrained of
    a family belongs to its nth --model. Raises SettingsError.
    """
    asked = [family for family in families if set(family.columns) & set(columns)]
    models = _by_family(asked, model, "--model")
    tags = _by_family([f for f in asked if f.takes_pretrained], pretrained, "--pretrained")
    found: dict[str, list[Choice]] = {}
    for family in asked:
        names, weights = models[family.columns], tags.get(family.columns, [])
        if weights and len(weights) != len(names):
            raise SettingsError(
                f"{len(weights)} for {len(names)} --model of {family.columns[0]}",
                where="--pretrained",
                todo="name one for each, in the same order",
            )
        pairs = zip(names, weights or [""] * len(names), strict=True)
        choices = list(dict.fromkeys(Choice(name, tag) for name, tag in pairs))
        found |= dict.fromkeys(family.columns, choices)
    return found


def _by_family(
    families: Sequence[Family], given: Sequence[str], flag: str
) -> dict[tuple[str, ...], list[str]]:
    """The names given to each family, by its columns. Raises SettingsError."""
    found: dict[tuple[str, ...], list[str]] = {family.columns: [] for family in families}
    stems = {stem: family.columns for family in families for stem in family.columns}
    for item in given:
        stem, equals, name = item.partition("=")
        if not equals:
            stem, name = _only(families, item, flag), item
        if stem not in stems or not name:
            raise SettingsError(
                f"{item!r} is for no column of this run",
                where=flag,
                todo=f"those that take one are {', '.join(stems)}" if stems else "leave it out",
            )
        found[stems[stem]].append(name)
    return found


def _only(families: Sequence[Family], item: str, flag: str) -> str:
    if len(families) > 1:
        stems = [family.columns[0] for family in families]
        raise SettingsError(
            f"{item!r} could be for {' or '.join(stems)}",
            where=flag,
            todo=f"write {flag} {stems[0]}={item}",
        )
    return families[0].columns[0] if families else ""
