"""Which internet addresses are public, so that a url from the web cannot reach inside.

The check is made on the address a socket is about to connect to (`guarded_socket`), at every
redirect, not on a name that may resolve differently a moment later.
"""

from __future__ import annotations

import errno
import functools
import ipaddress
import socket
from typing import Any

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")  # RFC 8215
_COMPATIBLE = ipaddress.IPv6Network("::/96")  # IPv4-compatible, RFC 4291, deprecated
_SITE_LOCAL = ipaddress.IPv6Network("fec0::/10")  # RFC 3879, deprecated
_DOCUMENTATION = ipaddress.IPv6Network("3fff::/20")  # RFC 9637; not known to every Python
# Whole, although IANA's registry lets two addresses of the first be public: no picture is there.
_RESERVED_V4 = (
    ipaddress.IPv4Network("192.0.0.0/24"),  # protocol assignments, RFC 6890
    ipaddress.IPv4Network("192.88.99.0/24"),  # relays to 6to4, RFC 7526, deprecated
)


class PrivateAddress(OSError):
    """A connection to an address that is not public was about to be made."""

    def __init__(self) -> None:
        # One text for all, so that several addresses of one host are told as this error.
        super().__init__(errno.EACCES, "not a public address")


def is_public(text: str) -> bool:
    """Whether an address in its usual form is globally reachable; False for what is none.

    An IPv6 address that carries an IPv4 one (mapped, compatible, 6to4, NAT64, Teredo) is public
    only where that one is.
    """
    try:
        address = ipaddress.ip_address(text.split("%", 1)[0])
    except ValueError:
        return False
    return _is_global(address) and all(_is_global(inner) for inner in _carried(address))


def _is_global(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return True  # what it carries decides
        if address.ipv4_mapped is not None:
            return True
        refused = (_SITE_LOCAL, _NAT64_LOCAL, _COMPATIBLE, _DOCUMENTATION)
        if any(address in network for network in refused):
            return False
    elif any(address in network for network in _RESERVED_V4):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _carried(address: Address) -> list[ipaddress.IPv4Address]:
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [inner for inner in found if inner is not None]


@functools.lru_cache(1 << 12)
def literal(host: str) -> str | None:
    """The address a host spells, also as 2130706433, 0x7f.1 or 0177.0.0.1; None for a name."""
    bare = host.strip("[]").rstrip(".")
    try:
        return str(ipaddress.ip_address(bare.split("%", 1)[0]))
    except ValueError:
        pass
    if not bare or not bare.rsplit(".", 1)[-1][:1].isdigit():
        return None
    try:
        return socket.inet_ntoa(socket.inet_aton(bare))
    except OSError:
        return None


def in_ascii(host: str) -> str:
    """A host's name as name servers know it: lower case, IDNA, no dot at its end. What cannot be
    written so is left as it is."""
    name = host.rstrip(".").lower()
    if name.isascii():
        return name
    from yarl import URL

    try:
        return URL.build(scheme="http", host=name).raw_host or name
    except (ValueError, UnicodeError):
        return name


def guarded_socket(info: Any) -> socket.socket:
    """A socket for getaddrinfo's answer. Raises PrivateAddress where that is not public."""
    family, kind, protocol, _, address = info
    if not is_public(str(address[0])):
        raise PrivateAddress
    return socket.socket(family, kind, protocol)
