"""What happens inside a load: which parameters are never written, and what is logged."""

from __future__ import annotations

import contextlib
import logging
import re
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import torch
import transformers

PADDING = re.compile(r"([ -])\1{3,}")  # tables are as wide as their widest cell
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
LINE_LIMIT = 300


class Unwritten:
    """While open, every parameter that transformers or PEFT initialises, instead of reading it, becomes NaN."""

    def __init__(self) -> None:
        self.filled: dict[str, torch.Tensor] = {}
        self.undo: list[tuple[Any, str, Any]] = []

    def __enter__(self) -> Unwritten:
        for name in ("empty", "empty_like"):
            self.replace(torch, name, emptied(getattr(torch, name)))
        initialize = transformers.PreTrainedModel.initialize_weights
        self.replace(transformers.PreTrainedModel, "initialize_weights", self.after(initialize))
        if find_spec("peft"):
            from peft.tuners.lora.layer import LoraLayer

            self.replace(LoraLayer, "reset_lora_parameters", spoiled(LoraLayer.reset_lora_parameters))
        return self

    def __exit__(self, *_: object) -> None:
        for holder, name, original in reversed(self.undo):
            setattr(holder, name, original)

    def replace(self, holder: Any, name: str, value: Any) -> None:
        """Set an attribute, to be set back on exit."""
        self.undo.append((holder, name, getattr(holder, name)))
        setattr(holder, name, value)

    def after(self, initialize: Any) -> Any:
        """`initialize`, after which each parameter that no file supplied is NaN.

        transformers sets `_is_hf_initialized` on what it has read, so that its own initialisation leaves it alone.
        """

        def wrapper(model: Any) -> None:
            initialize(model)
            for name, tensor in supplied(model):
                if not getattr(tensor, "_is_hf_initialized", False):
                    self.filled[name] = tensor
                    fill(tensor)

        return wrapper

    def names(self, model: Any) -> list[str]:
        """The parameters of the finished model that nothing has written: still those filled, or NaN all over."""
        return [
            name
            for name, tensor in supplied(model)
            if (name in self.filled and self.filled[name] is tensor) or tensor.is_meta or all_nan(tensor)
        ]


def supplied(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """The parameters and persistent buffers of a model: what a checkpoint has to supply."""
    yield from model.named_parameters()
    for prefix, module in model.named_modules():
        for name, buffer in module.named_buffers(prefix, recurse=False):
            if name.rpartition(".")[2] not in module._non_persistent_buffers_set:
                yield name, buffer


def emptied(make: Any) -> Any:
    """An allocating function whose uninitialised memory is NaN."""

    def wrapper(*args: Any, **keywords: Any) -> torch.Tensor:
        tensor: torch.Tensor = make(*args, **keywords)
        fill(tensor)
        return tensor

    return wrapper


def spoiled(reset: Any) -> Any:
    """PEFT's initialisation of one LoRA layer, after which that layer's pair is NaN."""

    def wrapper(layer: Any, adapter: str, *args: Any, **keywords: Any) -> None:
        reset(layer, adapter, *args, **keywords)
        for half in (layer.lora_A, layer.lora_B, layer.lora_embedding_A, layer.lora_embedding_B):
            if adapter in half:
                fill(getattr(half[adapter], "weight", half[adapter]))

    return wrapper


def fill(tensor: torch.Tensor) -> None:
    """Make a floating tensor on a real device NaN."""
    if tensor.is_floating_point() and tensor.device.type != "meta":
        with torch.no_grad():
            tensor.fill_(float("nan"))


def all_nan(tensor: torch.Tensor) -> bool:
    """Whether a tensor holds nothing but NaN."""
    if not tensor.is_floating_point() or not tensor.numel():
        return False
    return bool(plain(tensor).float().isnan().all())


def plain(tensor: torch.Tensor) -> torch.Tensor:
    """The numbers that torchao's tensor subclasses stand for; any other tensor as it is."""
    return tensor if type(tensor) in (torch.Tensor, torch.nn.Parameter) else tensor.dequantize()


class Log(logging.Handler):
    """Keeps the warnings of transformers while open, the folder `above` the checkpoint cut from its path."""

    def __init__(self, above: str) -> None:
        super().__init__(logging.WARNING)
        self.above = above
        self.lines: list[str] = []

    def __enter__(self) -> Log:
        logger = logging.getLogger("transformers")
        logger.addHandler(self)
        once = getattr(transformers.utils.logging, "warning_once", None)
        if once is not None:
            once.cache_clear()  # else a warning belongs to whichever case came first
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("transformers").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one message, its colours removed."""
        text = COLOUR.sub("", record.getMessage()).replace(f"{self.above}/", "")
        self.lines.append("\n".join(PADDING.sub(r"\1", line).rstrip() for line in text.splitlines()))

    def reports(self) -> list[str]:
        """The LOAD REPORT tables of transformers 5."""
        return [line for line in self.lines if "LOAD REPORT" in line]

    def messages(self) -> list[str]:
        """The beginning of every message but the report, whose content the loading info gives in full."""
        return [
            " ".join(line.split())[:LINE_LIMIT]
            for line in dict.fromkeys(self.lines)
            if "LOAD REPORT" not in line
        ]


class Progress:
    """While open, tells every half second how many bytes of parameters the model under construction has on a device."""

    def __init__(self, tell: Callable[..., None]) -> None:
        self.tell = tell
        self.model: Any = None
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self) -> Progress:
        self.kept = vars(transformers.PreTrainedModel).get("_load_pretrained_model")
        if self.kept is not None:
            inner = self.kept.__func__

            def wrapper(*args: Any, **keywords: Any) -> Any:
                found = [*args, *keywords.values()]
                self.model = next((arg for arg in found if isinstance(arg, torch.nn.Module)), None)
                return inner(*args, **keywords)

            transformers.PreTrainedModel._load_pretrained_model = type(self.kept)(wrapper)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()
        self.model = None
        if self.kept is not None:
            transformers.PreTrainedModel._load_pretrained_model = self.kept

    def run(self) -> None:
        """Tell until it is over."""
        while not self.over.wait(0.5):
            model = self.model
            if model is not None:
                with contextlib.suppress(RuntimeError):  # a parameter is put in while we look
                    sizes = [(p.nbytes, p.is_meta) for p in model.parameters()]
                    done = sum(size for size, waiting in sizes if not waiting)
                    self.tell("stage", stage="weights", done=done, total=sum(size for size, _ in sizes))
