"""What one run in vLLM showed, as data: schemes, what was never written, what differs from the files or from a twin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import memory
from . import vllm_state as state
from .against import Compared
from .limits import is_env
from .stored import LEAVES, PLAIN, Entry, Stored, opened
from .templates import by_template

Tell = Callable[..., None]


class Run:
    """What one checkpoint did: the stage it reached, the parameters after loading, the logits of the prompt."""

    def __init__(self, request: dict[str, Any], tell: Tell, until: str) -> None:
        self.path = Path(request["path"])
        self.base = request["options"].get("base")
        self.until = until
        self.keep = bool(request.get("sound"))
        self.tell = tell
        self.stage = "config"
        self.snapshot: state.Snapshot | None = None
        self.packed: dict[str, list[str]] = {}
        self.weights_bytes: int | None = None
        self.logits: Any = None
        self.error: BaseException | None = None
        self.exception: dict[str, str] | None = None

    @property
    def held(self) -> dict[str, state.Held]:
        """The parameters after loading; {} where it did not come to that."""
        return {} if self.snapshot is None else self.snapshot.held

    def look(self, model: Any) -> None:
        """Take down what the model holds; of an adapter, what its base holds."""
        self.tell("stage", stage="compare")
        stored = opened(Path(self.base) if self.base else self.path)
        self.snapshot = state.snapshot(model, stored, keep=self.keep)
        self.packed = dict(getattr(model, "packed_modules_mapping", {}))
        self.weights_bytes = memory.held(model)


UNREAD = (".qzeros", ".g_idx")
"""Parts of GPTQ weights that may be anything: kernels for symmetric weights in order never look at them."""


def seen(done: Run, sound: Run | None, path: Path, sound_path: Path | None) -> dict[str, Any]:
    """What one run showed, beside the run of its sound twin where there is one."""
    stored = opened(path)
    on_disk = {} if stored is None else matrices(stored)
    precision, otherwise, cast = placed(done, on_disk)
    unwritten = [name for name, held in done.held.items() if held.unwritten]
    found: dict[str, Any] = {
        "stage": done.stage,
        "exception": done.exception,
        "environment": done.error is not None and is_env(str(done.error)),
        "precision": by_template(precision),
        "otherwise": otherwise,
        "cast": cast,
        "never_written": unwritten,
        "unscaled": [] if stored is None else stored.bare_codes(precision),
        "weights_bytes": done.weights_bytes,
    }
    if done.snapshot is not None:
        found |= by_files(done, done.snapshot.compared)
        found["never_written"] = unwritten = sorted({*unwritten, *done.snapshot.compared.absent})
    if done.logits is not None:
        found["logits_finite"] = bool(done.logits.isfinite().all())
    twin = beside(done, sound, sound_path, on_disk)
    if twin is not None:
        found["twin"] = twin
    unread = twin.get("equal", False) if twin else "gptq" in precision.values()
    found["never_read"] = [name for name in unwritten if unread and name.endswith(UNREAD)]
    return found


def beside(done: Run, sound: Run | None, path: Path | None, on_disk: dict[str, str]) -> dict[str, Any] | None:
    """What differs from the run of the sound twin at `path`, None where there is none."""
    if sound is None or path is None or not done.held:
        return None
    other = opened(path)
    return differences(done, sound, changed(on_disk, {} if other is None else other.schemes()))


def by_files(done: Run, compared: Compared) -> dict[str, Any]:
    """What came of the comparison with the files."""
    return {
        "same": len(compared.same),
        "differ_from_file": compared.differ,
        "not_compared": [*compared.unknown, *adapter_tensors(done)],
    }


def matrices(stored: Stored) -> dict[str, str]:
    """The scheme of every module that has a matrix."""
    return {
        module: scheme
        for module, scheme in stored.schemes().items()
        if any(len(entry.shape) > 1 for entry in entries(stored, module))
    }


def placed(done: Run, on_disk: dict[str, str]) -> tuple[dict[str, str], list[str], list[str]]:
    """The scheme at which each module is held, and what is held otherwise than stored: requantised, or cast."""
    precision: dict[str, str] = {}
    otherwise: list[str] = []
    cast: list[str] = []
    for module, scheme in on_disk.items():
        now = state.locate(module, done.held, done.packed) if done.held else None
        if now:
            precision[module] = now
        if now and now != scheme:
            plain = {now, scheme} <= set(PLAIN.values())
            (cast if plain else otherwise).append(f"{module} ({scheme} as {now})")
    return precision, otherwise, cast


def adapter_tensors(done: Run) -> list[str]:
    """The tensors of an adapter: vLLM stacks and splits them at once, and nobody has looked at them here."""
    adapter = opened(done.path) if done.base else None
    return [] if adapter is None else sorted(adapter.entries)


def entries(stored: Stored, module: str) -> list[Entry]:
    """The stored weights of a module."""
    names = (f"{module}.{leaf}" for leaf in LEAVES)
    return [stored.entries[name] for name in names if name in stored.entries]


def changed(mine: dict[str, str], other: dict[str, str]) -> set[str]:
    """The modules that two checkpoints store in different schemes."""
    return {module for module in mine.keys() & other.keys() if mine[module] != other[module]}


def differences(done: Run, sound: Run, restored: set[str]) -> dict[str, Any]:
    """What is not as in the sound twin: names, and the largest difference of a logit.

    The logits decide only where every scheme is the twin's: with another one they are expected to differ.
    """
    found, alike = [], not restored
    for name, held in done.held.items():
        twin = sound.held.get(name)
        if twin is None:
            continue
        alike = alike and held.schemes == twin.schemes
        again = bool(restored & state.modules_of(name, done.packed))
        if not held.unwritten and state.different(held, twin, again):
            found.append(name)
    answer: dict[str, Any] = {"differ": found, "max_abs_diff": None, "logits_differ": False}
    if done.logits is None or sound.logits is None or done.logits.shape != sound.logits.shape:
        return answer
    difference = float((done.logits - sound.logits).abs().max())
    scale = float(sound.logits.abs().max())
    answer["equal"] = difference == 0.0
    answer["max_abs_diff"] = None if difference != difference else round(difference, 6)
    if alike and difference > scale / 32:
        answer["logits_differ"] = f"{difference:.3g} of {scale:.3g}"
    return answer
