"""What the path as typed says about a checkpoint, against what is in it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..formats.declared import declarations
from ..loaders.shared.modules import family
from ..model import Hit, Location, Skip
from ..sources.base import is_remote
from .base import Context, Params

_FOUR = re.compile(r"(?:^|[-_.])(?:bnb-?)?(?:4-?bit|nf4|fp4|int4|w4a16)(?:$|[-_.])")


def says_4bit(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield a directory called 4-bit whose weights are all 16- or 32-bit and whose config declares nothing."""
    name = context.ckpt.label.rstrip("/").rpartition("/")[2]
    said = _FOUR.search(name.lower())
    if said is None or any(True for _ in declarations(context.ckpt)):
        return
    matrices = [
        signature
        for signature in context.view.signatures
        if "*" in signature.template and any(len(leaf.shape) > 1 for leaf in signature.leaves)
    ]
    schemes = {signature.stored.scheme for signature in matrices}
    if schemes and all(family(scheme) == "dense" for scheme in schemes):
        yield Hit({"name": name[:100], "stored": ", ".join(sorted(schemes))})


def hub_shaped(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield a relative path spelt exactly like a model on the Hub, under one of the organisations ``orgs``."""
    org, slash, name = context.ckpt.label.partition("/")
    orgs = str(params["orgs"]).split()
    remote = is_remote(context.ckpt.source)
    if slash and name and "/" not in name and org.lower() in orgs and not remote:
        yield Hit({"org": org, "name": name[:100]}, (Location(""),))
