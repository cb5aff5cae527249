"""HTTP answers as bytes, sound and unsound, for `tests.servers.raw`."""

from __future__ import annotations

OK = b"HTTP/1.1 200 OK\r\n"


def body(data: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """A sound answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(data)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + data


def redirect(location: str) -> bytes:
    return body(b"", f"Location: {location}", status="302 Found")


def chunked(raw: bytes) -> bytes:
    """raw: chunks, framed by the caller."""
    return OK + b"Transfer-Encoding: chunked\r\n\r\n" + raw
