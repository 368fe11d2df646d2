"""``python -m tests.resaving.killed DIR TIMES SEED``: a re-save is killed at random moments."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from ckptdoctor.resaving.planning import Wanted

from .made import contents, planned, resaved, shard

_MB = 1024 * 1024


def main(place: Path, times: int, seed: int) -> None:
    rng = random.Random(seed)
    source = place / "source"
    source.mkdir()
    for number in range(1, 4):
        values = {
            f"layers.{number}.{leaf}.weight": ("U8", [2 * _MB], rng.randbytes(2 * _MB)) for leaf in "abc"
        }
        shard(source / f"model-{number:05d}-of-00003.safetensors", values)
    (source / "config.json").write_text("{}")
    before = contents(source)
    begin = time.monotonic()
    wanted = Wanted(5 * _MB)
    resaved(source, place / "whole", wanted)
    whole, took = contents(place / "whole"), time.monotonic() - begin
    planned(source, place / "x", wanted)  # imports, before the first child needs them
    interrupted = 0
    while interrupted < times:
        out = place / "out"
        resume = False
        while True:
            if _child(source, out, wanted, resume, rng.uniform(0, took)):
                break
            interrupted += 1
            resume = (place / ".out.resave").exists()
            assert contents(source) == before, "the source changed"
            assert not out.exists() or contents(out) == whole, "OUT is there and not whole"
            if out.exists():
                break
        assert contents(out) == whole, "what came out is not what an undisturbed run writes"
        shutil.rmtree(out)
        (place / ".out.resave.json").unlink(missing_ok=True)
    sys.stdout.write(f"interrupted {interrupted} times\n")


def _child(source: Path, out: Path, wanted: Wanted, resume: bool, delay: float) -> bool:
    """Re-save in a process that is killed after ``delay`` seconds; return whether it was done before that."""
    child = os.fork()
    if not child:
        code = 1
        try:
            resaved(source, out, wanted, resume=resume)
            code = 0
        finally:
            os._exit(code)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0, "it failed"
        return True
    return False


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
