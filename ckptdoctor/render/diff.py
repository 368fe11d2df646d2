"""A difference as a page for people, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence

from ..comparing.nouns import Difference, Document, Group, Module, Side
from ..model.words import amount
from . import Page
from .layout import Line, Segment, hang, paint, seg, size
from .safe import clean, dumps, elide

_FEW = 12


def text(found: Difference, page: Page) -> str:
    """Return the page."""
    lines: list[Line] = [*_side("A", found.left, page), *_side("B", found.right, page), []]
    for said in found.words:
        lines += hang([Segment("  ")], said, page, "strong")
    if found.same:
        lines += hang([Segment("  ✓ ", "ok")], "nothing that was compared differs", page)
    rows: list[Line] = []
    for item in found.changed:
        label: Line = [
            Segment("  ~ ", "warn"),
            seg(clean(item.template)),
            Segment(f" ×{len(item.names)}  " if len(item.names) > 1 else "  ", "dim"),
        ]
        rows += hang(label, f"{_stored(item.left)} → {_stored(item.right)}", page, indent=6)
    rows += _few([_group("-", "fails", group, page) for group in found.only_left])
    rows += _few([_group("+", "ok", group, page) for group in found.only_right])
    if found.values is not None:
        rows += _few([_group("≠", "warn", group, page, "other values") for group in found.values.other])
    lines += [[], *rows] if rows else []
    for document in found.documents:
        lines += [[], *_document(document, page)]
    return paint(lines, page)


def _side(name: str, side: Side, page: Page) -> list[Line]:
    amounts = f"{amount(side.tensors, 'tensor')} · {size(side.size)} · {amount(len(side.files), 'file')}"
    about = f"  {' + '.join(side.schemes[:3])} · {amounts}"
    label = elide(clean(side.label), max(page.width - len(about) - 3, 12))
    return [[Segment(f"{name}  "), seg(label, "strong"), Segment(about, "dim")]]


def _stored(module: Module) -> str:
    """Return scheme and shape of the weight, else every leaf."""
    if module.shape is not None and None not in module.shape:
        return f"{module.scheme} {list(module.shape)}"
    leaves = ", ".join(f"{name} {dtype} {list(shape)}" for name, dtype, shape in module.leaves[:4])
    return leaves + (" …" if len(module.leaves) > 4 else "")


def _group(sign: str, style: str, group: Group, page: Page, about: str = "") -> Line:
    name = elide(clean(group.template), page.width - 24)
    count = f" ×{len(group.names)}" if len(group.names) > 1 else ""
    return [Segment(f"  {sign} ", style), seg(name), Segment(f"{count}  {about}".rstrip(), "dim")]


def _few(rows: Sequence[Line]) -> list[Line]:
    more = len(rows) - _FEW
    return [*rows[:_FEW], *([[Segment(f"    … and {more} more kinds", "dim")]] if more > 0 else [])]


def _document(document: Document, page: Page) -> list[Line]:
    name = seg(clean(document.file), "strong")
    if not (document.left and document.right):
        return [[Segment("  "), name, Segment(f"  only in {'A' if document.left else 'B'}", "dim")]]
    if not document.members:
        return [[Segment("  "), name, Segment("  differs", "dim")]]
    lines: list[Line] = [[Segment("  "), name]]
    for member in document.members:
        pair = (
            f"{'–' if member.left is None else member.left} → {'–' if member.right is None else member.right}"
        )
        lines += hang([Segment("    "), seg(clean(member.pointer)), Segment("  ")], pair, page, indent=8)
    if document.more:
        lines.append([Segment(f"    … and {document.more} more", "dim")])
    return lines


def as_json(found: Difference) -> str:
    """Return the difference as JSON."""
    values = found.values
    value = {
        "schema": 1,
        "a": found.left._asdict(),
        "b": found.right._asdict(),
        "same": found.same,
        "words": list(found.words),
        "prefix": None if found.prefix is None else list(found.prefix),
        "changed": [
            {"template": c.template, "count": len(c.names), "names": list(c.names[:100]),
             "a": _module(c.left), "b": _module(c.right)}
            for c in found.changed
        ],
        "only_a": [_listed(group) for group in found.only_left],
        "only_b": [_listed(group) for group in found.only_right],
        "files": [
            {"file": d.file, "in": [s for s, there in (("a", d.left), ("b", d.right)) if there],
             "members": [{"pointer": m.pointer, "a": m.left, "b": m.right} for m in d.members], "more": d.more}
            for d in found.documents
        ],
        "values": None if values is None else {
            "same": values.counts[0], "other": values.counts[1], "differ": [_listed(g) for g in values.other],
        },
    }  # fmt: skip
    return dumps(value)


def _listed(group: Group) -> dict[str, object]:
    return {"template": group.template, "count": len(group.names), "names": list(group.names[:100])}


def _module(module: Module) -> dict[str, object]:
    leaves = [{"name": name, "dtype": dtype, "shape": list(shape)} for name, dtype, shape in module.leaves]
    return {"scheme": module.scheme, "tensors": leaves}
