"""What `--engine img2dataset` is asked for, what it cannot do, and what its texts mean.

img2dataset tells of a failure by the text of whatever was raised; `failure_of` finds the class.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from coyo_tools.words.config import DownloadSettings, options_of
from coyo_tools.words.errors import MissingExtra, SettingsError
from coyo_tools.words.failures import FAILED_TO_DOWNLOAD, Failure, error_of_status

SHARD, ROW = "shard", "row"  # columns that lead from its rows back to ours
_MESSAGE_CHARACTERS = 200

# Settings that are handed over or kept by this side. Each other one may have its default only;
# what the defaults promise, and img2dataset does not keep, is in docs/img2dataset.md.
_WITH = frozenset(
    (
        "image_size", "resize", "only_shrink", "interpolation", "format", "quality",
        "keep_original_bytes", "samples_per_shard", "timeout_s", "retries", "max_pixels",
        "honor_opt_out", "allow_private_addresses", "schema", "processes", "connections", "engine",
    )
)  # fmt: skip

# Words of its texts, and the class; the first that fits decides.
_TEXTS: tuple[tuple[str, str], ...] = (
    (r"infinite loop|redirect error", "redirects"),
    (r"X-Robots-Tag", "opt_out"),
    (r"timed out", "timeout"),
    (r"Name or service not known|nodename nor servname|No address associated", "no_such_host"),
    (r"name resolution|getaddrinfo|label (empty|too long)", "dns"),
    (r"IncompleteRead", "truncated"),
    (r"unknown url type|no host given|nonnumeric port|control characters", "bad_url"),
    (r"\bSSL|CERTIFICATE|\bTLS", "tls"),
    (r"refused|reset by peer|unreachable|No route|Remote end closed|Broken pipe", "connect"),
    (r"buf\.empty\(\)|empty\(\)", "empty"),
    (r"Image decoding error", "not_an_image"),
    (r"image area too large|CV_IO_MAX_IMAGE_PIXELS|validateInputImageSize", "too_many_pixels"),
)


def check(settings: DownloadSettings) -> None:
    """Raise where img2dataset cannot do what is asked. Raises MissingExtra, SettingsError."""
    from importlib.util import find_spec

    where = "--engine img2dataset"
    if find_spec("img2dataset") is None:
        raise MissingExtra.of("img2dataset", where)
    for name, default in without().items():
        if getattr(settings, name) != default:
            what = f"has no counterpart of {flag_of(name)}"
            raise SettingsError(what, where=where, todo="leave out one of them")
    if not settings.allow_private_addresses:
        raise SettingsError(
            "cannot keep urls and redirects from private addresses",
            where=where,
            todo="add --allow-private-addresses where nothing private is in this machine's reach, "
            "or use --engine coyo",
        )


def without() -> dict[str, Any]:
    """Settings that it has no counterpart for, and their defaults."""
    fields = dataclasses.fields(DownloadSettings)
    return {field.name: field.default for field in fields if field.name not in _WITH}


def flag_of(name: str) -> str:
    """The option of a setting."""
    return options_of(DownloadSettings)[name].flag or f"--{name.replace('_', '-')}"


def arguments(settings: DownloadSettings, rows: str, out: str, processes: int) -> dict[str, Any]:
    """Keywords of `img2dataset.download`. rows: folder of parquet; out: folder to write."""
    return {
        "url_list": rows,
        "input_format": "parquet",
        "output_folder": out,
        "output_format": "parquet",
        "save_additional_columns": [SHARD, ROW],
        "number_sample_per_shard": max(2, settings.samples_per_shard),
        "processes_count": processes,
        "thread_count": settings.connections,
        "image_size": settings.image_size,
        "resize_mode": settings.resize,
        "resize_only_if_bigger": settings.only_shrink,
        "downscale_interpolation": settings.interpolation,
        "encode_format": settings.format,
        "encode_quality": settings.quality,
        "skip_reencode": settings.keep_original_bytes,
        "timeout": settings.timeout_s,
        "retries": settings.retries,
        "max_image_area": settings.max_pixels,
        "disallowed_header_directives": None if settings.honor_opt_out else [],
        "extract_exif": False,
        "enable_wandb": False,
    }


def failure_of(row: Mapping[str, Any]) -> Failure:
    """The class of a row that img2dataset gave up; its text is the message."""
    text = " ".join(str(row["error_message"] or "").split())[:_MESSAGE_CHARACTERS]
    for words, error in _TEXTS:
        if re.search(words, text):
            return Failure(error, text)
    status = re.match(r"HTTP Error (\d{3})\b", text)
    if status:
        return Failure(error_of_status(int(status[1])), text)
    came = row["status"] != FAILED_TO_DOWNLOAD
    return Failure("corrupt_image" if came else "protocol", text)
