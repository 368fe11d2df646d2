"""Damaged settings, baselines, cards, journals and error texts: each is read, or refused with its own kind of error."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from pathlib import Path

from ckptdoctor import baseline, ruledata, settings
from ckptdoctor.explain import explain
from ckptdoctor.rulebook import custom

from . import journals
from .bases import ROOT

SETTINGS = b"""for = ["vllm==0.32.0"]
fail-on = ["error", "unknown"]
[ignore]
"bnb/missing-companion" = "known"
[severity]
"container/trailing" = "note"
[[paths]]
match = "models/*"
select = ["bnb"]
"""
BASELINE = b"""{"schema": 1, "checkpoints": {"model": {"0123456789abcdef":
 {"rule": "bnb/missing-companion", "count": 2, "message": "a text"}}}}"""
ERROR = b"KeyError: 'layers.24.mlp.down_proj.weight.absmax'"
PIECES = (
    *(
        b"\x00",
        b"\xff",
        b"[",
        b"]",
        b"{",
        b"}",
        b'"',
        b"'",
        b":",
        b"=",
        b"\n",
        b"  ",
        b"- ",
        b"null",
        b"true",
    ),
    *(b"-1", b"1e999", b"9" * 5000, b"*a", b"&a ", b"<<: ", b"!!python/object:os.system ", b"[" * 3000),
    *(b"{a: " * 500, b"\\ud800", b"../.."),
)
Lane = tuple[str, bytes, Callable[[bytes], object]]


def damaged(text: bytes, rng: random.Random) -> bytes:
    """Return ``text`` with one to three places changed."""
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(text) + 1)
        choice = rng.random()
        if choice < 0.5:
            text = text[:place] + rng.choice(PIECES) + text[place:]
        elif choice < 0.8:
            text = text[:place] + text[place + rng.randrange(1, 12) :]
        else:
            other = rng.randrange(len(text) + 1)
            text = text[:place] + text[other : other + 40] + text[place:]
    return text


def lanes(folder: Path) -> list[Lane]:
    """Return name, sound text and reader of everything that is fuzzed here; files are written in ``folder``."""

    def of_file(
        name: str, read: Callable[[Path], object], *errors: type[Exception]
    ) -> Callable[[bytes], object]:
        def run(text: bytes) -> object:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
            try:
                return read(path)
            except errors as error:
                return str(error)

        return run

    rulebook = ruledata.load()
    card = (ROOT / "rules/bnb/missing-companion.yaml").read_bytes()
    return [
        ("settings", SETTINGS, of_file("ckptdoctor.toml", settings.read, settings.SettingsError)),
        ("baseline", BASELINE, of_file("baseline.json", baseline.read, baseline.BaselineError)),
        ("card", card, of_file(
            "own/card.yaml", lambda path: custom.extended(rulebook, [path.parent]), ruledata.RulebookError)),
        ("journal", *journals.reader(folder / "journal", rulebook)),
        ("explain", ERROR, lambda text: explain(text.decode("utf-8", "replace"), rulebook)),
    ]  # fmt: skip


def run(count: int, rng: random.Random) -> list[str]:
    """Read ``count`` damaged texts of each lane; return what went wrong."""
    broken = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, text, read in lanes(Path(scratch)):
            for _ in range(count):
                changed = damaged(text, rng)
                try:
                    read(changed)
                except Exception as error:
                    broken.append(f"{name}: raised {type(error).__name__}: {error} on {changed!r}"[:3000])
    return broken
