"""What may come over a connection: heads, bodies, statuses."""

from __future__ import annotations

import gzip
import zlib

from tests.hostile import pictures
from tests.hostile.answers import OK, body, chunked
from tests.hostile.case import LATE, MAX_BYTES, Case
from tests.servers.raw import Behaviour, drips, resets, sends, stays_silent

PICTURE = pictures.jpeg()
BOMB = gzip.compress(bytes(50_000_000))
ENDLESS = 10**9  # pieces
UNSOUND = "not a sound HTTP answer"


def _http(name: str, does: str, error: str | None, message: str | None, how: Behaviour) -> Case:
    return Case("Connections and headers", name, does, error, message, how)


HEADERS = [
    _http("silent", "accepts, and says nothing", "timeout", LATE, stays_silent),
    Case("Connections and headers", "refused", "refuses the connection", "connect", "refused",
         url="http://img.example:1/"),
    Case("Connections and headers", "uncalled", "answers before it is asked", "http_404",
         "HTTP status 404", url="http://img.example:{uncalled}/"),
    Case("Connections and headers", "half-closed", "closes its side and goes on listening",
         "connect", "closed without an answer", url="http://img.example:{half_closed}/"),
    _http("no-answer", "hangs up without an answer", "connect", "closed without an answer",
          sends(b"")),
    _http("reset", "resets the connection", "connect", "reset", resets(b"")),
    _http("half-headers", "hangs up within the headers", "connect", "closed without an answer",
          sends(OK + b"Content-Le")),
    _http("drip-header", "a header now and then, for ever", "timeout", LATE,
          drips(OK, b"X-A: b\r\n", 0.05)),
    _http("drip-status", "a byte of the status line now and then", "timeout", LATE,
          drips(b"HTTP/1.1 200 ", b"O", 0.05)),
    _http("endless-headers", "headers without end", "protocol", UNSOUND,
          drips(OK, b"X-A: b\r\n" * 1000, 0.0)),
    _http("endless-header", "one header without end", "protocol", UNSOUND,
          drips(OK + b"X-A: ", b"b" * 10_000, 0.0)),
    _http("endless-status", "a status line without end", "protocol", UNSOUND,
          drips(b"HTTP/1.1 200 ", b"O" * 10_000, 0.0)),
    _http("many-headers", "100,000 headers", "protocol", UNSOUND,
          sends(OK + b"X-A: b\r\n" * 100_000 + b"\r\n")),
    _http("long-header", "a header of 500,000 bytes", "protocol", UNSOUND,
          sends(OK + b"X-A: " + b"b" * 500_000 + b"\r\n\r\n")),
    _http("header-nul", "a NUL in a header's name", "protocol", UNSOUND,
          sends(OK + b"X\x00Y: a\r\n\r\n")),
    _http("folded", "a header folded over two lines", None, None,
          sends(body(PICTURE, "X-A: a\r\n b"))),
    _http("garbage", "garbage", "protocol", UNSOUND, sends(b"\x00\x01\x02 what\r\n\r\n")),
    _http("http-0.9", "a picture without a head (HTTP/0.9)", "protocol", UNSOUND,
          sends(pictures.jpeg())),
    _http("ssh", "another protocol", "protocol", UNSOUND, sends(b"SSH-2.0-OpenSSH_9.2\r\n")),
    _http("status-letters", "a status of letters", "protocol", UNSOUND,
          sends(b"HTTP/1.1 abc OK\r\n\r\n")),
    _http("status-long", "a status of five digits", "protocol", UNSOUND,
          sends(b"HTTP/1.1 20000 OK\r\n\r\n")),
    _http("version", "an unknown version of HTTP", "protocol", UNSOUND,
          sends(b"HTTP/7.3 200 OK\r\n\r\n")),
    _http("one-hint", "an early hint (103), then a picture", None, None,
          sends(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + body(pictures.jpeg()))),
    _http("flood", "interim answers (100) without end", "timeout", LATE,
          drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.001)),
    _http("flood-fast", "the same, as fast as can be", "timeout", LATE,
          drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, 0.0, ENDLESS)),
    _http("switch", "another protocol agreed upon (101)", "http_other", "HTTP status 101",
          sends(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")),
]  # fmt: skip


def _body(name: str, does: str, error: str | None, message: str | None, how: Behaviour) -> Case:
    return Case("Bodies", name, does, error, message, how)


def _length(value: bytes, data: bytes = b"x") -> Behaviour:
    return sends(OK + b"Content-Length: " + value + b"\r\n\r\n" + data)


FEWER = "fewer bytes than promised"
LARGE = f"more than {MAX_BYTES:,} bytes"
GZIP, DEFLATE = "Content-Encoding: gzip", "Content-Encoding: deflate"
BODIES = [
    _body("fine", "a picture", None, None, sends(body(PICTURE))),
    _body("fine-chunked", "the same in chunks", None, None,
          sends(chunked(b"%x\r\n%s\r\n0\r\n\r\n" % (len(PICTURE), PICTURE)))),
    _body("fine-to-the-end", "the same, ended by hanging up", None, None,
          sends(OK + b"\r\n" + PICTURE)),
    _body("fine-gzip", "the same, compressed unasked", None, None,
          sends(body(gzip.compress(PICTURE), GZIP))),
    _body("fine-deflate", "the same, deflated", None, None,
          sends(body(zlib.compress(PICTURE), DEFLATE))),
    _body("drip-body", "a byte now and then", "timeout", LATE,
          drips(OK + b"Content-Length: 90000\r\n\r\n", b"x", 0.05)),
    _body("drip-chunks", "a chunk of a byte now and then", "timeout", LATE,
          drips(chunked(b""), b"1\r\nx\r\n", 0.05)),
    _body("drip-extension", "a chunk's head without end", "timeout", LATE,
          drips(chunked(b"1;"), b"a" * 10_000, 0.0, ENDLESS)),
    _body("drip-trailers", "trailers after the last chunk without end", "protocol", UNSOUND,
          drips(chunked(b"1\r\nx\r\n0\r\n"), b"X-A: b\r\n" * 1000, 0.0)),
    _body("length-letters", "a length of letters", "protocol", UNSOUND, _length(b"many")),
    _body("length-negative", "a negative length", "protocol", UNSOUND, _length(b"-5")),
    _body("length-huge", "a length of 40 digits", "protocol", UNSOUND, _length(b"9" * 40)),
    _body("length-twice", "two lengths", "protocol", UNSOUND,
          sends(OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx")),
    _body("length-and-chunks", "a length and chunks", "protocol", UNSOUND,
          sends(OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
    _body("length-more", "a length of more than comes", "truncated", FEWER,
          _length(b"100", b"short")),
    _body("length-less", "a length of less than comes with it", "protocol", UNSOUND,
          _length(str(len(PICTURE)).encode(), PICTURE + b"more")),
    _body("promises-much", "a length above the limit", "too_large", LARGE,
          _length(b"99999999999")),
    _body("bad-chunk", "a chunk's size of letters", "protocol", UNSOUND,
          sends(chunked(b"zz\r\nx\r\n0\r\n\r\n"))),
    _body("overlong-chunk", "a chunk longer than it says", "protocol", UNSOUND,
          sends(chunked(b"1\r\nxyz\r\n0\r\n\r\n"))),
    _body("vast-chunk", "a chunk of 2^64 bytes", "protocol", UNSOUND,
          sends(chunked(b"1" + b"0" * 16 + b"\r\nx"))),
    _body("short-chunks", "hangs up within a chunk", "truncated", FEWER,
          sends(chunked(b"7\r\npict"))),
    _body("no-last-chunk", "hangs up before the last chunk", "truncated", FEWER,
          sends(chunked(b"7\r\npicture\r\n"))),
    _body("reset-in-body", "resets the connection within the body", "truncated", FEWER,
          resets(OK + b"Content-Length: 90000\r\n\r\nxxx")),
    _body("endless", "bytes without end", "too_large", LARGE,
          drips(OK + b"\r\n", b"x" * 50_000, 0.0)),
    _body("endless-chunks", "chunks without end", "too_large", LARGE,
          drips(chunked(b""), b"c350\r\n" + b"x" * 50_000 + b"\r\n", 0.0)),
    _body("gzip-bomb", "50 MB in 50 KB of gzip", "too_large", f"{LARGE}, decompressed",
          sends(body(BOMB, GZIP))),
    _body("deflate-bomb", "the same, deflated", "too_large", f"{LARGE}, decompressed",
          sends(body(zlib.compress(bytes(50_000_000)), DEFLATE))),
    _body("raw-deflate-bomb", "the same without a head", "too_large", f"{LARGE}, decompressed",
          sends(body(zlib.compress(bytes(50_000_000))[2:-4], DEFLATE))),
    _body("nested-bomb", "a bomb within a bomb, named twice", "protocol",
          "content encoding 'gzip, gzip' was not asked for",
          sends(body(gzip.compress(BOMB), "Content-Encoding: gzip, gzip"))),
    _body("nested-quietly", "a bomb within a bomb, named once: undone once", "not_an_image",
          "begins like unknown bytes", sends(body(gzip.compress(BOMB), GZIP))),
    _body("brotli", "an encoding not asked for", "protocol",
          "content encoding 'br' was not asked for", sends(body(b"x", "Content-Encoding: br"))),
    _body("gzip-broken", "no gzip", "protocol", "compressed body is broken",
          sends(body(b"not compressed", GZIP))),
    _body("gzip-short", "gzip that ends early", "truncated", "compressed body ends early",
          sends(body(gzip.compress(PICTURE)[:-9], GZIP))),
    _body("gzip-empty", "gzip of nothing", "empty", "empty", sends(body(gzip.compress(b""), GZIP))),
    _body("empty", "nothing", "empty", "empty", sends(body(b""))),
    _body("no-content", "a body where there is none (204)", "protocol", UNSOUND,
          sends(body(PICTURE, status="204 No Content"))),
    _body("not-modified", "a body where there is none (304)", "protocol", UNSOUND,
          sends(body(PICTURE, status="304 Not Modified"))),
    _body("204", "none, as it should be (204)", "http_other", "HTTP status 204",
          sends(b"HTTP/1.1 204 No Content\r\n\r\n")),
    _body("304", "none, as it should be (304)", "http_other", "HTTP status 304",
          sends(b"HTTP/1.1 304 Not Modified\r\n\r\n")),
    _body("partial", "a part that nobody asked for (206)", "http_other", "HTTP status 206",
          sends(body(PICTURE[:99], status="206 Partial Content"))),
    _body("error-cut", "404, its page cut off", "http_404", "HTTP status 404",
          sends(b"HTTP/1.1 404 Gone\r\nContent-Length: 50\r\n\r\ncut")),
    _body("error-drip", "404, its page a byte at a time", "http_404", "HTTP status 404",
          drips(b"HTTP/1.1 404 Gone\r\nContent-Length: 5000\r\n\r\n", b"x", 0.05)),
    _body("error-endless", "503, its page without end", "http_5xx", "HTTP status 503",
          drips(b"HTTP/1.1 503 Busy\r\n\r\n", b"x" * 50_000, 0.0)),
]  # fmt: skip


def _status(status: str, error: str, *headers: str) -> Case:
    number = status[:3]
    return Case("Statuses", number, status, error, f"HTTP status {number}",
                sends(body(PICTURE, *headers, status=status)))  # fmt: skip


def _opt_out(name: str, error: str | None, *values: str) -> Case:
    said = " and ".join(f"`X-Robots-Tag: {value}`" for value in values)
    message = f"X-Robots-Tag: {values[-1]}" if error else None
    headers = [f"X-Robots-Tag: {value}" for value in values]
    return Case("Statuses", name, said, error, message, sends(body(PICTURE, *headers)))


STATUSES = [
    _status("400 Bad Request", "http_4xx"),
    _status("401 Unauthorized", "http_401"),
    _status("403 Forbidden", "http_403"),
    _status("404 Not Found", "http_404"),
    _status("410 Gone", "http_410"),
    _status("429 Too Many Requests", "http_429"),
    _status("451 Unavailable For Legal Reasons", "http_4xx"),
    _status("500 Internal Server Error", "http_5xx"),
    _status("503 Service Unavailable", "http_5xx", "Retry-After: 9999999"),
    _status("999 Go away", "http_other"),
    _opt_out("no-ai", "opt_out", "noai"),
    _opt_out("no-ai-twice", "opt_out", "nofollow", "noimageai"),
    _opt_out("no-ai-other", None, "otherbot: noai"),
]
