"""Fuzzing guided by coverage: ``python -m bench.guided CORPUS -max_total_time=600`` (pip install atheris).

The first byte chooses what the rest is given to: the header parser with both decoders, the JSON parser, or a whole
check with the rest as every file. New inputs that reach new code are kept in CORPUS.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["ckptdoctor"]):
    from .fuzz.inputs import one

if __name__ == "__main__":
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
