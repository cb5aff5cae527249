import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from coyo_tools.pieces.demo_data import demo_pictures, picture_bytes
from coyo_tools.pieces.report.gallery import (
    THUMBNAIL_PX,
    host,
    members,
    quotas,
    read_pictures,
    spread,
    thumbnail,
)

FILES = {"0001.jpg": b"jpeg", "0001.txt": b"caption", "0001.json": b"{}", "0002.webp": b"w" * 1000}


def tar(format: int = tarfile.USTAR_FORMAT, **pax: str) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for name, data in FILES.items():
            info = tarfile.TarInfo(name)
            info.size, info.pax_headers = len(data), pax
            archive.addfile(info, io.BytesIO(data))
    return out


@given(st.integers(0, 300), st.lists(st.integers(0, 40), max_size=30))
def test_quotas_are_as_even_as_the_shards_allow(wanted: int, available: list[int]) -> None:
    taken = quotas(wanted, available)
    assert sum(taken) == min(wanted, sum(available))
    assert all(mine <= most for mine, most in zip(taken, available, strict=True))
    open_ = [mine for mine, most in zip(taken, available, strict=True) if mine < most]
    assert not open_ or max(taken) - min(open_) <= 1


@given(st.integers(0, 50), st.integers(0, 60))
def test_spread_takes_distinct_items_in_order(items: int, wanted: int) -> None:
    found = spread(range(items), wanted)
    assert found == sorted(set(found))
    assert len(found) == min(items, wanted)


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_those_tarfile_wrote(format: int) -> None:
    pax = {"mtime": "1.5"} if format == tarfile.PAX_FORMAT else {}
    found = [(name, size) for name, size in members(tar(format, **pax))]
    assert found == [(name, len(data)) for name, data in FILES.items()]


def test_pictures_of_the_wanted_keys_and_nothing_else() -> None:
    assert read_pictures(tar(), {"0002", "0009"}) == {"0002": b"w" * 1000}
    assert read_pictures(tar(), {"0001"}) == {"0001": b"jpeg"}


@given(st.binary(max_size=3000))
def test_a_damaged_tar_ends_and_raises_nothing(data: bytes) -> None:
    list(members(io.BytesIO(data)))


@given(st.integers(0, 3500), st.binary(min_size=1, max_size=20))
def test_a_tar_with_overwritten_bytes_ends(at: int, junk: bytes) -> None:
    whole = bytearray(tar().getvalue())
    whole[at : at + len(junk)] = junk
    list(members(io.BytesIO(bytes(whole))))


@pytest.mark.parametrize("file", [picture.file for picture in demo_pictures()])
def test_every_demo_picture_has_a_small_thumbnail(file: str) -> None:
    made = thumbnail(picture_bytes(file))
    assert made is not None
    data, width, height = made
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (width, height), "RGB")
    assert max(width, height) <= THUMBNAIL_PX
    assert len(data) < 20_000
    assert thumbnail(picture_bytes(file)) == made


@pytest.mark.parametrize("data", [b"", b"<html>", picture_bytes("africa.jpg")[:300]])
def test_what_does_not_decode_is_none(data: bytes) -> None:
    assert thumbnail(data) is None


@pytest.mark.parametrize(
    ("url", "said"),
    [("https://User:pw@Example.COM:8080/x?y", "example.com:8080"), ("javascript:alert(1)", ""),
     ("http://[bad/x", ""), (None, ""), (3, ""), ("//cdn.example/x", "cdn.example")],
)  # fmt: skip
def test_host(url: object, said: str) -> None:
    assert host(url) == said
