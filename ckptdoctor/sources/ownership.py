"""Whether an entry of a journal was written here: by this user, with a key that lies outside every checkpoint.

A checkpoint is hostile input, and so is the ``.ckptdoctor/`` that may lie in it. What counts carries a MAC made with a
random key in the user's state directory, and names the inode of the directory it was written for. The device number is
not compared: it changes over a reboot or a remount. Why the journal itself lies in the checkpoint: SECURITY.md.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from contextlib import suppress

HOME = ".ckptdoctor"
JOURNAL = f"{HOME}/journal"
FORGOTTEN = ".forgotten"
"""Ends the name of an entry that could not be taken back and counts no more; it holds what was kept for it."""
VARIABLE = "CKPTDOCTOR_STATE"

_FILE = "journal.key"
_SIZE = 32
_TAG = 16
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0)


class StateError(Exception):
    """The state directory or the key in it cannot be had or not be trusted; the message says what to do."""


def folder() -> str:
    """Return the user's state directory. Raises StateError where there is none."""
    stated = os.environ.get(VARIABLE)
    if stated:
        return os.path.abspath(stated)
    base = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_STATE_HOME", "")
    if not os.path.isabs(base):  # the XDG base directory specification: relative paths are to be ignored
        base = os.path.expanduser("~/AppData/Local" if os.name == "nt" else "~/.local/state")
    if not os.path.isabs(base):
        raise StateError(
            f"expected a home directory for the journal's key, got none; set {VARIABLE}=DIRECTORY."
        )
    return os.path.join(base, "ckptdoctor")


def key(*, make: bool = False) -> bytes | None:
    """Return the key, made on first use with ``make``; else None where there is none yet.

    Raises StateError when it cannot be read or made, or when others than the user could have written it.
    """
    path = os.path.join(folder(), _FILE)
    try:
        if make:
            _make(path)
        descriptor = os.open(path, os.O_RDONLY | _NOFOLLOW | _BINARY)
    except FileNotFoundError:
        return None
    except OSError as error:
        what = "a link" if os.path.islink(path) else error.strerror or str(error)
        raise StateError(
            f"{path}: expected the key of the journal, a file of your own, got: {what}. "
            f"Set {VARIABLE}=DIRECTORY where it can be kept."
        ) from error
    try:
        _private(path, os.fstat(descriptor), 0o077)
        _private(os.path.dirname(path), os.stat(os.path.dirname(path)), 0o022)
        found = os.read(descriptor, _SIZE + 1)
    finally:
        os.close(descriptor)
    if len(found) != _SIZE:
        raise StateError(f"{path}: expected {_SIZE} bytes, got {len(found)}; remove it, and another is made.")
    return found


def _private(path: str, found: os.stat_result, barred: int) -> None:
    """Raise StateError for what another user owns, or may use."""
    if os.name == "nt":  # %LOCALAPPDATA% is the user's own, and mode bits say nothing
        return
    if found.st_uid != os.geteuid():
        raise StateError(f"{path}: expected it to be yours, got one of user {found.st_uid}; set {VARIABLE}.")
    if stat.S_IMODE(found.st_mode) & barred:
        mode = stat.filemode(found.st_mode)
        raise StateError(f"{path}: expected it to be closed to others, got {mode}; `chmod go= {path}`.")


def _make(path: str) -> None:
    """Make the key durably, unless there is one; of two at once the first wins."""
    if os.path.lexists(path):
        return
    place = os.path.dirname(path)
    os.makedirs(place, mode=0o700, exist_ok=True)
    new = f"{path}.{os.getpid()}.{secrets.token_hex(4)}"
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW | _BINARY, 0o600)
    try:
        try:
            os.write(descriptor, secrets.token_bytes(_SIZE))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            os.link(new, path)
        except FileExistsError:
            return
        except OSError:  # a file system without hard links
            os.rename(new, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(new)
    for directory in (place, os.path.dirname(place)) if os.name != "nt" else ():
        with suppress(PermissionError):  # a parent that is not the user's own
            _sync(directory)


def _sync(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def name(number: int, inode: int, secret: bytes) -> str:
    """Return the name of entry ``number`` of the directory with that inode: nobody else can make it up."""
    tag = hmac.new(secret, f"name {number} {inode}".encode(), hashlib.sha256).hexdigest()[:_TAG]
    return f"{number:04d}-{tag}"


def number(text: str, inode: int, secret: bytes | None) -> int | None:
    """Return the number of the entry called ``text``, None when it is not one of the directory with that inode."""
    digits = text.partition("-")[0]
    if secret is None or not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        return None
    expected = name(int(digits), inode, secret)
    return int(digits) if hmac.compare_digest(expected.encode(), os.fsencode(text)) else None


def mac(payload: bytes, secret: bytes) -> bytes:
    """Return the MAC of an entry, in hexadecimal."""
    return hmac.new(secret, b"entry " + payload, hashlib.sha256).hexdigest().encode()


def authentic(payload: bytes, stated: bytes, secret: bytes) -> bool:
    """Whether ``stated`` is the MAC of ``payload``."""
    return hmac.compare_digest(mac(payload, secret), stated)


def foreign(root: str) -> list[str]:
    """Return what lies in the ``.ckptdoctor/`` of ``root`` and was not written here, by its path below ``root``."""
    home, base = os.path.join(root, HOME), os.path.join(root, *JOURNAL.split("/"))
    if not os.path.lexists(home):
        return []
    if not _is_directory(home):
        return [HOME]
    found = [f"{HOME}/{entry}" for entry in _listed(home) if entry != "journal"]
    if not _is_directory(base):
        return [*found, *([JOURNAL] if os.path.lexists(base) else [])]
    try:
        secret = key()
    except StateError:
        secret = None
    inode = os.stat(root).st_ino
    names = [entry for entry in _listed(base) if number(entry.removesuffix(FORGOTTEN), inode, secret) is None]
    return [*found, *(f"{JOURNAL}/{entry}" for entry in names)]


def _is_directory(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _listed(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except OSError:
        return ["?"]
