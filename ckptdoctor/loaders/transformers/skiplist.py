"""How transformers reads ``llm_int8_skip_modules``.

5.x: ``should_convert_module`` of quantizers/quantizers_utils.py; 4.x: ``_replace_with_bnb_linear`` of
integrations/bitsandbytes.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..base import Checkpoint, SkipList, Test, View
from ..shared import skips
from ..shared.modules import Architecture, architecture, family, is_convertible


def tests(listed: object, known: Architecture, *, regex: bool) -> Test:
    """Return the test "is this module left alone"; ``regex`` in the dialect of 5.x."""
    given = isinstance(listed, list)
    entries = [item for item in listed if isinstance(item, str)] if isinstance(listed, list) else []
    patterns = entries if given else list(_defaults(known))
    if not regex:
        return skips.transformers4(patterns if given else [*patterns, *_heads(known)])
    # 5.x renames the head on load (conversion_mapping.py) and asks the list about the name that it has then
    match, heads = skips.transformers5(patterns), frozenset(_heads(known))
    return lambda name: match("lm_head" if name in heads else name)


def _heads(known: Architecture) -> Iterator[str]:
    """Yield other names that the files of this architecture have for the output embedding (``embed_out``)."""
    if known.expected is not None:
        yield from (old for new, old in known.expected.renamed if new == "lm_head")


def _defaults(known: Architecture) -> Iterator[str]:
    """The output embedding and whatever is tied to it are kept (``get_keys_to_not_convert``)."""
    yield "lm_head"
    if known.expected is not None:
        for group in known.expected.tied:
            yield from (name.removesuffix(".weight") for name in group)


class TransformersSkipList(SkipList):
    """For whoever writes a list that transformers is to read."""

    def tests(self, entries: Sequence[str]) -> Sequence[Test]:
        """Both dialects: a list outlives a version."""
        return skips.transformers5(entries), skips.transformers4(entries)

    def own(self, module: str) -> str:
        """Modules go by their names in the files."""
        return module

    def unquantised(self, ckpt: Checkpoint, view: View) -> Iterator[str]:
        """Yield the 16-bit linear layers."""
        known = architecture(ckpt, view)
        for signature in view.signatures:
            if family(signature.stored.scheme) == "dense" and is_convertible(signature, known):
                yield from signature.modules
