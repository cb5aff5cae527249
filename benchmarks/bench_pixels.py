"""Where the CPU time of a picture goes in `coyo download`, and what shortcuts would win and spoil.

    python benchmarks/bench_pixels.py [--runs 5]

The distinct pictures of bench_download.py, from fetched bytes to what is stored (384 px, area,
quality 95), in one thread; medians of interleaved runs. PSNR is of what is stored, decoded again,
against a full decode and cv2's INTER_AREA; a JPEG of quality 95 of the latter has 42 dB itself.
"""

from __future__ import annotations

import argparse
import io
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
import numpy as np
from bench_download import DISTINCT, make_pictures
from picture_quality import as_stored
from PIL import Image

from coyo_tools.pieces import images, plain_jpeg, planes
from coyo_tools.words.config import DownloadSettings

SETTINGS = DownloadSettings(keep_original_bytes=True)
STEPS: tuple[tuple[str, Any, str], ...] = (
    ("header (Pillow)", images, "_open"),
    ("header of JPEGs", plain_jpeg, "header_of"),
    ("EXIF (Pillow)", images, "_orientation"),
    ("decode to planes (FFmpeg, libwebp)", planes, "decoded"),
    ("decode to pixels (libjpeg, Pillow)", images, "_decode"),
    ("shrink", planes, "shrunk"),
    ("encode", planes, "jpeg"),
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
            f"{harness.machine()}; {harness.versions('av', 'pillow', 'simplejpeg')}. "
            f"{len(paths)} pictures, one thread, medians of {asked.runs} interleaved runs.\n\n"
            + "\n\n".join([by_format(paths, asked.runs), by_step(paths), by_way(www, asked.runs)])
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


def ways() -> dict[str, Callable[[], Any]]:
    """How it is done, how it was done, and ways to be faster, each as a patch."""

    def rgb(**more: Any) -> ExitStack:
        patched = ExitStack()
        for module, name in ((planes, "decoder_for"), (images, "_averaged")):
            patched.enter_context(mock.patch.object(module, name, return_value=None))
        for name, value in more.items():
            patched.enter_context(mock.patch.object(images, name, value))
        return patched

    as_it_is = planes.jpeg
    exact = "the same at quality 96, from which on libjpeg takes its exact DCT"
    by_another = "the same at quality 95 by Pillow, which asks for the exact DCT"

    def encoded(encode: Callable[..., bytes]) -> Any:
        return mock.patch.object(planes, "jpeg", encode)

    return {
        "planes of YCbCr: as it is": ExitStack,
        exact: lambda: encoded(lambda luma, blue, red, _: as_it_is(luma, blue, red, 96)),
        by_another: lambda: encoded(by_pillow),
        "pixels of RGB decoded, shrunk by a cubic filter and encoded": rgb,
        "the same, decoded at half size from factor 2 on": partial(rgb, _DCT_MARGIN=1.0),
        "FFmpeg's bilinear scaler": lambda: mock.patch.object(
            planes, "_SCALING", planes._SCALING & ~planes._AREA | 2
        ),
    }


def by_pillow(luma: Any, blue: Any, red: Any, quality: int) -> bytes:
    """A JPEG of 4:2:0 by Pillow, which takes colour at full size and averages it again."""
    height, width = luma.shape
    colours = (plane.repeat(2, 0).repeat(2, 1)[:height, :width] for plane in (blue, red))
    buffer = io.BytesIO()
    whole = Image.fromarray(np.dstack([luma, *colours]), "YCbCr")
    whole.save(buffer, "JPEG", quality=quality, subsampling=2)
    return buffer.getvalue()


def by_way(www: Path, runs: int) -> str:
    """What each costs, and how far what it stores is from area averaging."""
    pictures = [path.read_bytes() for path in sorted(www.glob("original-*"))]
    tried = ways()
    found: dict[str, list[float]] = {name: [] for name in tried}
    quality = {}
    for _ in range(runs):
        for name, way in tried.items():
            with way():
                found[name].append(cpu_ms(pictures))
    for name, way in tried.items():
        with way():
            quality[name] = as_stored(www)
    lines = [
        "| way | CPU ms a picture | PSNR as stored, dB: mean | least |",
        "|---|---:|---:|---:|",
    ]
    for name, figures in found.items():
        lines.append(
            f"| {name} | {harness.Spread.of(figures).text()} "
            f"| {statistics.mean(quality[name]):.1f} | {min(quality[name]):.1f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
