"""A stand-in for torchvision, which vLLM's multimodal models import to handle pictures; no parameter depends on it.

The wheel must be of torch's very build ("operator torchvision::nms does not exist"), and PyPI's is not of a CPU build.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from pathlib import Path

_MODULES = (
    "",
    "transforms",
    "transforms/functional",
    "transforms/v2",
    "transforms/v2/functional",
    "io",
    "ops",
)
_TEXT = """
class _All(type):
    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return cls

class _Anything(metaclass=_All):
    def __init__(self, *args, **options): pass
    def __getattr__(self, name): return self
    def __call__(self, *args, **options): return self

def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return _Anything
"""


def stand_in() -> None:
    """Put the stand-in on the path, for child processes as well, unless torchvision is there."""
    if importlib.util.find_spec("torchvision"):
        return
    root = Path(tempfile.mkdtemp(prefix="blueprints-"))
    for module in _MODULES:
        folder = root / "torchvision" / module
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").write_text(_TEXT)
    about = root / "torchvision-0.29.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.29.0\n")
    sys.path.append(str(root))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(root))))
