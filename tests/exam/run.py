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
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any
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


class Examiner:
    """A real loader in a process of its own, and a new one after each that died."""

    def __init__(self, loader: str, python: str, timeout_s: float) -> None:
        self.loader, self._python, self._timeout_s = loader, python, timeout_s
        self._process = WorkerProcess(python, loader)
        self.version = self._process.ready["versions"][loader].partition("+")[0]

    def ask(self, model: str, damage: str, place: Path, sound: Path) -> dict[str, Any]:
        """Return what the loader did with a damaged model beside its sound twin; a death is a failure."""
        question = {
            "id": damage,
            "path": str(place),
            "sound": str(sound),
            "options": {"class": auto(model)} if self.loader == "transformers" else {},
        }
        try:
            return self._process.ask(question, self._timeout_s)
        except WorkerDied as death:
            self._process.close()
            self._process = WorkerProcess(self._python, self.loader)
            return {"outcome": "fails", "detail": str(death)[-300:]}

    def close(self) -> None:
        """End the process."""
        self._process.close()


def arguments() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("loader", choices=["transformers", "vllm"])
    parser.add_argument("--python", required=True, help="the interpreter of that loader's environment")
    parser.add_argument("--maker", help="an interpreter with transformers, if that is another one")
    parser.add_argument("--model", action="append")
    parser.add_argument("--damage", action="append")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for one model")
    return parser.parse_args()


def main() -> None:
    """Build, damage, load, record."""
    args = arguments()
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch, "sound")
        names = args.model or [*MODELS, *MORE_MODELS]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
        subprocess.run(
            [args.maker or args.python, "-m", "tests.exam.models", made, *names],
            check=True,
            env=environment,
        )
        examiner = Examiner(args.loader, args.python, args.timeout)
        path = EXAM / f"{args.loader}-{examiner.version}.jsonl"
        rows = {(row["model"], row["damage"]): row for row in _rows(path)}
        for name in (name for name in names if (made / name).is_dir()):
            sound = sketch.read(made / name)
            _save(EXAM / "models" / f"{name}.json", sketch.as_json(sound))
            for damage, broken in _damaged(name, sound, args.damage):
                place = Path(scratch, f"{name}-{damage}")
                sketch.write(broken, made / name, place)
                result = examiner.ask(name, damage, place, made / name)
                rows[name, damage] = _row(name, damage, result, scratch)
            path.write_text("".join(json.dumps(row) + "\n" for row in rows.values()), encoding="utf-8")
        examiner.close()


def _damaged(
    model: str, sound: sketch.Sketch, wanted: Collection[str] | None
) -> Iterator[tuple[str, sketch.Sketch]]:
    """Yield the damages that can be done to a model, and what is left of it."""
    for damage, change in asked(model).items():
        broken = change(sound)
        if broken is not None and (not wanted or damage in wanted):
            yield damage, broken


def _row(model: str, damage: str, result: Mapping[str, Any], scratch: str) -> dict[str, Any]:
    """One line of the record, without the paths of this run."""
    raised = result.get("exception") or {}
    text = f"{raised.get('type', '')}: {raised.get('text', '')}".replace(scratch, "")[:300]
    return {
        "model": model,
        "damage": damage,
        "outcome": result["outcome"],
        "raised": text if raised else None,
        "detail": (result.get("detail") or "").replace(scratch, "")[:200],
    }


def _rows(path: Path) -> list[dict[str, Any]]:
    return (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    )


def _save(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
