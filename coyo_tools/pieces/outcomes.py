"""Fetched bytes to what the row comes to: block list, picture, failure."""

from __future__ import annotations

import hashlib

from coyo_tools.pieces.blocklist import BlockList
from coyo_tools.pieces.careful import CarefulDecoder
from coyo_tools.pieces.images import Picture, Spoiled, process
from coyo_tools.pieces.lending import Borrower
from coyo_tools.pieces.rows import Outcome
from coyo_tools.words.config import DownloadSettings
from coyo_tools.words.failures import Failure


def outcome_of(
    data: bytes,
    settings: DownloadSettings,
    blocked: BlockList,
    decoder: CarefulDecoder | Borrower | None = None,
) -> Outcome:
    """What fetched bytes come to: checked against the block list, decoded, resized, encoded.

    decoder: that makes the picture; None for here.
    """
    digest = hashlib.sha256(data).hexdigest()
    if digest in blocked.sha256:
        return Outcome(Failure("blocked", "sha256"), sha256=digest, fetched_bytes=len(data))
    phash = settings.verify_phash or bool(blocked.phashes)
    if decoder is not None:
        made = decoder.process(data, phash=phash)
    else:
        made = process(data, settings, phash=phash)
    return _outcome(made, digest, len(data), settings, blocked)


def _outcome(
    made: Picture | Spoiled,
    digest: str,
    fetched: int,
    settings: DownloadSettings,
    blocked: BlockList,
) -> Outcome:
    phash = made.phash if settings.verify_phash and isinstance(made, Picture) else None
    original = made.original_width, made.original_height, digest, phash, fetched
    if isinstance(made, Spoiled):
        return Outcome(made.failure, "", b"", None, None, *original)
    if made.phash in blocked.phashes:
        return Outcome(Failure("blocked", "image_phash"), "", b"", None, None, *original)
    return Outcome(None, made.extension, made.data, made.width, made.height, *original)
