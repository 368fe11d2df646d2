"""Loading without a kernel: what vLLM does with a checkpoint up to the point where only a GPU could go on.

vLLM chooses a layer's kernel while it builds the layer, before any weight is read, and gives up when the machine has
none. Within `any_kernel` the kernels of vLLM's CUDA list may be chosen as well. They are only built, never run: the
worker stops when the weights are loaded. Which layers are quantised, which parameters they have and how files are read
into them is vLLM's own code, untouched; shapes that only a kernel refuses are not seen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


class Loaded(Exception):
    """The weights are loaded, and nothing further is asked for."""


@contextlib.contextmanager
def any_kernel() -> Iterator[None]:
    """Let vLLM choose among the kernels of a GPU too."""
    with contextlib.ExitStack() as undo:
        for owner, name, value in [*linear(), *experts(), *choices()]:
            undo.callback(restore, owner, name)
            setattr(owner, name, value)
        with lists():
            yield


def restore(owner: Any, name: str) -> None:
    """Take an attribute set on a class away again, so that the inherited or the kept one shows."""
    kept = KEPT.pop((owner, name), None)
    if kept is None:
        delattr(owner, name)
    else:
        setattr(owner, name, kept)


KEPT: dict[tuple[Any, str], Any] = {}


def change(owner: Any, name: str, value: Any) -> tuple[Any, str, Any]:
    """Remember what a class itself has under a name that is about to be set."""
    if name in vars(owner):
        KEPT[owner, name] = vars(owner)[name]
    return owner, name, value


def tables() -> list[dict[Any, list[type]]]:
    """vLLM's tables of the kernels that each platform may use for linear layers."""
    from vllm.model_executor.kernels import linear as kernels

    return [value for name, value in vars(kernels).items() if name.startswith("_POSSIBLE_")]


def linear() -> list[tuple[Any, str, Any]]:
    """What makes the kernels for linear layers say that they are supported here."""
    from vllm.platforms import PlatformEnum

    found = {kernel for table in tables() for kernel in installed(table.get(PlatformEnum.CUDA, []))}
    supported = classmethod(lambda cls, *args, **kwargs: (True, None))
    return [change(kernel, "is_supported", supported) for kernel in found]


def installed(kernels: list[type]) -> list[type]:
    """The kernels but for those of a package that is not here."""
    return [kernel for kernel in kernels if "Humming" not in kernel.__name__]


@contextlib.contextmanager
def lists() -> Iterator[None]:
    """Add the CUDA kernels to the CPU's, plain ones first: the others look for a device when they are built."""
    from vllm.platforms import PlatformEnum

    kept = [(table, table.get(PlatformEnum.CPU)) for table in tables()]
    for table, mine in kept:
        more = installed(table.get(PlatformEnum.CUDA, []))
        more = sorted(more, key=lambda kernel: "Emulation" not in kernel.__name__)
        table[PlatformEnum.CPU] = [*(mine or []), *more]
    try:
        yield
    finally:
        for table, mine in kept:
            if mine is None:
                del table[PlatformEnum.CPU]
            else:
                table[PlatformEnum.CPU] = mine


def experts() -> list[tuple[Any, str, Any]]:
    """What makes the kernels for experts say that they are supported here."""
    from vllm.model_executor.layers.fused_moe import modular_kernel

    def below(kind: Any) -> list[Any]:
        return [kind, *(more for child in kind.__subclasses__() for more in below(child))]

    supported = staticmethod(lambda: True)
    kinds = installed(below(modular_kernel.FusedMoEExperts))
    return [change(kind, "_supports_current_device", supported) for kind in kinds]


def choices() -> Iterator[tuple[Any, str, Any]]:
    """What leaves out the kernels of a GPU by the platform's name or age, as far as this version has it."""
    with contextlib.suppress(ImportError, AttributeError):
        from vllm.model_executor.layers.fused_moe.oracle import int_wna16

        every = int_wna16.WNA16MoEBackend
        backends = [every.MARLIN, every.TRITON, every.EMULATION]
        yield change(int_wna16, "_get_priority_backends", lambda *_: list(backends))
    with contextlib.suppress(ImportError, AttributeError):
        from vllm.model_executor.layers.quantization import auto_awq

        yield change(auto_awq.AutoAWQConfig, "get_min_capability", classmethod(lambda cls: -1))
