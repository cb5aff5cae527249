"""Where the CPU time of a picture goes in `coyo download`, and what shortcuts would win and spoil.

    python benchmarks/bench_pixels.py [--runs 5]

The distinct pictures of bench_download.py, from fetched bytes to what is stored (384 px, area,
quality 95), in one thread; medians of interleaved runs. PSNR is of the shrunk pictures before they
are encoded, against a full decode and cv2's INTER_AREA.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import harness
import simplejpeg
from bench_download import DISTINCT, make_pictures, psnr

from coyo_tools.pieces import images, resize
from coyo_tools.words.config import DownloadSettings

SETTINGS = DownloadSettings(keep_original_bytes=True)
STEPS: tuple[tuple[str, Any, str], ...] = (
    ("header", images, "_open"),
    ("EXIF (Pillow decodes a whole PNG for it)", images, "_orientation"),
    ("decode", images, "_decode"),
    ("resize", resize, "resize"),
    ("encode", images, "_encode"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=DISTINCT)
    parser.add_argument("--dry-run", action="store_true", help="do not write RESULTS.md")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-pixels-") as scratch:
        www = Path(scratch) / "www"
        make_pictures(www, asked.pictures)
        paths = sorted(www.glob("original-*"))
        body = (
            f"{harness.machine()}; {harness.versions('pillow', 'simplejpeg', 'cykooz-resizer')}. "
            f"{len(paths)} pictures, one thread, medians of {asked.runs} interleaved runs.\n\n"
            + "\n\n".join(
                [by_format(paths, asked.runs), by_step(paths), by_shortcut(www, asked.runs)]
            )
        )
    print(body)
    if not asked.dry_run:
        harness.write_section("download: CPU of a picture", body)


def cpu_ms(pictures: list[bytes]) -> float:
    """CPU milliseconds a picture."""
    started = time.thread_time()
    for data in pictures:
        images.process(data, SETTINGS)
    return 1000 * (time.thread_time() - started) / len(pictures)


def by_format(paths: list[Path], runs: int) -> str:
    """What a picture of each format costs."""
    groups: dict[str, list[bytes]] = {"all": [path.read_bytes() for path in paths]}
    for path in paths:
        groups.setdefault(path.suffix[1:].upper(), []).append(path.read_bytes())
    found: dict[str, list[float]] = {name: [] for name in groups}
    for _ in range(runs):
        for name, pictures in groups.items():
            found[name].append(cpu_ms(pictures))
    lines = ["| format | pictures | CPU ms a picture |", "|---|---:|---:|"]
    for name, pictures in groups.items():
        lines.append(f"| {name} | {len(pictures)} | {harness.Spread.of(found[name]).text()} |")
    return "\n".join(lines)


def by_step(paths: list[Path]) -> str:
    """The steps of all pictures, one run."""
    spent = dict.fromkeys((name for name, _, _ in STEPS), 0.0)

    def timed(name: str, function: Callable[..., Any], *given: Any) -> Any:
        started = time.thread_time()
        try:
            return function(*given)
        finally:
            spent[name] += time.thread_time() - started

    with ExitStack() as patched:
        for name, module, function in STEPS:
            step = partial(timed, name, getattr(module, function))
            patched.enter_context(mock.patch.object(module, function, step))
        for path in paths:
            images.process(path.read_bytes(), SETTINGS)
    lines = ["| step | CPU ms a picture |", "|---|---:|"]
    lines += [f"| {name} | {1000 * s / len(paths):.2f} |" for name, s in spent.items()]
    return "\n".join(lines)


def shortcuts() -> dict[str, Callable[[], Any]]:
    """Ways to be faster, each as a patch."""

    def decoder(**more: Any) -> Any:
        plain = simplejpeg.decode_jpeg
        return mock.patch.object(
            simplejpeg, "decode_jpeg", lambda *given, **said: plain(*given, **{**said, **more})
        )

    return {
        "as it is": lambda: mock.patch.object(images, "_DCT_MARGIN", images._DCT_MARGIN),
        "fast DCT": lambda: decoder(fastdct=True),
        "chroma repeated always": lambda: decoder(fastupsample=True),
        "triangle always": lambda: mock.patch.object(resize, "_TRIANGLE_BELOW", 99.0),
        "decoded at half size from factor 2 on": lambda: mock.patch.object(
            images, "_DCT_MARGIN", 1.0
        ),
    }


def by_shortcut(www: Path, runs: int) -> str:
    """What each would win, and how far it is from area averaging."""
    pictures = [path.read_bytes() for path in sorted(www.glob("original-*"))]
    ways = shortcuts()
    found: dict[str, list[float]] = {name: [] for name in ways}
    quality = {}
    for _ in range(runs):
        for name, way in ways.items():
            with way():
                found[name].append(cpu_ms(pictures))
    for name, way in ways.items():
        with way():
            quality[name] = psnr(www)
    lines = ["| shortcut | CPU ms a picture | PSNR, dB: mean | least |", "|---|---:|---:|---:|"]
    for name, figures in found.items():
        lines.append(
            f"| {name} | {harness.Spread.of(figures).text()} "
            f"| {statistics.mean(quality[name]):.1f} | {min(quality[name]):.1f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
