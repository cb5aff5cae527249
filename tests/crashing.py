"""A decoder that ends its process by SIGSEGV on `crash me`, and does not end on `keep me`."""

from __future__ import annotations

from pathlib import Path

import pytest

_SIMPLEJPEG = """
import os, signal, time
from coyo_tools.machinery import watchdog
watchdog.LONGEST_S = 2.0
def decode_jpeg(data, kind, *_, **__):
    if kind != "RGBX":
        raise ValueError("to be judged by Pillow")
    import io, numpy
    from PIL import Image
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    return numpy.dstack([numpy.asarray(picture), numpy.zeros(picture.size[::-1], "uint8")])
def decode_jpeg_header(data):
    if b"crash me" in data:
        os.kill(os.getpid(), signal.SIGSEGV)
    if b"keep me" in data:
        time.sleep(600)
    import io
    from PIL import Image, JpegImagePlugin
    picture = Image.open(io.BytesIO(data))
    sampling = ("444", "422", "420")[JpegImagePlugin.get_sampling(picture)]
    return picture.height, picture.width, "YCbCr", sampling
def encode_jpeg(array, quality, *_):
    return as_jpeg(array[:, :, :3], quality)
def encode_jpeg_yuv_planes(luma, blue, red, quality):
    return as_jpeg(luma, quality)
def as_jpeg(array, quality):
    import io
    from PIL import Image
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it stand in for simplejpeg, in processes started from now on."""
    folder.mkdir()
    (folder / "simplejpeg.py").write_text(_SIMPLEJPEG)
    monkeypatch.syspath_prepend(str(folder))
