"""presets: rules with a name, each with where it is from and its numbers."""

from __future__ import annotations

from coyo_tools.pieces import recipes
from coyo_tools.pieces.recipes import Preset


def presets(name: str | None = None) -> tuple[Preset, ...]:
    """Every preset, or the one of that name. Raises RuleError with the nearest name."""
    if name is not None:
        return (recipes.preset_named(name),)
    return tuple(recipes.presets().values())
