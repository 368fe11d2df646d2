"""``python bench/resave.py [GB]``: re-saving against ``cp`` of the same bytes, both synced, in turns, in one run.

Prints medians and ratios (cp's time over ours: 1 is as fast), and the memory of a re-save of a sparse 16 GB checkpoint.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 5
_TENSORS = 48


def checkpoint(root: Path, size: int, shards: int, *, sparse: bool = False) -> None:
    """Write ``shards`` files of bf16 matrices, ``size`` bytes in all; sparse ones take no room."""
    root.mkdir()
    each = size // shards // _TENSORS // 2048 * 2048
    block = os.urandom(each) if not sparse else b""
    weight_map = {}
    for number in range(1, shards + 1):
        name = f"model-{number:05d}-of-{shards:05d}.safetensors"
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        for place in range(_TENSORS):
            tensor = f"model.layers.{number * 100 + place}.mlp.up_proj.weight"
            span = [place * each, (place + 1) * each]
            header[tensor] = {"dtype": "BF16", "shape": [each // 2048, 1024], "data_offsets": span}
            weight_map[tensor] = name
        text = json.dumps(header).encode()
        with (root / name).open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for _ in range(0 if sparse else _TENSORS):
                file.write(block)
            file.truncate(8 + len(text) + each * _TENSORS)
    (root / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (root / "config.json").write_text('{"architectures": ["Unknown"], "model_type": "unknown"}')


def timed(command: list[str], out: Path) -> float:
    """Return the seconds that ``command`` and the sync of what it wrote take."""
    os.sync()
    begin = time.perf_counter()
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    subprocess.run(["sync", "-f", str(out.parent)], check=True)
    took = time.perf_counter() - begin
    shutil.rmtree(out, ignore_errors=True)
    return took


def main() -> None:
    """Measure and print."""
    size = int(float(sys.argv[1] if len(sys.argv) > 1 else 2) * 1e9)
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/tmp")) as place:
        source, out = Path(place, "source"), Path(place, "out")
        checkpoint(source, size, 4)
        ours = [sys.executable, "-m", "ckptdoctor", "resave", str(source), str(out)]
        ways = {
            "cp": ["cp", "-r", str(source), str(out)],
            "same layout": ours,
            "re-sharded": [*ours, "--shard-size", str(size // 6)],
            "check alone": [*ours, "--dry-run"],
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, command in ways.items():
                times[name].append(timed(command, out))
        base = statistics.median(times["cp"])
        check = statistics.median(times["check alone"])
        for name, found in times.items():
            middle = statistics.median(found)
            alone = (
                base / max(middle - check, 0.001) if name in ("same layout", "re-sharded") else base / middle
            )
            print(f"{name:12} {middle:6.2f} s  {base / middle:.2f} × cp, without the check {alone:.2f}")
        checkpoint(Path(place, "sparse"), 16_000_000_000, 4, sparse=True)
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        subprocess.run([*ours[:4], str(Path(place, "sparse")), str(out), "--shard-size", "5GB"], check=False)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        print(f"16 GB sparse: {peak / 1024:.0f} MB at most (runs before: {before / 1024:.0f} MB)")
        print(f"on disk: {sum(p.stat().st_blocks for p in out.iterdir()) * 512 / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
