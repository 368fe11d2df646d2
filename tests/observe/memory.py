"""Measure what the weights and the cache take in a real loader, and keep it in fixtures/memory.

    python -m tests.observe.memory transformers --python path/to/venv/bin/python
    python -m tests.observe.memory vllm --python path/to/venv/bin/python

Weights are those of every sound fixture that the loader loads. vLLM also builds the models of
fixtures/memory/models.json (no weights, one device and some) and is asked what each layer keeps of a sequence.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ckptdoctor.probe.process import Limits, Worker
from tests.observe.paths import FIXTURES, SOUND

MEMORY = FIXTURES / "memory"
MODELS = MEMORY / "models.json"
PATIENCE_S = 240.0


def main() -> None:
    """Parse the arguments, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("loader", choices=["transformers", "vllm"])
    parser.add_argument("--python", required=True, help="the interpreter of that loader's environment")
    parser.add_argument(
        "--case", action="append", help="only this case of vLLM's; other rows stay as they are"
    )
    args = parser.parse_args()
    rows = list(transformers(args.python) if args.loader == "transformers" else vllm(args.python, args.case))
    version = rows[0]["versions"][args.loader]
    path = MEMORY / f"{args.loader}-{version}.jsonl"
    if args.case:
        rows = merged([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()], rows)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    print(f"{len(rows)} rows in {path.relative_to(FIXTURES.parent)}")


def merged(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as they were, those that were made anew in their places; of models that are no more, none."""
    fresh = {(row["case"], row["tp"]): row for row in new}
    known = {path.name for path in sound()} | json.loads(MODELS.read_text(encoding="utf-8")).keys()
    kept = [fresh.pop((row["case"], row["tp"]), row) for row in old if row["case"] in known]
    return [*kept, *fresh.values()]


def sound() -> list[Path]:
    """The sound fixtures that are whole models."""
    return sorted(path.parent for path in SOUND.glob("*/config.json"))


def transformers(python: str) -> Iterator[dict[str, Any]]:
    """Yield a row for each sound fixture."""
    with Worker(python, "transformers", Limits(device="cpu")) as worker:
        there = worker.start()["versions"]
        versions = {
            name: there[name] for name in ("transformers", "torch", "bitsandbytes", "compressed-tensors")
        }
        for path in sound():
            found = worker.ask({"path": str(path), "options": {}, "until": "weights"}, PATIENCE_S)
            row = {"case": path.name, "versions": versions, "device": "cpu"}
            raised = found.get("exception")
            if raised is None:
                yield {**row, "weights": found["weights_bytes"]}
            else:
                yield {**row, "error": f"{raised['type']}: {raised['text']}"[:200]}


def vllm(python: str, only: list[str] | None) -> Iterator[dict[str, Any]]:
    """Yield a row for each sound fixture, then one for each model and number of devices; ``only`` for those named."""
    with (
        Worker(python, "vllm_memory", Limits(device="cpu", threads=1)) as worker,
        tempfile.TemporaryDirectory() as folder,
    ):
        versions = worker.start()["versions"]
        cases = [*map(loaded, sound()), *built(Path(folder))]
        for case in [case for case in cases if not only or case["id"] in only]:
            found = worker.ask(case, PATIENCE_S)
            kept = {key: value for key, value in found.items() if key not in ("event", "id", "cache")}
            row = {"case": case["id"], "tp": case["tp"], "versions": versions}
            cache = {"cache": folded(found["cache"])} if "cache" in found else {}
            yield {**row, "device": "cpu", "options": case["options"], **kept, **cache}


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
