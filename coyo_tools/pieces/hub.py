"""The Hugging Face hub, or a mirror of it: revisions pinned, refusals told in a sentence.

`huggingface_hub` does the talking, because it honours HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from coyo_tools.words.errors import SourceError, SourceNotFound

SCHEME = "hf://"
_DATASETS = "hf://datasets/"


def pin(url: str) -> tuple[str, str]:
    """The same url at the commit its revision stands for now, and that commit.

    url: `hf://datasets/OWNER/NAME[@REVISION][/PATH]`. Raises SourceNotFound, SourceError.
    """
    from huggingface_hub import HfApi

    if not url.startswith(_DATASETS) or url.count("/") < 4:
        raise SourceError(
            "is no dataset of the hub", where=url, todo="write hf://datasets/OWNER/NAME[@REVISION]"
        )
    owner, name, *rest = url.removeprefix(_DATASETS).split("/")
    name, _, revision = name.partition("@")
    with hub_errors(url):
        # A branch such as refs/convert/parquet is written with %2F on the hub.
        info = HfApi().dataset_info(
            f"{owner}/{name}", revision=revision.replace("%2F", "/") or None
        )
    pinned = "/".join([f"{_DATASETS}{owner}", f"{name}@{info.sha}", *rest])
    return pinned, str(info.sha)


@contextlib.contextmanager
def hub_errors(where: str) -> Iterator[None]:
    """Turn what the hub, or the way to it, answers into one sentence."""
    from huggingface_hub import constants, errors

    try:
        yield
    except errors.RevisionNotFoundError as error:
        raise SourceNotFound("has no such revision", where=where) from error
    except (OSError, errors.HfHubHTTPError.__bases__[0]) as error:  # type: ignore[misc]  # see below
        # huggingface_hub has changed its HTTP client twice; its own error derives from theirs.
        if _is_hidden(error):
            raise SourceNotFound(
                f"{constants.ENDPOINT} has no such dataset, or does not show it to you",
                where=where,
                todo="check the name; for a private or gated one set HF_TOKEN",
            ) from error
        raise SourceError(
            f"{constants.ENDPOINT} cannot be reached or refuses ({_brief(error)})",
            where=where,
            todo="try later, or set HF_ENDPOINT to a mirror, or name a local folder",
        ) from error


def _is_hidden(error: BaseException) -> bool:
    """The hub answers 401 for a name that does not exist as for one that is private."""
    from huggingface_hub.errors import RepositoryNotFoundError

    response = getattr(error, "response", None)
    refused = getattr(response, "status_code", None) in (401, 403)
    return refused or isinstance(error, RepositoryNotFoundError)


def _brief(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:160]
