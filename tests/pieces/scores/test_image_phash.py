"""The score image_phash hashes small pictures in batches and large ones at once, to the same."""

from __future__ import annotations

import io
from typing import cast
from unittest import mock

import numpy as np
from PIL import Image

from coyo_tools.pieces.phash import phash_of_bytes
from coyo_tools.pieces.scores import image_phash
from coyo_tools.pieces.scores.base import Sample, Scorer, Setup
from tests.tars import photographs


def sample(data: bytes) -> Sample:
    return Sample("k", None, None, grey=np.asarray(Image.open(io.BytesIO(data)).convert("L")))


def scorer(setup: Setup) -> Scorer:
    return cast("Scorer", image_phash.SCORE.load(setup))


def test_small_pictures_wait_for_a_batch_and_large_ones_do_not() -> None:
    pictures = photographs(12)
    samples = [sample(data) for data in pictures]
    sizes = [each.grey.size for each in samples if each.grey is not None]
    middle, largest = int(np.median(sizes)), max(sizes)
    assert min(sizes) < middle < largest
    for most in (0, middle, largest):
        with mock.patch.object(image_phash, "_KEPT", most):
            hasher = scorer(Setup())
            ready = [hasher.prepare(each) for each in samples]
        assert [isinstance(each, str) for each in ready] == [size > most for size in sizes]
        assert hasher.score(ready) == ([phash_of_bytes(data) for data in pictures],)


def test_what_goes_from_process_to_process_is_the_hash() -> None:
    pictures = photographs(2)
    hasher = scorer(Setup(prepares_only=True))
    ready = [hasher.prepare(sample(data)) for data in pictures]
    assert ready == [phash_of_bytes(data) for data in pictures]
