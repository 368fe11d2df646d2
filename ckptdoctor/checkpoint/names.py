"""Tensor names: which part is the module, which the leaf, and the template modules have in common."""

from __future__ import annotations


def split(tensor: str) -> tuple[str, str]:
    """Return module and leaf of a tensor name.

    The leaf begins at the first component ``weight`` that has more after it (``weight.absmax``,
    ``weight.quant_state.bitsandbytes__nf4``); otherwise it is the last component.
    """
    if "weight." in tensor:
        if tensor.startswith("weight."):
            return "", tensor
        cut = tensor.find(".weight.")
        if cut >= 0:
            return tensor[:cut], tensor[cut + 1 :]
    module, _, leaf = tensor.rpartition(".")
    return module, leaf


def join(module: str, leaf: str) -> str:
    """Return the tensor name that ``split`` takes apart."""
    return f"{module}.{leaf}" if module else leaf


_DEEP = 40
"""Components from which on a name is not worked out parent by parent, all of which would be kept."""


class Templates:
    """Templates of module names, worked out once per parent: siblings share all but their last component."""

    def __init__(self) -> None:
        self._known = {"": ""}

    def of(self, name: str) -> str:
        """Return the template of ``name``: every all-digit component becomes ``*``."""
        template = self._known.get(name)
        if template is None:
            if name.count(".") > _DEEP:
                template = ".".join("*" if is_number(part) else part for part in name.split("."))
            else:
                head, dot, last = name.rpartition(".")
                template = self.of(head) + dot + ("*" if is_number(last) else last)
            self._known[name] = template
        return template


def is_number(component: str) -> bool:
    """Return whether a path component is a layer or expert number."""
    return component.isascii() and component.isdigit()
