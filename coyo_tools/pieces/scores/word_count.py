"""word_count: words of the caption."""

from __future__ import annotations

from coyo_tools.pieces.scores.base import TEXT, PerText, Score, ScoreColumn, Setup
from coyo_tools.pieces.texts import word_count


def _load(_: Setup) -> PerText:
    return PerText(lambda texts: [word_count(text) for text in texts])


SCORE = Score(
    name="word_count",
    columns=(ScoreColumn("word_count", "int32", r"runs of \w+ in the caption"),),
    inputs=(TEXT,),
    model=r"len(re.findall(r'\w+', text))",
    licence="none needed",
    load=_load,
    exact=True,
)
