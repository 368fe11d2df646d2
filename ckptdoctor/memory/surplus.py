"""Stored tensors that no loader keeps: buffers it computes anew, layers it skips, a head that is tied elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from ..checkpoint.nouns import Signature, View
from ..expected.blueprint import Expected
from ..formats.parts import BUFFERS


class Surplus:
    """What of a view is left out, by what its class expects."""

    def __init__(self, expected: Expected | None, view: View) -> None:
        self._expected = expected
        self._second = _second(expected, view)

    def modules(self, signature: Signature, modules: Sequence[str]) -> Sequence[str]:
        """Return those of ``modules`` that are kept."""
        expected = self._expected
        if expected is None:
            return modules
        if signature.template in self._second:
            return ()
        if not expected.extra_layers or not modules:
            return modules
        return [name for name in modules if not _beyond(expected, signature.template, name)]

    def leaf(self, signature: Signature, leaf: str) -> bool:
        """Whether a tensor is dropped without a word."""
        tensor = f"{signature.template}.{leaf}" if signature.template else leaf
        expected = self._expected
        if any(tensor == name or tensor.endswith(f".{name}") for name in BUFFERS):
            known = expected.entries if expected else {}
            return not any(
                name in known for name in (tensor, f"model.{tensor}", tensor.removeprefix("model."))
            )
        return expected is not None and any(
            tensor.startswith(pattern[:-2]) if pattern.endswith("**") else tensor == pattern
            for pattern in expected.ignored
        )


def _second(expected: Expected | None, view: View) -> frozenset[str]:
    """Return the modules whose weight is another one's, which is stored too."""
    lost: set[str] = set()
    for group in expected.tied if expected else ():
        names = [name for name in expected.entries if name in group] if expected else []
        stored = [module for name in names for module in _stored(name.rpartition(".")[0], view)]
        lost.update(stored[1:])
    return frozenset(lost)


def _stored(module: str, view: View) -> list[str]:
    spellings = (module, module.removeprefix("model."), f"model.{module}")
    return [name for name in dict.fromkeys(spellings) if name in view.templates][:1]


def _beyond(expected: Expected, template: str, module: str) -> bool:
    """Whether a module is in a layer past the main stack that loaders skip."""
    for at, first, stop in expected.extra_layers:
        if template == at or template.startswith(f"{at}."):
            number = module.split(".")[at.split(".").index("*")]
            if first <= int(number) < stop:
                return True
    return False
