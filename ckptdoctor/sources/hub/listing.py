"""What lies in a model at one commit: two requests, the second in pages."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ..base import Stat
from ..local import MAX_DEPTH, SKIPPED
from .names import HubName

_Answer = TypeVar("_Answer")
_TRIES = 5
_TIMEOUT = 20.0
"""Seconds until a server that does not answer is given up on."""
_MAX_FILES = 200_000


class HubError(OSError):
    """The Hub did not give what was asked for; the message is for the user."""


class Listing(NamedTuple):
    """One commit of a model."""

    repo: str
    """Its name now: one that was renamed answers under the new one."""
    commit: str
    entries: dict[str, Stat]


def listing(name: HubName, endpoint: str | None = None) -> Listing:
    """Ask which commit ``name`` means and what lies in it. Raises HubError."""
    api = HfApi(endpoint=endpoint)
    where = endpoint or constants.ENDPOINT
    info = _asked(lambda: api.model_info(name.repo, revision=name.revision, timeout=_TIMEOUT), name, where)
    if info.sha is None:
        raise HubError(f"{name.repo}: {where} names no commit of it")
    commit: str = info.sha
    entries = _asked(lambda: _entries(api, info.id, commit), name, where)
    return Listing(info.id, commit, dict(sorted(entries.items())))


def _entries(api: HfApi, repo: str, commit: str) -> dict[str, Stat]:
    """Return the files of a commit that a checkpoint in a directory would have too."""
    entries: dict[str, Stat] = {}
    for item in api.list_repo_tree(repo, revision=commit, recursive=True):
        size, path = getattr(item, "size", None), item.path
        parts = path.split("/")
        if not isinstance(size, int) or len(parts) > MAX_DEPTH or not _within(parts):
            continue
        if len(entries) >= _MAX_FILES:
            raise HubError(f"{repo}: more than {_MAX_FILES:,} files, which is no checkpoint")
        lfs = getattr(item, "lfs", None)
        entries[path] = Stat(size) if lfs is None else Stat(lfs.size, "here", lfs.sha256)
    return entries


def _within(parts: list[str]) -> bool:
    return not any(part in ("", ".", "..") for part in parts) and not SKIPPED.intersection(parts[:-1])


def _asked(ask: Callable[[], _Answer], name: HubName, where: str) -> _Answer:
    """Return the answer of the Hub; what may pass is asked again, everything else is a HubError."""
    for attempt in range(_TRIES):
        try:
            return ask()
        except HubError:
            raise
        except Exception as error:  # its HTTP library is huggingface_hub's own choice, and so are its errors
            if not _passing(error) or attempt == _TRIES - 1:
                raise HubError(said(error, name, where)) from error
        time.sleep(0.25 * 2**attempt)
    raise AssertionError("unreachable")


def _passing(error: Exception) -> bool:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status in (429, 500, 502, 503, 504) or type(error).__name__ in (
        "ConnectTimeout", "ReadTimeout", "ReadError", "RemoteProtocolError",
    )  # fmt: skip


def said(error: Exception, name: HubName, where: str) -> str:
    """Return in one line what went wrong and what to do, without a word of server or request: no token in it."""
    repo = name.repo
    if isinstance(error, OfflineModeIsEnabled):
        return f"{repo}: HF_HUB_OFFLINE is set. Unset it, or check a directory ({constants.HF_HUB_CACHE} has some)"
    if isinstance(error, GatedRepoError):
        return f"{repo} is gated: accept its terms at {where}/{repo}, then `hf auth login` (or set HF_TOKEN)"
    if isinstance(error, RevisionNotFoundError):
        return f"{repo} has no revision {name.revision!r}; {where}/{repo}/tree/main shows which there are"
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"{repo}: no such directory here and no such model on {where}, "
            "or it is private: `hf auth login` (or set HF_TOKEN)"
        )
    if isinstance(error, HfHubHTTPError):
        return (
            f"{repo}: {where} answers {_MEANING.get(error.response.status_code, error.response.status_code)}"
        )
    return f"{repo}: {where} cannot be reached ({type(error).__name__})"


_MEANING = {
    401: "401: the token is not valid; `hf auth login` makes a new one",
    403: "403: the token may not read it; it needs the right to read this repository",
    404: "404: there is no such thing",
    429: "429, too many requests: wait some minutes, or log in (`hf auth login`), which has a larger allowance",
}
