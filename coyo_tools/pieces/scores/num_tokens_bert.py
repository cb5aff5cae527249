"""num_tokens_bert: WordPiece tokens of the caption."""

from __future__ import annotations

from coyo_tools.pieces.scores.base import TEXT, PerText, Score, ScoreColumn, Setup
from coyo_tools.pieces.texts import bert_tokenizer, count_tokens


def _load(_: Setup) -> PerText:
    tokenizer = bert_tokenizer()
    return PerText(lambda texts: count_tokens(tokenizer, texts))


SCORE = Score(
    name="num_tokens_bert",
    columns=(
        ScoreColumn(
            "num_tokens_bert", "int32", "bert-base-uncased tokens, without [CLS] and [SEP]"
        ),
    ),
    inputs=(TEXT,),
    model="bert-base-uncased WordPiece; the vocabulary ships with this package",
    licence="Apache-2.0",
    load=_load,
    exact=True,
    distributions=("tokenizers",),
)
