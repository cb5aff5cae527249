"""image_phash: the perceptual hash of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coyo_tools.pieces.phash import phash_of_grey, phashes_of_greys
from coyo_tools.pieces.scores.base import GREY, Sample, Score, ScoreColumn, Setup

_KEPT = 1 << 21  # px: a larger picture is hashed at once, so that few bytes wait for a batch


class _Hasher:
    """Small pictures wait for others, since a batch of them is faster.

    at_once: none do, where what is prepared is handed from process to process.
    """

    def __init__(self, at_once: bool) -> None:
        self._most_px = 0 if at_once else _KEPT

    def prepare(self, sample: Sample) -> Any:
        assert sample.grey is not None
        return sample.grey if sample.grey.size <= self._most_px else phash_of_grey(sample.grey)

    def score(self, prepared: Sequence[Any]) -> Sequence[Any]:
        hashes = iter(phashes_of_greys([each for each in prepared if not isinstance(each, str)]))
        return ([each if isinstance(each, str) else next(hashes) for each in prepared],)


def _load(setup: Setup) -> _Hasher:
    return _Hasher(at_once=setup.prepares_only)


SCORE = Score(
    name="image_phash",
    columns=(
        ScoreColumn("image_phash", "string", "64-bit DCT hash of the picture, 16 hex digits"),
    ),
    inputs=(GREY,),
    model="imagehash.phash, hash_size 8, highfreq_factor 4, as Pillow 9 to 12.1 give it",
    licence="BSD-2-Clause",
    load=_load,
    exact=True,
    note="of the stored picture: resizing moves 4 to 15 % of the hashes by a few bits, and turning "
    "one upright (EXIF) gives it another",
    distributions=("imagehash", "scipy", "simplejpeg"),
)
