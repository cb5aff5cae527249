"""Where a url may lead: addresses, names, redirects, TLS."""

from __future__ import annotations

from tests.hostile import pictures
from tests.hostile.answers import body, redirect
from tests.hostile.case import LATE, PLAIN, Case
from tests.servers.raw import sends

NOT_PUBLIC = "not a public address"
_LITERALS = {
    "loopback": ("a loopback address", "127.0.0.1"),
    "loopback-any": ("another loopback address", "127.8.7.6"),
    "loopback-dot": ("the same with a dot at its end", "127.0.0.1."),
    "short": ("in short", "127.1"),
    "decimal": ("as one decimal number", "2130706433"),
    "hex": ("as one hexadecimal number", "0x7f000001"),
    "hex-dotted": ("in hexadecimal and dots", "0x7f.0.0.0x1"),
    "octal": ("as one octal number", "017700000001"),
    "octal-dotted": ("in octal and dots", "0177.0.0.01"),
    "wide": ("in full-width digits", "\uff11\uff12\uff17.\uff10.\uff10.\uff11"),
    "circled": ("in circled digits", "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460"),
    "user": ("behind what looks like a host", "img.example@127.0.0.1"),
    "zero": ("this host", "0.0.0.0"),
    "zero-short": ("this host, in short", "0"),
    "private-a": ("a private network (RFC 1918)", "10.0.0.1"),
    "private-b": ("a private network (RFC 1918)", "172.16.0.1"),
    "private-c": ("a private network (RFC 1918)", "192.168.0.1"),
    "carrier": ("a carrier's network (RFC 6598)", "100.64.0.1"),
    "metadata": ("a cloud's metadata service", "169.254.169.254"),
    "assignments": ("protocol assignments (RFC 6890)", "192.0.0.8"),
    "documentation": ("documentation (RFC 5737)", "192.0.2.1"),
    "benchmarking": ("benchmarking (RFC 2544)", "198.18.0.1"),
    "multicast": ("multicast", "224.0.0.1"),
    "reserved": ("reserved", "240.0.0.1"),
    "broadcast": ("broadcast", "255.255.255.255"),
    "six-loopback": ("IPv6 loopback", "[::1]"),
    "six-loopback-long": ("the same, written out", "[0:0:0:0:0:0:0:1]"),
    "six-nothing": ("IPv6 unspecified", "[::]"),
    "six-link": ("IPv6 link-local", "[fe80::1]"),
    "six-link-zone": ("the same with a zone", "[fe80::1%25lo]"),
    "six-unique": ("IPv6 unique local", "[fd00::1]"),
    "six-site": ("IPv6 site-local", "[fec0::1]"),
    "six-multicast": ("IPv6 multicast", "[ff02::1]"),
    "six-documentation": ("IPv6 documentation", "[2001:db8::1]"),
    "six-mapped": ("IPv4-mapped", "[::ffff:127.0.0.1]"),
    "six-mapped-hex": ("IPv4-mapped, in hexadecimal", "[::ffff:7f00:1]"),
    "six-compatible": ("IPv4-compatible", "[::127.0.0.1]"),
    "six-nat64": ("behind NAT64", "[64:ff9b::7f00:1]"),
    "six-6to4": ("behind 6to4", "[2002:7f00:1::1]"),
    "six-teredo": ("behind Teredo", "[2001:0:7f00:1::1]"),
}
ADDRESSES = [
    Case("Addresses", name, f"{does}: `{host}`", "private_address", NOT_PUBLIC,
         url=f"http://{host}:{{port}}/fine", anywhere=True)
    for name, (does, host) in _LITERALS.items()
]  # fmt: skip

UNKNOWN = "name servers know no address"
RESOLVES = "resolves to an address that is not public"
_HOSTS = {
    "localhost": "`localhost`",
    "a.localhost": "a name below `localhost`",
    "inside.example": "a name that resolves to loopback",
    "inside6.example": "to IPv6 loopback",
    "mapped.example": "to an IPv4-mapped address",
    "office.example": "to a private network",
    "cloud.example": "to a cloud's metadata service",
    "many.example": "to several such addresses",
}
NAMES = [
    Case("Names", f"name-{host}", does, "private_address", RESOLVES,
         url=f"http://{host}:{{port}}/fine", anywhere=True)
    for host, does in _HOSTS.items()
] + [
    Case("Names", "rebinds", "public at the first lookup, loopback at the next (rebinding)",
         "private_address", RESOLVES, url="http://rebinds.example:{port}/hop/1/rebinds"),
    Case("Names", "percent", "`%31%32%37.0.0.1`, which is taken for a name", "no_such_host",
         UNKNOWN, url="http://%31%32%37.0.0.1:{port}/fine", anywhere=True),
    Case("Names", "unknown", "a name that does not exist", "no_such_host", UNKNOWN,
         url="http://nobody.example/", anywhere=True),
    Case("Names", "too-long", "a label of 70 characters", "no_such_host", UNKNOWN,
         url=f"http://{'a' * 70}.example/"),
    Case("Names", "unanswered-name", "name servers that say nothing", "dns",
         "name servers gave no answer", url="http://silent.example/", anywhere=True),
]  # fmt: skip


def _redirects(name: str, does: str, error: str, message: str, to: str) -> Case:
    return Case("Redirects", name, does, error, message, sends(redirect(to)))


REDIRECTS = [
    _redirects("to-file", "to `file:`", "bad_url", "redirected: scheme 'file'",
               "file:///etc/passwd"),
    _redirects("to-ftp", "to `ftp:`", "bad_url", "redirected: scheme 'ftp'", "ftp://e.org/x"),
    _redirects("to-data", "to `data:`", "bad_url", "redirected: scheme 'data'",
               "data:image/png;base64,AAAA"),
    _redirects("to-script", "to `javascript:`", "bad_url", "redirected: scheme 'javascript'",
               "javascript:alert(1)"),
    _redirects("to-gopher", "to `gopher:`", "bad_url", "redirected: scheme 'gopher'",
               "gopher://127.0.0.1:6379/_FLUSHALL"),
    _redirects("to-nonsense", "to no url", "bad_url", "redirected to what cannot be parsed",
               "http://[::1"),
    _redirects("to-port-0", "to port 0", "bad_url", "redirected: impossible port",
               "http://example.org:0/"),
    _redirects("to-no-host", "to no host: a path of the same one", "http_404", "HTTP status 404",
               "http:///x"),
    _redirects("loop", "to itself", "redirects", "more than 10", "/loop"),
    _redirects("ping", "to and fro", "redirects", "more than 10", "/pong"),
    Case("Redirects", "far", "ten times, then a picture", None, None, sends(body(pictures.jpeg())),
         f"{PLAIN}/hop/10/far"),
    Case("Redirects", "too-far", "eleven times", "redirects", "more than 10",
         sends(body(pictures.jpeg())), f"{PLAIN}/hop/11/too-far"),
    Case("Redirects", "nowhere", "without a target", "redirects", "a redirect without a target",
         sends(body(b"", status="301 Moved"))),
    Case("Redirects", "split", "a target with a line break percent-encoded", "http_404",
         "HTTP status 404", sends(redirect("/gone%0d%0aX-Injected: yes"))),
]  # fmt: skip


def _tls(name: str, does: str, error: str | None, message: str | None) -> Case:
    return Case("TLS", name, does, error, message, url=f"https://img.example:{{{name}}}/x")


REFUSED = "certificate refused"
HANDSHAKE = "handshake failed"
TLS = [
    _tls("tls", "a sound certificate", None, None),
    _tls("expired", "expired", "tls", REFUSED),
    _tls("wrong_host", "for another host", "tls", REFUSED),
    _tls("self_signed", "vouched for by nobody", "tls", REFUSED),
    _tls("old_tls", "TLS 1.0 at most", "tls", HANDSHAKE),
    _tls("plain", "plain HTTP on the port", "tls", HANDSHAKE),
    _tls("garbage_hello", "garbage in the handshake", "tls", HANDSHAKE),
    _tls("hangs_up", "hangs up in the handshake", "connect", "reset"),
    _tls("half_closed", "closes its side in the handshake", "connect", "reset"),
    _tls("unanswered", "says nothing", "timeout", LATE),
    _tls("half_hello", "half of a first message, then hangs up", "connect", "reset"),
    _tls("slow_hello", "a first message of a byte at a time", "timeout", LATE),
    Case("TLS", "tls-on-plain", "TLS on the port of plain HTTP", "connect",
         "closed without an answer", url="http://img.example:{tls}/x"),
]  # fmt: skip
