"""Small files that a user names: recipes, manifests, lists of words; read whole, from anywhere."""

from __future__ import annotations

import os

from coyo_tools.machinery import web
from coyo_tools.machinery.ranges import is_web
from coyo_tools.machinery.storage import filesystem, is_remote, local_path, reading_errors
from coyo_tools.machinery.traffic import Traffic
from coyo_tools.machinery.web import Place
from coyo_tools.pieces import hub
from coyo_tools.words.errors import SourceNotFound


def read_bytes(url: str | os.PathLike[str]) -> bytes:
    """A whole small file, local or remote. Raises SourceNotFound, SourceError."""
    place = os.fspath(url)
    try:
        with reading_errors(place):
            return _read(place)
    except FileNotFoundError as error:
        raise SourceNotFound("no such file", where=place, todo="check the path") from error


def _read(place: str) -> bytes:
    traffic = Traffic()
    if is_web(place):
        return web.get(Place(place, place), traffic)[0]
    if place.startswith(hub.DATASETS):
        return web.get(hub.place(hub.pin(place, traffic)[0]), traffic)[0]
    if is_remote(place):
        fs, path = filesystem(place)
        return bytes(fs.cat_file(path))
    try:
        return local_path(place).read_bytes()
    except IsADirectoryError as error:
        raise SourceNotFound(
            "is a folder, not a file", where=place, todo="name the file in it"
        ) from error
