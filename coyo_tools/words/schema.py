"""The columns of COYO-700M and the names its neighbours give them.

Dtypes are arrow type names. COYO's own files are Spark's: int64 ids, int32 counts, float32
scores; copies made through JSON carry int64 and float64, so columns are bound by name and
cast, never taken by position.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One published column. dtype: arrow type name. float16_valued: every published value is
    representable in float16, so there are at most 65,536 distinct ones."""

    name: str
    dtype: str
    meaning: str
    float16_valued: bool = False

    @property
    def is_number(self) -> bool:
        """Whether rules and histograms apply: every column but id and the three strings."""
        return self.name != "id" and self.dtype != "string"


COYO_COLUMNS: tuple[Column, ...] = (
    Column("id", "int64", "unique, not dense, above 2^40; joins every sidecar and COYO-Labeled"),
    Column("url", "string", "where the image was in 2020/21; may repeat"),
    Column("text", "string", "the alt text, English, 6 to 1000 characters"),
    Column("width", "int32", "of the original image, px, at least 200"),
    Column("height", "int32", "of the original image, px, at least 200"),
    Column("image_phash", "string", "64-bit DCT hash of the original image, 16 hex digits"),
    Column("text_length", "int32", "characters of text"),
    Column("word_count", "int32", r"runs of \w+ in text"),
    Column("num_tokens_bert", "int32", "bert-base-uncased tokens, without [CLS] and [SEP]"),
    Column("num_tokens_gpt", "int32", "GPT-2 byte-pair tokens, without a prefix space"),
    Column("num_faces", "int32", "faces SCRFD found"),
    Column("clip_similarity_vitb32", "float32", "cosine, OpenAI CLIP ViT-B/32, not scaled", True),
    Column("clip_similarity_vitl14", "float32", "cosine, OpenAI CLIP ViT-L/14, not scaled", True),
    Column("nsfw_score_opennsfw2", "float32", "Yahoo open_nsfw, 0 to 1; cut below 0.5", True),
    Column("nsfw_score_gantman", "float32", "GantMan nsfw_model, 0 to 1; cut below 0.5"),
    Column("watermark_score", "float32", "Kakao's internal model, 0 to 1"),
    Column("aesthetic_score_laion_v2", "float32", "LAION-Aesthetics V2, about 1 to 8"),
)
COYO: Mapping[str, Column] = {column.name: column for column in COYO_COLUMNS}

# Each neighbour's name for a COYO column. A name that is COYO's already is not repeated.
SCHEMAS: Mapping[str, Mapping[str, str]] = {
    "coyo": {},
    "laion": {
        "URL": "url",
        "TEXT": "text",
        "WIDTH": "width",
        "HEIGHT": "height",
        "similarity": "clip_similarity_vitb32",
    },
    "datacomp": {
        "original_width": "width",
        "original_height": "height",
        "clip_b32_similarity_score": "clip_similarity_vitb32",
        "clip_l14_similarity_score": "clip_similarity_vitl14",
    },
    "coyo-labeled": {"imagehash": "image_phash"},
}

# What COYO's makers cut already: (column, operator, value) that holds for every row.
CUT_UPSTREAM: tuple[tuple[str, str, float], ...] = (
    ("nsfw_score_opennsfw2", "<=", 0.5),
    ("nsfw_score_gantman", "<=", 0.5),
    ("width", ">=", 200),
    ("height", ">=", 200),
    ("aspect_ratio", "<=", 3.0),
    ("text_length", ">=", 6),
    ("text_length", "<=", 1000),
    ("word_count", ">=", 3),
)
