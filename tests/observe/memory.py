"""Measure what the weights and the cache take in a real loader, and keep it in fixtures/memory.

    python -m tests.observe.memory transformers --python path/to/venv/bin/python
    python -m tests.observe.memory vllm --python path/to/venv/bin/python

Weights are those of every sound fixture that the loader loads. vLLM also builds the models of
fixtures/memory/models.json (no weights, one device and some) and is asked what each layer keeps of a sequence.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.observe.driver import WorkerProcess
from tests.observe.paths import FIXTURES, SOUND

MEMORY = FIXTURES / "memory"
MODELS = MEMORY / "models.json"
WORKERS = Path(__file__).parent / "workers"
PATIENCE_S = 240.0


def main() -> None:
    """Parse the arguments, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("loader", choices=["transformers", "vllm"])
    parser.add_argument("--python", required=True, help="the interpreter of that loader's environment")
    args = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    rows = list(transformers(args.python) if args.loader == "transformers" else vllm(args.python))
    version = rows[0]["versions"][args.loader]
    path = MEMORY / f"{args.loader}-{version}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    print(f"{len(rows)} rows in {path.relative_to(FIXTURES.parent)}")


def sound() -> list[Path]:
    """The sound fixtures that are whole models."""
    return sorted(path.parent for path in SOUND.glob("*/config.json"))


def transformers(python: str) -> Iterator[dict[str, Any]]:
    """Yield a row for each sound fixture."""
    packages = ["transformers", "torch", "bitsandbytes", "compressed-tensors"]
    code = "import importlib.metadata as m, json, sys; print(json.dumps({p: m.version(p) for p in sys.argv[1:]}))"
    asked = subprocess.run([python, "-c", code, *packages], check=True, capture_output=True)
    versions = json.loads(asked.stdout)
    worker = [python, str(WORKERS / "memory.py"), *map(str, sound())]
    done = subprocess.run(worker, check=True, capture_output=True, text=True)
    for line in done.stdout.splitlines():
        if line.startswith('["'):
            path, size, error = json.loads(line)
            row = {"case": Path(path).name, "versions": versions, "device": "cpu"}
            yield {**row, "weights": size} if error is None else {**row, "error": error}


def vllm(python: str) -> Iterator[dict[str, Any]]:
    """Yield a row for each sound fixture, then one for each model and number of devices."""
    worker = WorkerProcess(python, WORKERS / "vllm_memory.py")
    try:
        with tempfile.TemporaryDirectory() as folder:
            for case in [*map(loaded, sound()), *built(Path(folder))]:
                found = worker.ask(case, PATIENCE_S)
                kept = {key: value for key, value in found.items() if key not in ("id", "cache")}
                row = {"case": case["id"], "tp": case["tp"], "versions": worker.ready["versions"]}
                cache = {"cache": folded(found["cache"])} if "cache" in found else {}
                yield {**row, "device": "cpu", "options": case["options"], **kept, **cache}
    finally:
        worker.close()


def loaded(path: Path) -> dict[str, Any]:
    """The case of a sound fixture."""
    return {"id": path.name, "path": str(path), "load": True, "tp": 1, "options": {}}


def built(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the cases of models that are built from a config alone."""
    for name, model in json.loads(MODELS.read_text(encoding="utf-8")).items():
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(model["config"]), encoding="utf-8")
        for tp in model.get("tp", [1]):
            yield {"id": name, "path": str(folder / name), "tp": tp, "options": model.get("options", {})}


def folded(layers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Layers that keep the same, once, with how many there are."""
    counted = Counter(json.dumps({k: v for k, v in layer.items() if k != "layer"}) for layer in layers)
    return [{"layers": count, **json.loads(text)} for text, count in counted.items()]


if __name__ == "__main__":
    main()
