"""num_tokens_gpt: byte-pair tokens of the caption."""

from __future__ import annotations

from coyo_tools.pieces.scores.base import TEXT, PerText, Score, ScoreColumn, Setup
from coyo_tools.pieces.texts import count_tokens, gpt2_tokenizer


def _load(_: Setup) -> PerText:
    tokenizer = gpt2_tokenizer()
    return PerText(lambda texts: count_tokens(tokenizer, texts))


SCORE = Score(
    name="num_tokens_gpt",
    columns=(
        ScoreColumn("num_tokens_gpt", "int32", "GPT-2 byte-pair tokens, without a prefix space"),
    ),
    inputs=(TEXT,),
    model="GPT-2 byte-pair encoding; the merges ship with this package",
    licence="MIT (OpenAI's modified)",
    load=_load,
    exact=True,
    distributions=("tokenizers",),
)
