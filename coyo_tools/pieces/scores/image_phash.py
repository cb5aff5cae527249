"""image_phash: the perceptual hash of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coyo_tools.pieces.phash import phash_hex
from coyo_tools.pieces.scores.base import IMAGE, Sample, Score, ScoreColumn, Setup


class _Hasher:
    """Hashes in the decoding threads; there is no model to batch for."""

    def prepare(self, sample: Sample) -> str:
        assert sample.image is not None
        return phash_hex(sample.image)

    def score(self, prepared: Sequence[str]) -> Sequence[Any]:
        return (prepared,)


def _load(_: Setup) -> _Hasher:
    return _Hasher()


SCORE = Score(
    name="image_phash",
    columns=(
        ScoreColumn("image_phash", "string", "64-bit DCT hash of the picture, 16 hex digits"),
    ),
    inputs=(IMAGE,),
    model="imagehash.phash, hash_size 8, highfreq_factor 4, as Pillow 9 to 12.1 give it",
    licence="BSD-2-Clause",
    load=_load,
    exact=True,
    note="of the stored picture: resizing moves 4 to 15 % of the hashes by a few bits, and turning "
    "one upright (EXIF) gives it another",
    distributions=("imagehash", "scipy", "simplejpeg"),
)
