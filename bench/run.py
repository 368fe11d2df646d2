"""Measure ckptdoctor against floors and peers: whole processes, interleaved in one run, CPU minimum and peak memory.

    python bench/run.py [--runs 5] [--kinds llama8b,dsv3] [--keep DIR]

Ratios only mean something within one run: machines differ and drift. Needs ``pip install -e '.[dev]'``; a peer that is
not installed (``pip install mlx-model-doctor``) is left out and said so.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
KINDS = ("llama8b", "llama70b-bnb4", "dsv3", "kimi-k2")


def contenders(folder: Path) -> dict[str, list[str]]:
    """Return name → command of everything that is timed on ``folder``, the floor first."""
    python = sys.executable
    found = {
        "floor (typed msgspec)": [python, str(HERE / "floors/typed.py"), str(folder)],
        "ckptdoctor check": [python, "-m", "ckptdoctor", "check", str(folder), "--fail-on", "never"],
        "safetensors safe_open": [python, str(HERE / "floors/safe_open.py"), str(folder)],
        "huggingface_hub metadata": [python, str(HERE / "floors/hub.py"), str(folder)],
    }
    peer = shutil.which("mlx-model-doctor", path=f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}")
    if peer:
        found["mlx-model-doctor check"] = [peer, "check", "local", str(folder)]
    return found


def measure(command: list[str]) -> tuple[float, float]:
    """Run a command and return its CPU seconds (user + system) and peak memory in MB."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env)
    said = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 1, 3):
        raise SystemExit(f"{command} failed: {said.decode()[-500:]}")
    process.returncode = 0
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def interleave(commands: dict[str, list[str]], runs: int) -> dict[str, tuple[float, float]]:
    """Return name → (CPU minimum, peak memory of that run's worst), all commands in turn, one warm-up first."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for turn in range(runs + 1):
        for name, command in commands.items():
            result = measure(command)
            if turn:
                seen[name].append(result)
    return {name: (min(cpu for cpu, _ in all_), max(rss for _, rss in all_)) for name, all_ in seen.items()}


def table(title: str, results: dict[str, tuple[float, float]], base: str) -> None:
    """Print results as a Markdown table of ratios to ``base``."""
    cpu0, rss0 = results[base]
    print(f"\n| {title} | CPU | × {base} | peak memory | × |\n|---|---|---|---|---|")
    for name, (cpu, rss) in results.items():
        print(f"| {name} | {cpu * 1000:.0f} ms | {cpu / cpu0:.2f} | {rss:.0f} MB | {rss / rss0:.2f} |")


def main() -> None:
    """Run the benchmark and print the tables of the README."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--keep", type=Path, help="make the checkpoints there and leave them")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = args.keep or Path(scratch)
        python = sys.executable
        small = HERE.parent / "fixtures/sound/llama-bf16"
        start = {
            "python -c pass": [python, "-c", "pass"],
            "ckptdoctor --version": [str(Path(python).parent / "ckptdoctor"), "--version"],
            "ckptdoctor check (small)": [python, "-m", "ckptdoctor", "check", str(small)],
        }
        table("start-up", interleave(start, max(args.runs, 10)), "python -c pass")
        for kind in args.kinds.split(","):
            folder = root / kind
            if not folder.exists():
                subprocess.run(
                    [python, str(HERE / "synth.py"), kind, str(folder)], check=True, stdout=subprocess.DEVNULL
                )
            table(kind, interleave(contenders(folder), args.runs), "floor (typed msgspec)")


if __name__ == "__main__":
    main()
