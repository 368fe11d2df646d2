"""Start a worker: ``python -s -B __main__.py LOADER EVENTS_FD`` in a clean environment. See ``serve``."""

from __future__ import annotations

import sys

if __name__ == "__main__":  # the folder of this file, where `transformers.py` would hide the library
    del sys.path[0]

import importlib
import importlib.util
from pathlib import Path

NAME = "ckptdoctor_probe"


def main() -> None:
    """Make this folder the package NAME, whatever stands on the path, and serve."""
    here = Path(__file__).resolve().parent
    spec = importlib.util.spec_from_file_location(
        NAME, here / "__init__.py", submodule_search_locations=[str(here)]
    )
    assert spec is not None
    sys.modules[NAME] = importlib.util.module_from_spec(spec)
    importlib.import_module(f"{NAME}.serve").main(sys.argv[1], int(sys.argv[2]))


if __name__ == "__main__":
    main()
