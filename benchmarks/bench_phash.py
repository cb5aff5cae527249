"""image_phash beside an imagehash loop: encoded bytes to hash, one core, the same pictures.

    python benchmarks/bench_phash.py [--runs 7] [--pictures 40]

The demo's photographs as they are, and scaled to four sizes as JPEG (quality 88). Every hash is
compared first, by imagehash in the order of Pillow 9 to 12.1: a difference stops the benchmark.
Runs are interleaved and the figure is the median of pictures per CPU second of the one thread that
works, so that other processes on the machine disturb it little. The first picture of a width or
height costs about 0.1 ms more, for weights that are then kept: the last line is of pictures whose
widths and heights all are new. The last column: how many times faster than imagehash decoding alone
is, more than which cannot be reached.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache

for library in ("OPENBLAS", "OMP", "MKL"):  # one core for both sides; read when numpy is imported
    os.environ[f"{library}_NUM_THREADS"] = "1"

import imagehash  # noqa: E402
from harness import Spread, machine, versions, write_section  # noqa: E402
from PIL import Image  # noqa: E402

from coyo_tools.pieces import shrink  # noqa: E402
from coyo_tools.pieces.decoding import jpeg_pixels  # noqa: E402
from coyo_tools.pieces.demo_data import demo_pictures, picture_bytes  # noqa: E402
from coyo_tools.pieces.phash import phash_of_bytes  # noqa: E402

SIDES_PX = (400, 640, 1200, 1600)  # the longer side
Loop = Callable[[Sequence[bytes]], list[str]]


def plain(pictures: Sequence[bytes]) -> list[str]:
    return [str(imagehash.phash(Image.open(io.BytesIO(data)))) for data in pictures]


def expected(pictures: Sequence[bytes]) -> list[str]:
    """By imagehash, in the order of Pillow 9 to 12.1, which Pillow 13 gave up for tall pictures."""
    lanczos = Image.Resampling.LANCZOS
    greys = [Image.open(io.BytesIO(data)).convert("L") for data in pictures]
    return [str(imagehash.phash(grey.resize((32, grey.height), lanczos))) for grey in greys]


def ours_anew(pictures: Sequence[bytes]) -> list[str]:
    """With weights made for the width and the height of every picture: none are kept."""
    kept = shrink._table
    shrink._table = lru_cache(maxsize=1)(kept.__wrapped__)
    try:
        return ours(pictures)
    finally:
        shrink._table = kept


def ours(pictures: Sequence[bytes]) -> list[str]:
    return [phash_of_bytes(data) for data in pictures]


def sets(count: int) -> dict[str, list[bytes]]:
    """The pictures by the name of their set."""
    originals = [picture_bytes(picture.file) for picture in demo_pictures()][:count]
    found = {"as published, mixed formats": originals}
    for side in SIDES_PX:
        found[f"JPEG, {side} px"] = [scaled(data, side) for data in originals]
    return found


def of_different_sizes(count: int) -> list[bytes]:
    """As many pictures, from 300 px on, each of another size."""
    originals = [picture_bytes(picture.file) for picture in demo_pictures()][:count]
    return [scaled(data, 300 + 17 * i) for i, data in enumerate(originals)]


def scaled(data: bytes, side: int) -> bytes:
    image = Image.open(io.BytesIO(data)).convert("RGB")
    factor = side / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def rate(loop: Loop, pictures: Sequence[bytes]) -> float:
    """Pictures a CPU second of this thread."""
    started = time.thread_time()
    loop(pictures)
    return len(pictures) / (time.thread_time() - started)


def line(name: str, pictures: Sequence[bytes], runs: int, way: Loop) -> str:
    """One of the table."""
    assert expected(pictures) == ours(pictures), f"hashes differ: {name}"
    theirs, mine, ratio = measure(pictures, runs, way)
    most = theirs_to_decoding(pictures, runs)
    return f"| {name} | {theirs.text(0)} | {mine.text(0)} | {ratio:.2f} | {most:.2f} |"


def measure(pictures: Sequence[bytes], runs: int, way: Loop) -> tuple[Spread, Spread, float]:
    """Pictures/s of imagehash and of ours, and the median of the ratio of each pair of runs."""
    pairs = [(rate(plain, pictures), rate(way, pictures)) for _ in range(runs)]
    ratio = statistics.median(b / a for a, b in pairs)
    return Spread.of([a for a, _ in pairs]), Spread.of([b for _, b in pairs]), ratio


def theirs_to_decoding(pictures: Sequence[bytes], runs: int) -> float:
    """How many times faster than imagehash decoding alone is: the most that could be reached."""
    pairs = [(rate(plain, pictures), rate(decoded, pictures)) for _ in range(runs)]
    return statistics.median(b / a for a, b in pairs)


def decoded(pictures: Sequence[bytes]) -> list[str]:
    for data in pictures:
        image = Image.open(io.BytesIO(data))
        if jpeg_pixels(data, image) is None:
            image.load()
    return []


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=7)
    options.add_argument("--pictures", type=int, default=40)
    options.add_argument("--dry-run", action="store_true", help="do not write RESULTS.md")
    asked = options.parse_args()
    warnings.simplefilter("ignore")
    lines = [
        f"{machine()}; {versions('imagehash', 'pillow', 'simplejpeg', 'numpy', 'scipy')}. "
        f"One core; medians of {asked.runs} interleaved runs; the hashes are equal.",
        "",
        "| pictures | imagehash loop, pictures/s | coyo_tools, pictures/s | times | at most |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, pictures in sets(asked.pictures).items():
        lines.append(line(name, pictures, asked.runs, ours))
    new = of_different_sizes(asked.pictures)
    lines.append(line("JPEG, from 300 px, every size new", new, asked.runs, ours_anew))
    print("\n".join(lines))
    if not asked.dry_run:
        write_section("image_phash: pictures a second", "\n".join(lines))


if __name__ == "__main__":
    main()
