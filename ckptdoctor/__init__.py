"""ckptdoctor: will this checkpoint load in transformers, vLLM and Unsloth, and at which precision?

The public API is what is defined here, and the types in :mod:`ckptdoctor.model` that it returns; nothing else is.
"""

from __future__ import annotations

from ._version import __version__

TYPE_CHECKING = False  # `typing` costs more than `--version` does; type checkers know the name
if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from .model import CheckpointError, Report

__all__ = ["CheckpointError", "__version__", "check"]


def check(
    checkpoint: str | PathLike[str],
    *,
    targets: Sequence[str] = (),
    metadata_only: bool = False,
    base: str | PathLike[str] | None = None,
) -> Report:
    """Check one checkpoint and return the report; the checkpoint may be as broken as it likes, that never raises.

    ``checkpoint`` is a directory or one ``.safetensors`` file, spelled as the loader will be given it. ``targets`` are
    texts as ``--for`` takes them (``"vllm==0.32.0,vllm-bnb-plugin==0.0.3"``, ``"vllm==*"``); none means what is
    installed here, else the newest known versions. With ``metadata_only`` absent weights are not findings. ``base`` is
    the directory of the model that an adapter is to be put on. Sizes in the report are bytes, shapes counts of
    elements. Settings files and baselines are the command line's and are not looked at.

    ``check("./model", targets=["vllm"]).raise_for("vllm")`` is a preflight: it raises CheckpointError, or returns.

    Raises:
        ckptdoctor.targets.TargetError: a target that cannot be understood.
        OSError: the path does not exist or cannot be read.
    """
    from os import fspath

    from . import ruledata
    from .engine import check_source
    from .sources import open_source
    from .sweeps import expand
    from .targets import default_targets

    rulebook = ruledata.load()
    wanted = [target for text in targets for target in expand(text, rulebook)] or default_targets(rulebook)
    onto = None if base is None else open_source(fspath(base))
    source = open_source(fspath(checkpoint))
    return check_source(source, wanted, rulebook, metadata_only=metadata_only, base=onto)


def __getattr__(name: str) -> object:
    """Import ``CheckpointError`` when it is first asked for, so that ``--version`` does not pay for it."""
    if name == "CheckpointError":
        from .model import CheckpointError

        return CheckpointError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
