"""What may come as a picture."""

from __future__ import annotations

import base64

from tests.hostile import pictures
from tests.hostile.answers import body
from tests.hostile.case import PLAIN, Case
from tests.hostile.talk import PICTURE
from tests.servers.raw import sends


def _picture(
    name: str, does: str, error: str | None, message: str | None, data: bytes, *headers: str
) -> Case:
    return Case("Pictures", name, does, error, message, sends(body(data, *headers)))


_JPEG_TYPE = "Content-Type: image/jpeg"
_PATHS = 'Content-Disposition: attachment; filename="../../../../etc/passwd"'
MALICIOUS_GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAP//")
PICTURES = [
    _picture("html", "a web page as `image/jpeg`", "not_an_image", "begins like HTML",
             pictures.HTML, _JPEG_TYPE),
    _picture("svg", "SVG", "not_an_image", "begins like SVG", pictures.SVG,
             "Content-Type: image/svg+xml"),
    _picture("svg-bomb", "SVG with entities", "not_an_image", "begins like SVG",
             pictures.SVG_BOMB, _JPEG_TYPE),
    _picture("pdf", "PDF", "not_an_image", "begins like PDF", b"%PDF-1.7\n" + bytes(99)),
    _picture("json", "JSON", "not_an_image", "begins like JSON", b'{"error": "gone"}', _JPEG_TYPE),
    _picture("postscript", "PostScript, which Pillow would hand to Ghostscript", "not_an_image",
             "begins like text", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
    _picture("noise", "noise", "not_an_image", "begins like unknown bytes", b"\x9f\0\xee" * 99),
    _picture("psd", "a format that is not on the list", "unsupported_format", "psd",
             b"8BPS\0\x01" + bytes(99)),
    _picture("avif", "another", "unsupported_format", "avif", b"\0\0\0\x1cftypavif" + bytes(99)),
    _picture("as-html", "a picture as `text/html`", None, None, PICTURE, "Content-Type: text/html"),
    _picture("path-in-header", "a file name with `../` in the headers: not used", None, None,
             PICTURE, _PATHS),
    Case("Pictures", "path-in-url", "`../` in the url: not used", None, None,
         sends(body(PICTURE)), f"{PLAIN}/a/..%2F..%2F..%2Fetc%2Fpasswd"),
    Case("Pictures", "nul-in-url", "a NUL in the url: not used", None, None,
         sends(body(PICTURE)), f"{PLAIN}/a%00.jpg"),
    _picture("script", "a script that begins as a GIF", "corrupt_image", None,
             pictures.polyglot_script()),
    _picture("zip", "a JPEG with an archive behind it: pixels alone are stored", None, None,
             pictures.polyglot_zip()),
    _picture("comment", "a PNG with a web page as comment: pixels alone are stored", None, None,
             pictures.polyglot_comment()),
    _picture("vast-png", "PNG that says 60,000 x 60,000", "too_many_pixels", "60000 x 60000",
             pictures.vast_png()),
    _picture("vast-jpeg", "JPEG that says 65,000 x 65,000", "too_many_pixels", "65000 x 65000",
             pictures.vast_jpeg()),
    _picture("vast-webp", "WebP that says 16,384 x 16,384", "too_many_pixels",
             "more than Pillow decodes",
             pictures.vast_webp()),
    _picture("vast-gif", "GIF that says 65,535 x 65,535", "too_many_pixels", "65535 x 65535",
             pictures.vast_gif()),
    _picture("vast-tiff", "TIFF that says 100,000 x 100,000", "too_many_pixels", "100000 x 100000",
             pictures.vast_tiff()),
    _picture("vast-bmp", "BMP that says 100,000 x 100,000", "too_many_pixels", "100000 x 100000",
             pictures.vast_bmp()),
    _picture("pixel-bomb", "a small PNG with 50 MB of pixels", None, None, pictures.pixel_bomb()),
    _picture("text-bomb", "a PNG with a text of 50 MB", "corrupt_image", None,
             pictures.text_bomb()),
    _picture("profile-bomb", "a PNG with an ICC profile of 50 MB", "corrupt_image", None,
             pictures.profile_bomb()),
    _picture("profile-broken", "a JPEG with a broken ICC profile: left alone", None, None,
             pictures.broken_profile()),
    _picture("exif-count", "EXIF of four billion values: left alone", None, None,
             pictures.exif_that_counts_high()),
    _picture("exif-loop", "EXIF whose directories lead in circles: left alone", None, None,
             pictures.exif_that_loops()),
    _picture("scan-bomb", "a progressive JPEG of 2,000 scans", "corrupt_image",
             "jpeg: too many scans for its size", pictures.scan_bomb()),
    _picture("cut-jpeg", "a JPEG cut off", "corrupt_image", None, PICTURE[: len(PICTURE) // 2]),
    _picture("cut-png", "a PNG cut off", "corrupt_image", None, pictures.saved("PNG")[:70]),
    _picture("head-alone", "eight bytes of a PNG", "corrupt_image", None,
             pictures.saved("PNG")[:8]),
    _picture("gif-no-pixels", "a GIF without pixels", "corrupt_image", None, MALICIOUS_GIF),
    _picture("moving-gif", "an animated GIF: its first frame", None, None,
             pictures.animated("GIF")),
    _picture("moving-webp", "an animated WebP: its first frame", None, None,
             pictures.animated("WEBP")),
    _picture("moving-png", "an animated PNG: its first frame", None, None,
             pictures.animated("PNG")),
    Case("Pictures", "crash", "a picture on which the decoder crashes", "decoder_crashed",
         "exit -11", sends(body(PICTURE + b"crash me")), crashes=True),
    Case("Pictures", "hang", "a picture on which the decoder does not end", "decoder_crashed",
         "does not end", sends(body(PICTURE + b"keep me")), crashes=True),
]  # fmt: skip
