"""The key of the journal: made once, closed to others, or a clear refusal before anything is written."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from ckptdoctor.fixing.commit import commit
from ckptdoctor.fixing.errors import FixError
from ckptdoctor.sources import ownership

from ..support.crash import restore, snapshot
from .repairs import MODEL, PARTS


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CKPTDOCTOR_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def test_made_on_first_use_closed_to_others_and_kept(home: Path) -> None:
    assert ownership.key() is None
    assert not home.exists()
    made = ownership.key(make=True)
    assert made is not None
    assert len(made) == 32
    assert stat.S_IMODE((home / "journal.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert [path.name for path in home.iterdir()] == ["journal.key"]
    assert ownership.key(make=True) == ownership.key() == made


def _made(_: int) -> bytes | None:
    return ownership.key(make=True)


def test_of_many_at_once_one_key_is_left(home: Path) -> None:
    with ProcessPoolExecutor(4) as pool:
        assert len(set(pool.map(_made, range(40)))) == 1


def test_where_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CKPTDOCTOR_STATE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert ownership.folder() == str(tmp_path / ".local/state/ckptdoctor")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert ownership.folder() == str(tmp_path / "xdg/ckptdoctor")


def _linked(home: Path) -> None:
    (home / "journal.key").rename(home / "elsewhere")
    (home / "journal.key").symlink_to(home / "elsewhere")


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a link": (_linked, "a link"),
    "open to others": (lambda home: (home / "journal.key").chmod(0o666), "closed to others"),
    "read by others": (lambda home: (home / "journal.key").chmod(0o644), "closed to others"),
    "a folder open to others": (lambda home: home.chmod(0o777), "closed to others"),
    "too short": (lambda home: (home / "journal.key").write_bytes(b"x"), "expected 32 bytes, got 1"),
    "empty": (lambda home: (home / "journal.key").write_bytes(b""), "expected 32 bytes, got 0"),
    "a directory": (
        lambda home: ((home / "journal.key").unlink(), (home / "journal.key").mkdir()),
        "expected",
    ),
}


@pytest.mark.parametrize(("spoil", "because"), REFUSED.values(), ids=REFUSED)
def test_a_key_that_others_could_have_written_is_refused(
    spoil: Callable[[Path], object], because: str, home: Path, tmp_path: Path
) -> None:
    ownership.key(make=True)
    spoil(home)
    restore(MODEL, tmp_path / "top")
    with pytest.raises(FixError, match=because):
        commit(str(tmp_path / "top/model"), [PARTS["patch"]], "t")
    assert snapshot(tmp_path / "top") == MODEL


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives files to another user")
def test_a_key_of_another_user_is_refused(home: Path) -> None:
    ownership.key(make=True)
    os.chown(home / "journal.key", 12345, 12345)
    with pytest.raises(ownership.StateError, match="one of user 12345"):
        ownership.key()


def test_no_state_directory_no_repair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    restore(MODEL, tmp_path / "top")
    (tmp_path / "file").write_bytes(b"")
    for place in (tmp_path / "file/state", tmp_path / "top/model/state"):
        monkeypatch.setenv("CKPTDOCTOR_STATE", str(place))
        with pytest.raises(FixError, match="CKPTDOCTOR_STATE"):
            commit(str(tmp_path / "top/model"), [PARTS["patch"]], "t")
        assert snapshot(tmp_path / "top") == MODEL
