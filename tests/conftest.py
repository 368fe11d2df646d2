"""Shared by all tests: the repository's root and files that ``pytest --update`` writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True, scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the journal's key away from the user's own, for this process and those it starts."""
    place = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CKPTDOCTOR_STATE", str(place))
        yield place


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="write generated files and snapshots again")


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    """Whether this run writes generated files instead of comparing them."""
    return bool(request.config.getoption("--update"))


@pytest.fixture
def generated(update: bool) -> Callable[[Path, str], None]:
    """Assert that a generated file is up to date, or with ``--update`` write it."""

    def compare(path: Path, text: str) -> None:
        if update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        current = path.read_text(encoding="utf-8") if path.exists() else ""
        assert current == text, (
            f"{path.relative_to(ROOT)} is out of date: run pytest --update and read the diff"
        )

    return compare
