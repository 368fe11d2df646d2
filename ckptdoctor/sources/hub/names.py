"""Which texts name a model on the Hub. What could be a path of this machine never does: a slip of the keyboard is not
sent anywhere."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_ID = re.compile(rf"({_PART}(?:/{_PART})?)(?:@([^@\s]+))?")
_URL = re.compile(r"https?://([^/]+)/([^/@]+/[^/@]+?)(?:/tree/([^/?#]+(?:/[^/?#]+)*))?/?")
_HOSTS = ("huggingface.co", "hf.co", "www.huggingface.co")


class HubName(NamedTuple):
    """A model and the commit, branch or tag that is meant of it."""

    repo: str
    """``org/name``, or one of the few names without an organisation (``gpt2``)."""
    revision: str | None


def hub_name(text: str) -> HubName | None:
    """Return the model that ``text`` names, None when it is a path.

    ``org/name``, with ``@revision`` where one is meant; ``hf://org/name``; or the address of its page. A bare
    ``org/name`` is a path where ``org`` exists here or ``name`` ends like a file of weights.
    """
    if text.startswith("hf://"):
        return _named(text[len("hf://") :])
    if text.startswith(("https://", "http://")):
        return _page(text)
    if text.count("/") < 1 or os.path.lexists(text.partition("/")[0]) or text.endswith(".safetensors"):
        return None
    return _named(text)


def _named(text: str) -> HubName | None:
    found = _ID.fullmatch(text)
    if found is None or "--" in found[1] or ".." in found[1] or found[1].endswith(".git"):
        return None
    return HubName(found[1], found[2])


def _page(text: str) -> HubName | None:
    found = _URL.fullmatch(text.partition("?")[0].partition("#")[0])
    if found is None or found[1] not in (*_HOSTS, *_own_endpoint()):
        return None
    named = _named(found[2])
    return named._replace(revision=found[3]) if named else None


def _own_endpoint() -> tuple[str, ...]:
    """Return the host of the user's own Hub (``HF_ENDPOINT``), which huggingface_hub asks instead."""
    host = os.environ.get("HF_ENDPOINT", "").partition("://")[2].strip("/")
    return (host,) if host else ()
