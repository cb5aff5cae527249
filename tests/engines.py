"""What servers do, and the class that each engine of `coyo download` records.

docs/img2dataset.md shows it; tests/stages/test_img2dataset_engine.py tries it.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.hostile.answers import OK, body, redirect
from tests.servers.pictures import picture
from tests.servers.raw import Behaviour, drips, sends

PICTURE = picture(1)


class Line(NamedTuple):
    """path: where the server does so; a url of its own where there is no behaviour. coyo,
    img2dataset: the class, None for a success."""

    path: str
    does: str
    behave: Behaviour | None
    coyo: str | None
    img2dataset: str | None


LINES = [
    Line("/fine", "a picture", sends(body(PICTURE)), None, None),
    Line("/moved", "a redirect to it", sends(redirect("/fine")), None, None),
    Line("/404", "404", sends(body(b"", status="404 Not Found")), "http_404", "http_404"),
    Line("/410", "410", sends(body(b"", status="410 Gone")), "http_410", "http_410"),
    Line("/503", "503", sends(body(b"", status="503 Busy")), "http_5xx", "http_5xx"),
    Line("/204", "204", sends(OK.replace(b"200 OK", b"204 None") + b"\r\n"), "http_other", "empty"),
    Line("/loop", "a redirect to itself", sends(redirect("/loop")), "redirects", "redirects"),
    Line("/no-ai", "`X-Robots-Tag: noai`", sends(body(PICTURE, "X-Robots-Tag: noai")),
         "opt_out", "opt_out"),
    Line("/silent", "no answer", drips(b"", b"", 9.0), "timeout", "timeout"),
    Line("/short", "fewer bytes than promised",
         sends(OK + b"Content-Length: 100\r\n\r\nshort"), "truncated", "truncated"),
    Line("/garbage", "no HTTP", sends(b"\x00\x01 what\r\n\r\n"), "protocol", "protocol"),
    Line("/hangs-up", "hangs up", sends(b""), "connect", "connect"),
    Line("/empty", "no bytes", sends(body(b"")), "empty", "empty"),
    Line("/html", "a web page", sends(body(b"<html></html>")), "not_an_image", "not_an_image"),
    Line("/vast", "more pixels than --max-pixels", sends(body(picture(1, (400, 300)))),
         "too_many_pixels", "too_many_pixels"),
    Line("file:///etc/hostname", "`file:` for a url", None, "bad_url", "bad_url"),
    Line("ftp://example.org/a.jpg", "`ftp:` for a url", None, "bad_url", "bad_url"),
    Line("/cut", "a JPEG cut off", sends(body(PICTURE[:-300])),
         "corrupt_image", "not_an_image"),
    Line("/drip", "a byte now and then, longer than --timeout",
         drips(OK + b"\r\n" + PICTURE, b"x", 0.1, 60), "timeout", None),
    Line("/psd", "a format that is not decoded", sends(body(b"8BPS\0\x01" + bytes(99))),
         "unsupported_format", "not_an_image"),
]  # fmt: skip
