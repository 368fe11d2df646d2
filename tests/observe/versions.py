"""Run packages side by side that may not go together, and record what happens: the evidence of rules/environment.yaml.

    python -m tests.observe.versions --python PATH peft==0.17.1 bitsandbytes==0.45.5

PATH is the interpreter of an environment with torch and transformers, which is left as it is: each package is installed
into a directory of its own that comes first on the import path. Records go to fixtures/observed/versions/records.jsonl.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.observe.paths import OBSERVED, SOUND

RECORDS = OBSERVED / "versions" / "records.jsonl"
FORMATS = OBSERVED / "versions" / "formats.jsonl"
"""Pairs that go together and read one format differently by version: no matter of the environment."""
PROBE = """
import json, sys, warnings
from importlib.metadata import version
warnings.simplefilter("ignore")
package, dense, packed = sys.argv[1:]
said = None
try:
    import transformers
    from transformers import AutoModelForCausalLM
    if package == "peft":
        from peft import LoraConfig
        AutoModelForCausalLM.from_pretrained(dense).add_adapter(LoraConfig(target_modules=["q_proj"]))
    else:
        import torch
        AutoModelForCausalLM.from_pretrained(packed)(torch.tensor([[1, 2, 3]]))
except Exception as error:
    said = f"{type(error).__name__}: {error}"
print("@@" + json.dumps({"installed": {n: version(n) for n in (package, "transformers")}, "raised": said}))
"""
"""PEFT: an adapter is added through transformers. Of the others a checkpoint of their format is run."""
PACKED = {"bitsandbytes": "llama-nf4", "compressed-tensors": "qwen2-ct-asym"}
"""Package → the sound fixture that it reads."""


def observe(python: str, wanted: str) -> dict[str, Any]:
    """Return one record; raises CalledProcessError when pip or the probe cannot run at all."""
    package = wanted.partition("==")[0]
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, wanted]
        subprocess.run(pip, check=True)
        command = [
            python,
            "-c",
            PROBE,
            package,
            str(SOUND / "llama-bf16"),
            str(SOUND / PACKED.get(package, "")),
        ]
        env = {**os.environ, "PYTHONPATH": folder}
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=env, timeout=600)
    record: dict[str, Any] = json.loads(done.stdout.rpartition("@@")[2])
    record["raised"] = record["raised"] and record["raised"].split(" (/")[0]  # no paths of the machine
    return record


def main() -> None:
    """Record every package named, in place of what was recorded of the same versions."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", required=True, metavar="PATH")
    parser.add_argument("packages", nargs="+", metavar="PACKAGE==VERSION")
    options = parser.parse_args()
    RECORDS.parent.mkdir(parents=True, exist_ok=True)
    for wanted in options.packages:
        record = observe(options.python, wanted)
        path = FORMATS if wanted.startswith("compressed-tensors==") else RECORDS
        known = [other for other in read(path) if other["installed"] != record["installed"]] + [record]
        lines = sorted(json.dumps(each, sort_keys=True) for each in known)
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        print(record["installed"], record["raised"] or "ok")


def read(path: Path = RECORDS) -> list[dict[str, Any]]:
    """Return all records of one file."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main()
