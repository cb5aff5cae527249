"""Weights as published: from the cache of `coyo weights`, fetched into it where they are absent."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from coyo_tools.pieces.scores import weights_cache
from coyo_tools.pieces.scores.base import Weights
from coyo_tools.words.errors import CoyoError


@cache
def _fetched(weights: Weights) -> Path | str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COYO_REMOTE_ATTEMPTS", "2")
        patch.setenv("COYO_REMOTE_PATIENCE_S", "20")
        try:
            path = weights_cache.fetch(weights)
            weights_cache.check(weights, path)
        except CoyoError as error:
            return str(error)
    return path


def published(weights: Weights) -> Path:
    """The file, of the sha256 that is declared; skips the test where it cannot be had."""
    found = _fetched(weights)
    if isinstance(found, str):
        pytest.skip(f"the weights {weights.name} cannot be had here: {found}")
    return found
