"""A behaviour has one name: what the code asks for is in the data, and what is in the data is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ckptdoctor.rulebook import behaviours
from ckptdoctor.rulebook.document import load
from ckptdoctor.ruledata import RulebookError

Check = Callable[..., None]
DATA = """\
loader: vllm
behaviour:
  - {name: reads-twice, versions: ">=1", evidence: source}
"""
CODE = """\
class Run:
    def does(self, behaviour):
        return facts.does(self.data, behaviour, self.version)
def read(run):
    return run.does("reads-twice")
"""


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Check a toy loader whose data and code are given."""

    def checked(data: str, code: str, room: str = "vllm/model.py") -> None:
        (tmp_path / "vllm.yaml").write_text(data)
        path = tmp_path / "code" / room
        path.parent.mkdir(parents=True)
        path.write_text(code)
        behaviours.check({"vllm": load(tmp_path / "vllm.yaml", "rules/loaders/vllm.yaml")}, tmp_path / "code")

    return checked


@pytest.mark.parametrize("room", ["vllm/model.py", "vllm.py", "shared/names.py"])
def test_a_name_that_both_know_is_right(check: Check, room: str) -> None:
    check(DATA, CODE, room)


def test_a_name_that_only_the_code_knows(check: Check) -> None:
    with pytest.raises(
        RulebookError, match=r"vllm/model.py:7 asks for 'reads-thrice', which no row is called"
    ):
        check(DATA, CODE + 'def write(run):\n    return run.does("reads-thrice")\n')


def test_a_name_that_only_the_data_knows(check: Check) -> None:
    more = DATA + '  - {name: never-asked, versions: ">=1", evidence: source}\n'
    with pytest.raises(RulebookError, match=r"vllm.yaml:4: behaviour: no code asks for .* 'never-asked'"):
        check(more, CODE)


def test_a_name_is_written_out(check: Check) -> None:
    with pytest.raises(
        RulebookError, match=r"vllm/model.py:5: expected the name of a behaviour, written out"
    ):
        check(DATA, CODE.replace('run.does("reads-twice")', "run.does(NAME)"))


def test_the_loaders_ask_and_know_the_same() -> None:
    """The tree's own; compiling the rulebook says the same, but not when only the code changed since."""
    rules = Path(behaviours.LOADERS).parents[1] / "rules" / "loaders"
    behaviours.check({path.stem: load(path, path.name) for path in rules.glob("*.yaml")})
    assert len(list(behaviours.asked(behaviours.LOADERS))) > 40
