"""Write the hashes that imagehash gives to the pictures of tests/hash_pictures.py.

    python tools/make_hashes.py > tests/pieces/hashes_of_pillow_9.txt
    python tools/make_hashes.py --beside tests/pieces/hashes_of_pillow_9.txt

For whatever Pillow is installed where it runs: needs imagehash alone, so that a virtual
environment with an old Pillow is enough (docs/decisions/0011-phash-order.md). --beside: writes
nothing, counts which differ.
"""

from __future__ import annotations

import argparse
import io
import sys
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import hash_pictures
import imagehash
from PIL import Image


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--beside", type=Path, help="a file that this script wrote")
    beside = options.parse_args().beside
    warnings.simplefilter("ignore")  # Pillow's advice on palettes with transparency
    if beside is None:
        print(f"# imagehash.phash of tests/hash_pictures.py, by {_versions()}")
        print("\n".join(hashes()))
    else:
        print("\n".join(differing(beside)))


def _versions() -> str:
    return ", ".join(f"{n} {version(n)}" for n in ("pillow", "imagehash", "numpy", "scipy"))


def hashes() -> Iterator[str]:
    for number in range(hash_pictures.COUNT):
        image = Image.open(io.BytesIO(hash_pictures.picture(number)))
        yield str(imagehash.phash(image))


def differing(path: Path) -> Iterator[str]:
    head, *expected = path.read_text().splitlines()
    bits = []
    for number, (one, other) in enumerate(zip(hashes(), expected, strict=True)):
        if one != other:
            bits.append((int(one, 16) ^ int(other, 16)).bit_count())
            image = Image.open(io.BytesIO(hash_pictures.picture(number)))
            yield f"{hash_pictures.name(number)}, {image.width} x {image.height}: {bits[-1]} bits"
    yield f"{_versions()}: {len(bits)} of {len(expected)} differ, by up to {max(bits, default=0)}"
    yield head


if __name__ == "__main__":
    main()
