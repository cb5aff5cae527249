"""Settings of `download` and of a census; see `coyo_tools.words.config`."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from coyo_tools.words.errors import SettingsError
from coyo_tools.words.options import check_ranges, documented, option, schema_option

_QUALITY, _EFFORT = 95, 6  # defaults of JPEG and WebP, and of PNG


def _check_header(flag: str, text: str | None) -> None:
    """Raise SettingsError where a text cannot be part of a request's header."""
    if text is not None and not (text.strip() and text.isascii() and text.isprintable()):
        raise SettingsError(f"{text!r} is not of printable ASCII characters", where=flag)


def _check_server(text: str) -> None:
    """Raise SettingsError where a text is no address, with or without a port."""
    import ipaddress

    with contextlib.suppress(ValueError):
        ipaddress.ip_address(text)
        return
    address, _, port = text.rpartition(":")
    with contextlib.suppress(ValueError):
        if address.startswith("[") and address.endswith("]"):
            ipaddress.IPv6Address(address[1:-1])
        else:
            ipaddress.IPv4Address(address)
        if port.isascii() and port.isdigit() and 0 < int(port) < 65536:
            return
    what = f"{text!r} is no address or ADDRESS:PORT, with a port from 1 to 65535"
    raise SettingsError(what, where="--name-server")


@documented
@dataclass(frozen=True)
class DownloadSettings:
    """How `download` fetches, resizes and packs. Sizes in px or bytes, times in seconds."""

    image_size: int = option(384, "Target size, px.", minimum=1)
    resize: str = option(
        "keep_ratio",
        "keep_ratio: the shorter side becomes --image-size; keep_ratio_largest: the longer; "
        "center_crop and border: square; no: as fetched.",
        choices=("keep_ratio", "keep_ratio_largest", "center_crop", "border", "no"),
    )
    only_shrink: bool = option(
        True,
        "Leave pictures that are smaller than the target as they are.",
        negative_flag="--always-resize",
    )
    interpolation: str = option(
        "area",
        "How pixels are averaged when shrinking.",
        choices=("area", "nearest", "linear", "cubic", "lanczos"),
    )
    format: str = option("jpg", "Format of the stored pictures.", choices=("jpg", "png", "webp"))
    quality: int = option(
        _QUALITY,
        "JPEG and WebP quality; for PNG the effort, 0 to 9, by default 6.",
        minimum=0,
        maximum=100,
    )
    keep_original_bytes: bool = option(
        False, "Store the fetched bytes untouched where no resize is needed."
    )
    samples_per_shard: int = option(10_000, "Rows a shard.", minimum=1)
    timeout_s: float = option(
        10.0,
        "Deadline of a whole request, redirects and body included.",
        flag="--timeout",
        minimum=0.1,
        metavar="SECONDS",
        affects_result=False,
    )
    retries: int = option(
        1,
        "Further tries of a row whose failure may pass; four times as many after 429 and 503.",
        minimum=0,
        affects_result=False,
    )
    max_bytes: int = option(50_000_000, "Largest answer that is read.", minimum=1)
    max_pixels: int = option(
        100_000_000, "Largest picture that is decoded, from its header, or enlarged to.", minimum=1
    )
    user_agent: str | None = option(
        None,
        "User-Agent sent; the default names this tool and its version.",
        metavar="TEXT",
        affects_result=False,
    )
    contact: str | None = option(
        None,
        "Where those whose servers are asked can reach you: a page or an e-mail address, told in "
        "the User-Agent.",
        metavar="URL",
        affects_result=False,
    )
    honor_opt_out: bool = option(
        True,
        "Record, but do not store, pictures whose X-Robots-Tag says noai, noimageai, noindex "
        "or noimageindex.",
        negative_flag="--ignore-opt-out",
    )
    robots: bool = option(False, "Obey each host's robots.txt.", negative_flag="--no-robots")
    allow_private_addresses: bool = option(
        False, "Also fetch from private, loopback and link-local addresses (a local mirror)."
    )
    block_list: str | None = option(
        None,
        "A file of hosts, urls and sha256 or image_phash values, one a line, never to be stored.",
        metavar="FILE",
    )
    verify_phash: bool = option(
        False,
        "Hash each fetched original: adds image_phash_now, phash_distance and drift "
        "(same, drifted, replaced), and at the end marks placeholders beside the shards.",
    )
    schema: str = schema_option()
    processes: int | None = option(
        None, "Worker processes; default one a core.", minimum=1, affects_result=False
    )
    connections: int = option(
        128, "Connections a process keeps busy.", minimum=1, affects_result=False
    )
    per_host: int = option(
        32,
        "Connections to one host, of all processes together; at least one of each.",
        minimum=1,
        affects_result=False,
    )
    per_host_rate: float | None = option(
        None,
        "Requests a second to one host, of all processes together; 0: no limit. Default 20, and no "
        "limit for hosts spelled as private addresses (a local mirror).",
        minimum=0,
        metavar="R",
        affects_result=False,
    )
    network_wait_s: float = option(
        3600.0,
        "How long an outage of the network here is waited for, before the run ends and can be "
        "continued; 0: not at all, rows then fail as if their hosts were gone.",
        flag="--network-wait",
        minimum=0,
        metavar="SECONDS",
        affects_result=False,
    )
    engine: str = option(
        "coyo",
        "What fetches and resizes: this tool, or img2dataset (extra [img2dataset]) in processes of "
        "its own; it checks no address.",
        choices=("coyo", "img2dataset"),
    )
    name_servers: tuple[str, ...] = option(
        (),
        "DNS server to ask, an address or ADDRESS:PORT; repeatable. Default the system's.",
        flag="--name-server",
        multiple=True,
        metavar="ADDRESS",
        affects_result=False,
    )

    def __post_init__(self) -> None:
        check_ranges(self)
        _check_header("--user-agent", self.user_agent)
        _check_header("--contact", self.contact)
        for each in self.name_servers:
            _check_server(each)
        if self.format == "png" and self.quality > 9:
            if self.quality != _QUALITY:
                what = f"{self.quality} is above 9, the largest effort of PNG"
                raise SettingsError(what, where="--quality")
            object.__setattr__(self, "quality", _EFFORT)


@documented
@dataclass(frozen=True)
class CensusSettings:
    """How many urls `census` asks, and which."""

    urls: int = option(
        10_000,
        "Ask N urls of SUBSET, drawn at random, and say what fetching all of them would come to; "
        "no shards.",
        flag="--census",
        minimum=1,
        metavar="N",
    )
    seed: int = option(
        0, "Of --census: another seed draws other urls.", flag="--census-seed", minimum=0
    )

    def __post_init__(self) -> None:
        check_ranges(self)
