"""How vLLM reads ``llm_int8_skip_modules``: ``is_layer_skipped_bnb`` of quantization/bitsandbytes.py, in the core up to
0.27.1 and in vllm-bnb-plugin since. The list is asked about vLLM's own names, where q, k and v are one ``qkv_proj``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .. import facts
from ..base import Checkpoint, Data, Signature, SkipList, Test, View
from ..shared import skips
from ..shared.modules import ROUTERS, Architecture, architecture, family, kind


def fused_name(module: str, data: Data) -> str:
    """Return vLLM's own name of ``module``: parts of a fused group go by the group's name."""
    parent, _, last = module.rpartition(".")
    for name, parts in facts.groups(data):
        if last in parts:
            return f"{parent}.{name}" if parent else name
    return module


def own_test(entries: Iterable[str], data: Data) -> Test:
    """Return the test of a module or of its weight, by the name in the files."""
    listed = skips.vllm_bnb(entries)
    return lambda name: listed(fused_name(name.removesuffix(".weight"), data))


class VllmSkipList(SkipList):
    """For whoever writes a list that vLLM is to read."""

    def __init__(self, data: Data) -> None:
        self._data = data

    def tests(self, entries: Sequence[str]) -> Sequence[Test]:
        """One dialect: a path component or a dotted prefix."""
        return (skips.vllm_bnb(entries),)

    def own(self, module: str) -> str:
        """The fused layer that a module becomes a part of."""
        return fused_name(module, self._data)

    def unquantised(self, ckpt: Checkpoint, view: View) -> Iterator[str]:
        """Yield fused layers and routers without a quantised part; other modules go by the names in the files.

        Where some parts of a layer are quantised, vLLM cannot be told: https://github.com/vllm-project/vllm/issues/10590
        """
        known = architecture(ckpt, view)
        groups = {name for name, _ in facts.groups(self._data)}
        bnb = (s for s in view.signatures if family(s.stored.scheme).startswith("bnb-"))
        taken = {self.own(module) for signature in bnb for module in signature.modules}
        names: dict[str, None] = {}
        for signature in view.signatures:
            if family(signature.stored.scheme) == "dense" and _is_linear(signature, known):
                names |= dict.fromkeys(map(self.own, signature.modules))
        for name in names:
            if name not in taken and name.rpartition(".")[2] in groups | ROUTERS:
                yield name


def _is_linear(signature: Signature, known: Architecture) -> bool:
    what = kind(signature, known)
    return what == "linear" or (what != "expert" and signature.template.rpartition(".")[2] in ROUTERS)
