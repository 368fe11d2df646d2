"""Let a real loader sit the exam.

``python -m tests.exam.run LOADER --python VENV/bin/python [--model NAME] [--damage D]``

The models are built by ``--maker`` (an environment with transformers; the same interpreter by default). What each
damaged model did goes into ``fixtures/exam/LOADER-VERSION.jsonl``, the sound headers into ``fixtures/exam/models``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path
from zlib import crc32

from tests.conftest import ROOT
from tests.exam import sketch
from tests.exam.damages import DAMAGES, Damage
from tests.exam.models import MODELS
from tests.exam.more_damages import MORE_DAMAGES
from tests.exam.more_models import MORE_MODELS
from tests.observe.driver import WorkerDied, WorkerProcess

EXAM = ROOT / "fixtures" / "exam"
SHARE = 3
"""Of the second exam's damages, one in so many is tried on a model."""


def asked(model: str) -> dict[str, Damage]:
    """Return the damages that a model is tried with: all of the first exam's, some of the second's."""
    if model in MODELS:
        return DAMAGES
    return {
        name: damage
        for name, damage in MORE_DAMAGES.items()
        if name == "sound" or crc32(f"{model} {name}".encode()) % SHARE == 0
    }


TASKS = ("SequenceClassification", "TokenClassification", "QuestionAnswering", "MaskedLM")


def auto(model: str) -> str:
    """Return the class that loads a model: its own in the first exam, ``AutoModelFor…`` in the second."""
    if model in MODELS:
        return model
    task = next((task for task in TASKS if model.endswith(task)), "")
    seq2seq = model.endswith(("ConditionalGeneration", "MTModel"))
    return f"AutoModelFor{task or ('Seq2SeqLM' if seq2seq else 'CausalLM')}"


def main() -> None:
    """Build, damage, load, record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("loader", choices=["transformers", "vllm"])
    parser.add_argument("--python", required=True, help="the interpreter of that loader's environment")
    parser.add_argument("--maker", help="an interpreter with transformers, if that is another one")
    parser.add_argument("--model", action="append")
    parser.add_argument("--damage", action="append")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for one model")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch, "sound")
        names = args.model or [*MODELS, *MORE_MODELS]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
        subprocess.run(
            [args.maker or args.python, "-m", "tests.exam.models", made, *names],
            check=True,
            env=environment,
        )
        process = WorkerProcess(args.python, args.loader)
        version = process.ready["versions"][args.loader].partition("+")[0]
        path = EXAM / f"{args.loader}-{version}.jsonl"
        rows = {(row["model"], row["damage"]): row for row in _rows(path)}
        for name in (name for name in names if (made / name).is_dir()):
            sound = sketch.read(made / name)
            _save(EXAM / "models" / f"{name}.json", sketch.as_json(sound))
            for damage, change in asked(name).items():
                broken = change(sound)
                if broken is None or (args.damage and damage not in args.damage):
                    continue
                place = Path(scratch, f"{name}-{damage}")
                sketch.write(broken, made / name, place)
                question = {
                    "id": damage,
                    "path": str(place),
                    "sound": str(made / name),
                    "options": {"class": auto(name)} if args.loader == "transformers" else {},
                }
                try:
                    result = process.ask(question, args.timeout)
                except WorkerDied as death:
                    process.close()
                    process = WorkerProcess(args.python, args.loader)
                    result = {"outcome": "fails", "detail": str(death)[-300:]}
                raised = result.get("exception") or {}
                text = (
                    f"{raised.get('type', '')}: {raised.get('text', '')}".replace(scratch, "")[:300]
                    if raised
                    else None
                )
                detail = (result.get("detail") or "").replace(scratch, "")[:200]
                rows[name, damage] = {
                    "model": name,
                    "damage": damage,
                    "outcome": result["outcome"],
                    "raised": text,
                    "detail": detail,
                }
            path.write_text("".join(json.dumps(row) + "\n" for row in rows.values()), encoding="utf-8")
        process.close()


def _rows(path: Path) -> list[dict[str, str]]:
    return (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    )


def _save(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
