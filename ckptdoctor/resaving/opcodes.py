"""A pickle read as data: the few opcodes that a file of tensors needs, and three names, each with a meaning of ours.

Nothing is imported and nothing of Python's unpickler is used. A name that is not one of those ends the reading, and so
does anything that is not a dictionary of tensors. Cost is bounded: a step per opcode, no value is ever copied or
compared deeply, and the text of a pickle bounds the number of its opcodes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from .torchnames import (
    BYTES,
    DTYPES,
    ORDERED,
    PARAMETER,
    REBUILD,
    REBUILD_3,
    STORAGES,
    Global,
    Refused,
    Storage,
    View,
    is_size,
    view_of,
)

MAX_PICKLE = 64 * 1024 * 1024
"""Bytes of one pickle; that of a model with 10^5 tensors has some 20 MB."""
MAX_NAME = 1_000


__all__ = ["MAX_NAME", "MAX_PICKLE", "Reader", "Refused", "Storage", "View"]


class _Mark:
    pass


_MARK = _Mark()


class Reader:
    """Reads one pickle from ``data`` beginning at ``at``; ``end`` is where it stopped."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data = data
        self.end = at
        self._stack: list[object] = []
        self._memo: dict[int, object] = {}
        self._calls: dict[int, Callable[[], None]] = _TABLE(self)

    def read(self) -> object:
        """Return what the pickle holds. Raises Refused."""
        while True:
            code = self._take(1)[0]
            if code == 0x2E:  # STOP
                return self._pop()
            action = self._calls.get(code)
            if action is None:
                raise Refused(f"opcode {code:#04x} at byte {self.end - 1}, which no file of tensors needs")
            action()

    def _take(self, count: int) -> bytes:
        end = self.end + count
        if count < 0 or end > len(self._data):
            raise Refused("it ends in the middle")
        found = self._data[self.end : end]
        self.end = end
        return found

    def _number(self, form: str) -> int:
        value = struct.unpack(form, self._take(struct.calcsize(form)))[0]
        assert isinstance(value, int)
        return value

    def _text(self, form: str) -> None:
        try:
            self._stack.append(self._take(self._number(form)).decode("utf-8", "surrogatepass"))
        except UnicodeDecodeError as error:
            raise Refused("a text is not UTF-8") from error

    def _line(self) -> str:
        stop = self._data.find(b"\n", self.end, self.end + MAX_NAME)
        if stop < 0:
            raise Refused("a line without an end")
        return self._take(stop + 1 - self.end)[:-1].decode("utf-8", "replace")

    def _pop(self) -> object:
        if not self._stack or self._stack[-1] is _MARK:
            raise Refused("its stack is empty")
        return self._stack.pop()

    def _above_mark(self) -> list[object]:
        for place in range(len(self._stack) - 1, -1, -1):
            if self._stack[place] is _MARK:
                found = self._stack[place + 1 :]
                del self._stack[place:]
                return found
        raise Refused("a mark is missing")

    def _tuple(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self._stack.append(tuple(reversed(items)))

    def _get(self, key: int) -> None:
        if key not in self._memo:
            raise Refused(f"memo {key} is empty")
        self._stack.append(self._memo[key])

    def _put(self, key: int) -> None:
        value = self._pop()
        self._memo[key] = value
        self._stack.append(value)

    def _global(self, module: object, name: object) -> None:
        found = (module, name)
        ours = module in ("torch", "torch.storage") and (name in STORAGES or name in DTYPES or name == BYTES)
        if not ours and found not in (REBUILD, REBUILD_3, PARAMETER, ORDERED):
            raise Refused(f"it asks for {str(module)[:100]}.{str(name)[:100]}, which is no tensor")
        self._stack.append(Global(str(module), str(name)))

    def _named(self) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise Refused("a name that is no text")
        self._global(module, name)

    def _lined(self) -> None:
        module = self._line()
        self._global(module, self._line())

    def _persistent(self) -> None:
        found = self._pop()
        if type(found) is not tuple or len(found) not in (5, 6) or found[0] != "storage":
            raise Refused("a persistent id that is no storage")
        kind, key, elements = found[1], found[2], found[4]
        if not isinstance(kind, Global) or not isinstance(key, str) or not is_size(elements):
            raise Refused("a storage that is not described as torch does")
        if len(found) == 6 and found[5] is not None:
            raise Refused("a storage that is a view of another (torch before 0.4)")
        if kind.name not in STORAGES and kind.name != BYTES:
            raise Refused(f"a storage of {kind.name}")
        self._stack.append(Storage(STORAGES.get(kind.name, "U8"), key, elements))

    def _reduce(self) -> None:
        given, what = self._pop(), self._pop()
        if not isinstance(what, Global) or type(given) is not tuple:
            raise Refused("a call of something that was not named")
        name = (what.module, what.name)
        if name == ORDERED and given == ():
            self._stack.append({})
        elif name == REBUILD and 6 <= len(given) <= 7:
            self._stack.append(view_of(given[0], given[1], given[2], given[3], None))
        elif name == REBUILD_3 and 7 <= len(given) <= 8:
            self._stack.append(view_of(given[0], given[1], given[2], given[3], given[6]))
        elif name == PARAMETER and given and isinstance(given[0], View):
            self._stack.append(given[0])
        else:
            raise Refused(f"a call of {what.name} with other arguments than torch writes")

    def _build(self) -> None:
        self._pop()  # the _metadata of a state dict: versions of modules
        if not isinstance(self._stack[-1] if self._stack else None, dict):
            raise Refused("a state for something that is no dictionary")

    def _set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._fill([key, value])

    def _fill(self, items: list[object]) -> None:
        target = self._stack[-1] if self._stack else None
        if not isinstance(target, dict) or len(items) % 2:
            raise Refused("items for something that is no dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, (str, int)):
                raise Refused("a key that is no name")
            target[key] = value

    def _extend(self, items: list[object]) -> None:
        target = self._stack[-1] if self._stack else None
        if not isinstance(target, list):
            raise Refused("items for something that is no list")
        target.extend(items)

    def _long(self) -> None:
        count = self._take(1)[0]
        self._stack.append(int.from_bytes(self._take(count), "little", signed=True))


def _TABLE(reader: Reader) -> dict[int, Callable[[], None]]:  # noqa: N802
    push = reader._stack.append
    number, text = reader._number, reader._text
    actions: dict[bytes, Callable[[], None]] = {
        b"\x80": lambda: _protocol(reader._take(1)[0]),
        b"\x95": lambda: _none(reader._take(8)),
        b"(": lambda: push(_MARK),
        b"0": lambda: _none(reader._pop()),
        b"N": lambda: push(None),
        b"\x88": lambda: push(True),
        b"\x89": lambda: push(False),
        b"K": lambda: push(number("<B")),
        b"M": lambda: push(number("<H")),
        b"J": lambda: push(number("<i")),
        b"G": lambda: push(struct.unpack(">d", reader._take(8))[0]),
        b"\x8a": reader._long,
        b"X": lambda: text("<I"),
        b"\x8c": lambda: text("<B"),
        b"U": lambda: text("<B"),
        b"T": lambda: text("<I"),
        b")": lambda: push(()),
        b"\x85": lambda: reader._tuple(1),
        b"\x86": lambda: reader._tuple(2),
        b"\x87": lambda: reader._tuple(3),
        b"t": lambda: push(tuple(reader._above_mark())),
        b"]": lambda: push([]),
        b"}": lambda: push({}),
        b"a": lambda: reader._extend([reader._pop()]),
        b"e": lambda: reader._extend(reader._above_mark()),
        b"s": reader._set_item,
        b"u": lambda: reader._fill(reader._above_mark()),
        b"q": lambda: reader._put(number("<B")),
        b"r": lambda: reader._put(number("<I")),
        b"\x94": lambda: reader._put(len(reader._memo)),
        b"h": lambda: reader._get(number("<B")),
        b"j": lambda: reader._get(number("<I")),
        b"c": reader._lined,
        b"\x93": reader._named,
        b"Q": reader._persistent,
        b"R": reader._reduce,
        b"b": reader._build,
    }
    return {code[0]: action for code, action in actions.items()}


def _none(value: object) -> None:
    """Let a value go."""


def _protocol(number: int) -> None:
    if number > 5:
        raise Refused(f"pickle protocol {number}")
