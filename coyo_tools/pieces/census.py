"""census.json: what fetching a random sample of urls showed, from which plans reckon a download.

    {"coyo_census": 1, "source": "hf://...", "urls": 10000,
     "alive":           {"value": 0.62, "low": 0.61, "high": 0.63},
     "bytes_per_image": {"value": 181000, "low": 178000, "high": 184000},
     "images_per_s":    {"value": 240.0, "low": 231.0, "high": 249.0}}

Each figure with its 95 % confidence interval. alive: share of the urls that gave a picture.
bytes_per_image: received from the net, all answers together, to a picture. images_per_s: pictures
to a second of wall time, on the machine that made it. Whatever else a census holds is not read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coyo_tools.machinery.storage import is_remote, local_path
from coyo_tools.pieces.clusters import Estimate
from coyo_tools.pieces.small_files import read_bytes
from coyo_tools.words.errors import CorruptFile, SettingsError, SourceNotFound

CENSUS = "census.json"
FORMAT = 1
_MARK = "coyo_census"
_AGAIN = "make a new one with `coyo download SUBSET --census 10000 -o census`"


@dataclass(frozen=True)
class Census:
    """A census and where it lies. urls: asked. The figures: see above."""

    place: str
    source: str
    urls: int
    alive: Estimate
    bytes_per_image: Estimate
    images_per_s: Estimate

    def is_of(self, source: str) -> bool:
        """Whether its urls were drawn from this source."""
        return _is_same(self.source, source)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        figures = {name: getattr(self, name).to_dict() for name in _FIGURES}
        return {"place": self.place, "source": self.source, "urls": self.urls} | figures


_FIGURES = ("alive", "bytes_per_image", "images_per_s")


def census_at(place: str) -> Census:
    """The census in a folder, or that very file. Raises SettingsError, CorruptFile."""
    url = place if place.endswith(".json") else f"{place.rstrip('/')}/{CENSUS}"
    try:
        data = read_bytes(url)
    except SourceNotFound as error:
        raise SettingsError("holds no census", where=place, todo=_AGAIN) from error
    try:
        said = json.loads(data)
        if said[_MARK] != FORMAT:
            raise ValueError(f"its format is {said[_MARK]!r}, this version reads {FORMAT}")
        return Census(
            url, str(said["source"]), int(said["urls"]), *(_figure(said, n) for n in _FIGURES)
        )
    except (ValueError, KeyError, TypeError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise CorruptFile(f"is no census: {why}", where=url, todo=_AGAIN) from error


def _figure(said: Mapping[str, Any], name: str) -> Estimate:
    found = Estimate(*(float(said[name][key]) for key in ("value", "low", "high")))
    most = 1.0 if name == "alive" else float("inf")
    if not 0 <= found.low <= found.value <= found.high <= most:
        raise ValueError(f"{name} is out of range")
    return found


def newest_census(source: str) -> Census | None:
    """The census written last beside the source or in the working directory, one folder deep: of
    those that were drawn from it, else of all; None where there is none. Files of that name that no
    census command wrote are passed over.

    Raises CorruptFile where the chosen one cannot be read.
    """
    found = {path.resolve(): drawn for path in _beside(source) if (drawn := _drawn_from(path))}
    own = [path for path, drawn in found.items() if _is_same(drawn, source)]
    newest = max(own or found, key=lambda path: (path.stat().st_mtime_ns, str(path)), default=None)
    return None if newest is None else census_at(str(newest))


def _is_same(one: str, other: str) -> bool:
    """Whether these are names of one source."""
    if one == other or is_remote(one) or is_remote(other):
        return one == other
    return local_path(one).resolve() == local_path(other).resolve()


def _beside(source: str) -> Iterator[Path]:
    places = [Path.cwd()]
    if not is_remote(source):
        path = local_path(source)
        places += [path, path.parent]
    for place in places:
        yield from place.glob(CENSUS)
        yield from place.glob(f"*/{CENSUS}")


def _drawn_from(path: Path) -> str | None:
    """The source that a census names; None where the file is none of ours."""
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return str(said.get("source", "?")) if isinstance(said, dict) and _MARK in said else None
