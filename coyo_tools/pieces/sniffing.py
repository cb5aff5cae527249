"""What bytes from the web are, by how they begin; nobody's word is believed."""

from __future__ import annotations

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"BM", "bmp"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"\x00\x00\x01\x00", "ico"),
    (b"8BPS", "psd"),
    (b"\xff\x0a", "jxl"),
    (b"\x00\x00\x00\x0cJXL ", "jxl"),
    (b"\x00\x00\x00\x0cjP  ", "jp2"),
    (b"\xff\x4f\xff\x51", "jp2"),
)
_BRANDS = {b"avif": "avif", b"avis": "avif", b"heic": "heic", b"heix": "heic", b"mif1": "heif"}


def sniff(data: bytes) -> str | None:
    """The format the first bytes name: jpeg, png, webp, avif ...; None where they name none."""
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12])
    return None


def looks_like(data: bytes) -> str:
    """In words what bytes are that name no format of pictures."""
    head = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<!doctype html", b"<html", b"<head", b"<script")):
        return "HTML"
    if b"<svg" in head:
        return "SVG"
    if head.startswith(b"<?xml"):
        return "XML"
    if head.startswith(b"%pdf"):
        return "PDF"
    if head.startswith((b"{", b"[")):
        return "JSON"
    return "text" if head.isascii() and b"\x00" not in head else "unknown bytes"
