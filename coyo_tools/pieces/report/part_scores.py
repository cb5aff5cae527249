"""The page's parts about recomputed columns."""

from __future__ import annotations

from coyo_tools.pieces.report import part_subset
from coyo_tools.pieces.report.markup import Html
from coyo_tools.pieces.report.views import ScoresView


def scores(view: ScoresView) -> Html:
    """A card for each recomputed column."""
    return part_subset.columns(view.columns)
