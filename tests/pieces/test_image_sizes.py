"""Pictures too large to be decoded or made, and narrow ones that become large when enlarged."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from PIL import Image

from coyo_tools.pieces.images import Picture, Spoiled, process
from coyo_tools.words.config import DownloadSettings
from coyo_tools.words.failures import Failure
from tests.pieces.test_images import RED, SMALL, encoded, quarters


def test_only_the_header_is_read_of_a_picture_with_too_many_pixels():
    bomb = encoded(Image.new("1", (30_000, 30_000)), "PNG")
    made = process(bomb, SMALL)
    assert isinstance(made, Spoiled)
    assert made.failure.error == "too_many_pixels"
    assert (made.original_width, made.original_height) == (30_000, 30_000)


def test_max_pixels_is_exact():
    data = encoded(quarters((40, 25)), "PNG")
    assert isinstance(process(data, DownloadSettings(max_pixels=1000)), Picture)
    assert isinstance(process(data, DownloadSettings(max_pixels=999)), Spoiled)


def test_a_side_the_target_format_cannot_hold_is_named():
    data = encoded(Image.new("L", (17_000, 2)), "PNG")
    made = process(data, DownloadSettings(format="webp"))
    assert isinstance(made, Spoiled)
    assert made.failure.error == "too_many_pixels"
    assert isinstance(process(data, DownloadSettings(format="png", quality=1)), Picture)


NARROW = """
import io, resource, sys
from PIL import Image
from coyo_tools.pieces.images import process
from coyo_tools.words.config import DownloadSettings

process(open(sys.argv[1], "rb").read(), DownloadSettings(only_shrink=False))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name in sys.argv[3:]:
    wanted = DownloadSettings(only_shrink=False, resize=sys.argv[2])
    made = process(open(name, "rb").read(), wanted)
    print(made.failure.error if hasattr(made, "failure") else f"{made.width} x {made.height}")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("keep_ratio", "too_many_pixels"),
        ("keep_ratio_largest", "384 x 1"),
        ("center_crop", "384 x 384"),
        ("border", "384 x 384"),
    ],
)
def test_a_narrow_picture_that_is_enlarged_takes_no_gigabytes(tmp_path, mode, expected):
    pictures = {"usual": (64, 48), "high": (1, 2_000), "higher": (1, 60_000), "wide": (60_000, 1)}
    for name, size in pictures.items():
        (tmp_path / name).write_bytes(encoded(Image.new("RGB", size, RED), "JPEG"))
    names = [str(tmp_path / name) for name in pictures]
    done = subprocess.run(
        [sys.executable, "-c", NARROW, names[0], mode, *names[1:]],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    *made, grown_mb = done.stdout.split("\n")[:-1]
    turned = " ".join(reversed(expected.split(" ")))
    assert made == [turned, turned, expected]
    assert int(grown_mb) < 100


def test_an_enlarged_picture_is_bounded_by_max_pixels_or_by_the_square_asked_for():
    narrow = encoded(quarters((40, 80)), "PNG")
    wanted = DownloadSettings(image_size=200, only_shrink=False, max_pixels=3200)
    made = process(narrow, wanted)
    assert made == Spoiled(Failure("too_many_pixels", "200 x 400 when resized"), 40, 80)
    assert isinstance(process(narrow, replace(wanted, max_pixels=80_000)), Picture)
    for mode in ("border", "center_crop"):
        assert isinstance(process(narrow, replace(wanted, resize=mode)), Picture)
