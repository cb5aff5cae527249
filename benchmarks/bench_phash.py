"""image_phash beside an imagehash loop: encoded bytes to hash, and whole `coyo score` runs.

    python benchmarks/bench_phash.py [--runs 7] [--pictures 40] [--whole 6400]

The demo's photographs as they are, and scaled to four sizes as JPEG (quality 88). Every hash is
compared first, by imagehash in the order of Pillow 9 to 12.1: a difference stops the benchmark.

From bytes to hashes: one core, in batches of 32 as a worker of `coyo score` hashes them. Runs are
interleaved and the figure is the median of pictures per CPU second of the one thread that
works, so that other processes on the machine disturb it little. The first picture of a width or
height costs about 0.1 ms more, for weights that are then kept: the last line is of pictures whose
widths and heights all are new. The last column: how many times faster than imagehash decoding alone
is, more than which cannot be reached.

Whole: `coyo score SHARDS -c image_phash`, start-up, tar and parquet included, beside a loop over
the same shards with tarfile, Pillow and imagehash that writes keys and hashes. Pictures per CPU
second of all processes, and the same less what a run over 16 pictures takes; wall seconds too,
where the loop has one core and `coyo score` all of them.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import statistics
import sys
import tarfile
import time
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import cast

for library in ("OPENBLAS", "OMP", "MKL"):  # one core for both sides; read when numpy is imported
    os.environ[f"{library}_NUM_THREADS"] = "1"

import imagehash  # noqa: E402
from harness import OUT, Figures, Spread, compare, machine, run_once, versions, write_section  # noqa: E402
from numpy import ndarray  # noqa: E402
from PIL import Image  # noqa: E402

from coyo_tools.pieces import shrink  # noqa: E402
from coyo_tools.pieces.decoding import decode_grey, fast_pixels  # noqa: E402
from coyo_tools.pieces.demo_data import demo_pictures, picture_bytes  # noqa: E402
from coyo_tools.pieces.scores.base import Sample, Scorer, Setup  # noqa: E402
from coyo_tools.pieces.scores.image_phash import SCORE  # noqa: E402
from coyo_tools.stages.batch_size import GREYS  # noqa: E402

LOOP = Path(__file__).with_name("phash_loop.py")
PER_SHARD = 400
START = 16  # pictures of runs whose time is start-up
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
    hasher = cast("Scorer", SCORE.load(Setup()))
    found: list[str] = []
    for first in range(0, len(pictures), GREYS):
        greys = [decode_grey(data) for data in pictures[first : first + GREYS]]
        samples = [Sample("", None, None, grey=grey) for grey in greys if isinstance(grey, ndarray)]
        found += hasher.score([hasher.prepare(sample) for sample in samples])[0]
    return found


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
        if fast_pixels(data, image) is None:
            image.load()
    return []


def whole(name: str, pictures: Sequence[bytes], count: int, runs: int) -> str:
    """A line of the second table: whole processes over so many pictures in shards."""
    folder, start, scores = (OUT / f"phash-{each}" for each in ("shards", "start", "scores"))
    write_shards(folder, pictures, count)
    write_shards(start, pictures, START)
    commands = {
        **{f"loop {f.name}": [sys.executable, str(LOOP), str(f)] for f in (folder, start)},
        **{f"coyo {f.name}": score(f, scores) for f in (folder, start)},
    }
    found = compare(commands, runs, before=lambda _: shutil.rmtree(scores, ignore_errors=True))
    shutil.rmtree(scores, ignore_errors=True)
    run_once(score(folder, scores))
    right = expected(pictures)
    assert hashes_in(scores) == [right[n % len(right)] for n in range(count)], f"differ: {name}"
    cells = []
    for starts_up in (True, False):
        rates = [
            Spread.of([after(run.cpu_s, found[f"{who} {start.name}"], count, starts_up)
                       for run in found[f"{who} {folder.name}"].runs])
            for who in ("loop", "coyo")
        ]  # fmt: skip
        cells += [*(rate.text(0) for rate in rates), f"{rates[1].median / rates[0].median:.2f}"]
    cells += [found[f"{who} {folder.name}"].wall_s.text(1) for who in ("loop", "coyo")]
    for path in (folder, start, scores):
        shutil.rmtree(path)
    return f"| {name} | {' | '.join(cells)} |"


def score(shards: Path, out: Path) -> list[str]:
    """The command line."""
    coyo = [sys.executable, "-m", "coyo_tools", "score", str(shards), "-o", str(out)]
    return [*coyo, "-c", "image_phash", "--progress", "none"]


def after(cpu_s: float, start: Figures, count: int, starts_up: bool) -> float:
    """Pictures a CPU second; starts_up: with what it takes to start."""
    if starts_up:
        return count / cpu_s
    return (count - START) / (cpu_s - start.cpu_s.median)


def write_shards(folder: Path, pictures: Sequence[bytes], count: int) -> None:
    """The pictures over and over, as `coyo download` packs them."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for first in range(0, count, PER_SHARD):
        with tarfile.open(folder / f"{first // PER_SHARD:05d}.tar", "w") as tar:
            for number in range(first, min(count, first + PER_SHARD)):
                data = pictures[number % len(pictures)]
                kind = (Image.open(io.BytesIO(data)).format or "").lower().replace("jpeg", "jpg")
                files = {kind: data, "txt": b"a caption", "json": b'{"id": %d}' % number}
                for extension, content in files.items():
                    member = tarfile.TarInfo(f"{number:016d}.{extension}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


def hashes_in(folder: Path) -> list[str]:
    """Of the scores, in their order."""
    import pyarrow.parquet as pq

    files = sorted(folder.glob("*.parquet"))
    return [each for f in files for each in pq.read_table(f)["image_phash"].to_pylist()]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=7)
    options.add_argument("--pictures", type=int, default=40)
    options.add_argument("--whole", type=int, default=6400, help="pictures of whole runs")
    options.add_argument("--whole-runs", type=int, default=5)
    options.add_argument("--only-whole", action="store_true", help="the second table alone")
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
    every = sets(asked.pictures)
    for name, pictures in every.items() if not asked.only_whole else ():
        lines.append(line(name, pictures, asked.runs, ours))
    if not asked.only_whole:
        new = of_different_sizes(asked.pictures)
        lines.append(line("JPEG, from 300 px, every size new", new, asked.runs, ours_anew))
    lines += [
        "",
        f"Whole runs over {asked.whole:,} pictures, medians of {asked.whole_runs}:",
        "",
        "| pictures | loop, pictures a CPU second | `coyo score` | times "
        "| loop, start-up taken off | `coyo score` | times | loop, wall s | `coyo score` |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name in list(every)[:2]:
        lines.append(whole(name, every[name], asked.whole, asked.whole_runs))
    print("\n".join(lines))
    if not asked.dry_run and not asked.only_whole:
        write_section("image_phash: pictures a second", "\n".join(lines))


if __name__ == "__main__":
    main()
