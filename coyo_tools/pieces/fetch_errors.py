"""What a request raised, as one of the failure classes."""

from __future__ import annotations

import errno
import zlib

import aiohttp

from coyo_tools.pieces import addresses
from coyo_tools.pieces.resolver import NoSuchHost
from coyo_tools.words.failures import Failure


def classify(error: Exception) -> Failure:
    """The failure class of what a request raised. Texts do not differ from run to run."""
    match error:
        case OSError(errno=errno.EMFILE | errno.ENFILE):
            return Failure("internal", "too many open files")  # here, whatever host was asked
        case aiohttp.ClientConnectorCertificateError():
            return Failure("tls", "certificate refused")
        case aiohttp.ClientSSLError() | aiohttp.ServerFingerprintMismatch():
            return Failure("tls", "handshake failed")
        case aiohttp.ClientConnectorDNSError(os_error=NoSuchHost()):
            return Failure("no_such_host", "name servers know no address")
        case aiohttp.ClientConnectorDNSError():
            return Failure("dns", "name servers gave no answer")
        case aiohttp.ClientConnectorError(os_error=addresses.PrivateAddress()):
            return Failure("private_address", "resolves to an address that is not public")
        case aiohttp.ClientConnectorError():
            return Failure("connect", _reason(error.os_error))
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return Failure("bad_url", "no request can be made of it")
        case aiohttp.ClientPayloadError():
            return _payload(error)
        case aiohttp.ClientResponseError():
            return Failure("protocol", "not a sound HTTP answer")
        case aiohttp.ServerDisconnectedError():
            return Failure("connect", "closed without an answer")
        case TimeoutError():
            return Failure("timeout", "the system gave up waiting")
        case zlib.error():
            return Failure("protocol", "compressed body is broken")
        case OSError():
            return Failure("connect", _reason(error))
        case ValueError():
            return Failure("bad_url", "no request can be made of it")
    return Failure("protocol", type(error).__name__)


def _reason(error: OSError) -> str:
    if isinstance(error, ConnectionResetError):
        return "reset"  # also where asyncio noticed it, and there is no number
    names = {
        errno.ECONNREFUSED: "refused",
        errno.ECONNRESET: "reset",
        errno.EPIPE: "reset",
        errno.EHOSTUNREACH: "host unreachable",
        errno.ENETUNREACH: "network unreachable",
        errno.ETIMEDOUT: "timed out",
    }
    return names.get(error.errno or 0, "no connection")


def _payload(error: aiohttp.ClientPayloadError) -> Failure:
    """A body that broke off, or one whose framing is wrong."""
    cause = error.__cause__
    broken = (aiohttp.http_exceptions.TransferEncodingError, aiohttp.http_exceptions.BadHttpMessage)
    if isinstance(cause, broken) and "not enough data" not in str(cause).lower():
        return Failure("protocol", "not a sound HTTP answer")
    return Failure("truncated", "fewer bytes than promised")
