"""text_length: characters of the caption."""

from __future__ import annotations

from coyo_tools.pieces.scores.base import TEXT, PerText, Score, ScoreColumn, Setup
from coyo_tools.pieces.texts import text_length


def _load(_: Setup) -> PerText:
    return PerText(lambda texts: [text_length(text) for text in texts])


SCORE = Score(
    name="text_length",
    columns=(ScoreColumn("text_length", "int32", "characters (code points) of the caption"),),
    inputs=(TEXT,),
    model="len(text)",
    licence="none needed",
    load=_load,
    exact=True,
)
