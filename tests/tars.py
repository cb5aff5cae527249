"""Small tar shards and pictures for tests, written by hand."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from PIL import Image

FIRST_ID = 1 << 41
Member = tuple[str, bytes]


def photographs(count: int | None = None) -> list[bytes]:
    """Encoded pictures of the demo, in name order."""
    folder = files("coyo_tools") / "data" / "demo" / "pictures"
    found = sorted(folder.iterdir(), key=lambda entry: entry.name)
    return [entry.read_bytes() for entry in found[:count]]


def picture(number: int = 0, format: str = "JPEG", size: tuple[int, int] = (64, 48)) -> bytes:
    """A small picture that differs by number."""
    image = Image.linear_gradient("L").resize(size).rotate(number * 37).convert("RGB")
    image.putpixel((number % size[0], 3), (255, number % 256, 0))
    buffer = io.BytesIO()
    image.save(buffer, format=format)
    return buffer.getvalue()


def sample(
    number: int,
    data: bytes | None = None,
    caption: str | None = "a caption",
    row: Mapping[str, Any] | None = None,
    extension: str = "jpg",
) -> list[Member]:
    """The members of one sample, as `download` writes them."""
    key = f"{FIRST_ID + number:016d}"
    members = [(f"{key}.{extension}", picture(number) if data is None else data)]
    if caption is not None:
        members.append((f"{key}.txt", caption.encode()))
    facts = {"id": FIRST_ID + number, "key": key, "caption": caption} if row is None else row
    return [*members, (f"{key}.json", json.dumps(facts).encode())]


def write_tar(path: Path, samples: Iterable[Iterable[Member]]) -> Path:
    """A tar of these samples."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in (member for one in samples for member in one):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def write_shards(folder: Path, shards: int, samples: int) -> Path:
    """Shards of small pictures with ids that go up and captions that differ."""
    for shard in range(shards):
        numbers = range(shard * samples, (shard + 1) * samples)
        write_tar(
            folder / f"{shard:05d}.tar",
            [
                sample(number, caption=f"picture number {number}" + "!" * number)
                for number in numbers
            ],
        )
    return folder
