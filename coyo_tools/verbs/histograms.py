"""Histograms that were kept from earlier, for a `--top` before all other rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from coyo_tools.machinery.storage import folder_at
from coyo_tools.pieces.rules import AnyRule
from coyo_tools.pieces.selections import Top
from coyo_tools.pieces.sidecar import histograms_in, is_begun, kept_place
from coyo_tools.pieces.source import OpenPart, Source
from coyo_tools.words.config import FilterSettings, StatsSettings
from coyo_tools.words.errors import CoyoError
from coyo_tools.words.progress import Listener, silent

if TYPE_CHECKING:
    from coyo_tools.pieces.quantiles import Tally


class Histograms:
    """The histogram that spares a top its first pass: of the folder that `settings.stats` names,
    which is made where it is absent, or of the place where `coyo stats --keep` leaves them.

    notes: which one is used, or why one is not. make: whether a folder may be made. Raises
    SettingsError and CorruptFile where the folder that is named is of no use to this source.
    """

    def __init__(
        self,
        source: Source,
        parts: Sequence[OpenPart],
        rules: Sequence[AnyRule],
        settings: FilterSettings,
        *,
        make: bool = True,
        progress: Listener = silent,
    ) -> None:
        self._source, self._parts, self._settings = source, parts, settings
        self._progress = progress
        first = rules[0] if rules else None
        self._top = first if isinstance(first, Top) and first.per == "source" else None
        self._why_not = "no --top by a column comes before the other rules"
        if isinstance(first, Top):
            self._why_not = f"its histograms are of the whole source, {first.label} is not"
        self._inputs = [part.identity() for part in parts]
        self._found: dict[str, Tally] = {}
        self._to_make: str | None = None
        self.notes: tuple[str, ...] = ()
        if settings.stats is not None:
            self.notes = (self._asked(settings.stats, make=make),)
        elif self._top is not None and (place := kept_place(source.url)) is not None:
            self.notes = self._by_itself(self._top, place)

    def __call__(self, by: str) -> Tally | None:
        """The histogram of all rows by this column or expression, if there is one."""
        if self._to_make is not None:
            from coyo_tools.verbs.stats import stats_of

            place, self._to_make = self._to_make, None
            settings = self._settings
            stats_of(
                self._source,
                self._parts,
                StatsSettings(
                    limit_files=settings.limit_files,
                    schema=settings.schema,
                    of=(by,),
                    workers=settings.workers,
                ),
                place,
                progress=self._progress,
            )
            self._found = self._in(place)
        return self._found.get(by)

    def _in(self, place: str) -> dict[str, Tally]:
        return histograms_in(place, self._inputs, self._settings.schema)

    def _asked(self, place: str, *, make: bool) -> str:
        if self._top is not None and make and not is_begun(place):
            self._to_make = place
            return f"{self._top.label}: its histogram is kept in {place}"
        self._found = self._in(place)
        if self._top is None:
            return f"{place} is of no use here: {self._why_not}"
        return self._said(self._top, place)

    def _by_itself(self, top: Top, place: str) -> tuple[str, ...]:
        try:
            if not folder_at(place).names():
                return ()
            self._found = self._in(place)
        except CoyoError as error:  # nobody asked for it
            return (f"{top.label}: {place} is not used: {error.what}",)
        return (self._said(top, place),)

    def _said(self, top: Top, place: str) -> str:
        if top.by in self._found:
            return f"{top.label}: with the histogram of {place}"
        return f"{top.label}: {place} has no histogram of it; `coyo stats --of` makes one"
