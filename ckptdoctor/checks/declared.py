"""What quantization_config says about the weights against what their tensors say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..checkpoint.declared_scheme import Said, said
from ..checkpoint.names import join
from ..checkpoint.nouns import Declared, Signature
from ..loaders.shared.modules import is_mlx
from ..model import Fact, Hit, Location, Skip
from ..schemes.formats import formats
from ..schemes.solve import explains, solve
from ..skiplists.entries import Entry
from ..skiplists.matching import matched
from .base import Context, Need, Params, needs

_SCHEMES = {
    "gptq": ("gptq",),
    "mlx": ("mlx-affine",),
    "awq": ("awq", "awq-gemv", "awq-gemv-fast"),
    "compressed-tensors": ("ct-packed",),
    "fp8": ("fp8-block",),
}
"""Method → schemes whose numbers its block states."""


def _told(context: Context) -> Iterator[tuple[Declared, Said]]:
    """Yield the declaration that loaders go by, with what it says."""
    for declared in context.ckpt.declared():
        yield declared, said(declared)
        return


def _stored(context: Context, declared: Declared) -> Iterator[Signature]:
    mlx = not declared.method and is_mlx(context.ckpt)
    wanted: Sequence[str] = _SCHEMES.get("mlx" if mlx else declared.method, ())
    for signature in context.view.signatures:
        if signature.stored.scheme in wanted and all(leaf.dtype for leaf in signature.leaves):
            yield signature


def numbers(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield modules whose ``key`` (bits or group) settles to another number than is declared for them."""
    key = str(params["key"])
    for declared, told in _told(context):
        expected = told.bits if key == "bits" else told.group
        if expected is None or told.block is not None:
            continue
        found = matched(context.view, declared)
        if found.doubt or (told.varies and not found.entries):
            yield Skip(
                "", "abstained", found.doubt or "the config tells modules apart in a way that is not known"
            )
            continue
        own, skipped = found.of("override"), found.of("skip")
        place = declared.pointer + told.pointer
        for signature in _stored(context, declared):
            settled = _settled(signature, told)
            got, width = settled.get(key), settled.get("in")
            if got is None or (not own and _agree(key, expected, got, width)):
                continue
            wrong = {(expected, place): signature.modules}
            if own or skipped:
                wrong = _by_number(signature.modules, own, skipped, key, (expected, place))
            for (value, pointer), modules in wrong.items():
                meant = told._replace(bits=value) if key == "bits" else told._replace(group=value)
                if modules and not _agree(key, value, got, width) and not _may_be(signature, meant):
                    facts: dict[str, Fact] = {
                        "declared": value,
                        "stored": got,
                        "scheme": signature.stored.scheme,
                    }
                    leaf = signature.leaves[0].name
                    names = [join(module, leaf) for module in modules[:99]]
                    at = tuple(Location(context.view.owner.get(name, ""), tensor=name) for name in names)
                    at = (*at, Location(declared.file, pointer))
                    yield Hit(facts, at, signature.template, len(modules))


def _by_number(
    modules: Sequence[str],
    own: Mapping[str, Entry],
    skipped: Mapping[str, Entry],
    key: str,
    usual: tuple[int, str],
) -> dict[tuple[int, str], list[str]]:
    """Return the number declared and where it stands → the modules that it is meant for."""
    found: dict[tuple[int, str], list[str]] = {}
    for module in modules:
        if module not in skipped:
            entry = own.get(module)
            value = _number(entry, key) if entry else None
            found.setdefault((value, entry.pointer) if entry and value is not None else usual, []).append(
                module
            )
    return found


def _number(entry: Entry, key: str) -> int | None:
    value = entry.settings.get("bits" if key == "bits" else "group_size")
    return value if type(value) is int else None


def _agree(key: str, declared: int, stored: int, width: int | None) -> bool:
    """Whether two numbers come to the same: one group a row, or as many groups either way."""
    if declared == stored:
        return True
    if key != "group" or width is None:
        return False
    return (declared == -1 and stored == width) or -(-width // stored) == -(-width // max(1, declared))


_WIDTHS, _GROUPS = (4, 8), (128, 64, 32, "in")
"""Of compressed-tensors' packed weights, what is published; with all that may be the shapes seldom settle anything."""


def _settled(signature: Signature, told: Said) -> Mapping[str, int | None]:
    """Return what the shapes settle, of the usual widths and groups and the declared width."""
    stored = signature.stored
    if stored.scheme != "ct-packed":
        return {"bits": stored.bits, "group": stored.group, "in": stored.in_features}
    format_ = next(known for known in formats() if known.id == stored.scheme)
    usual = format_._replace(bits=tuple({*_WIDTHS, told.bits or _WIDTHS[0]}), groups=_GROUPS)
    return solve(usual, {leaf.name: leaf for leaf in signature.leaves}).values


def _may_be(signature: Signature, told: Said) -> bool:
    """Whether the tensors may have what is declared, though the schemes' usual widths and groups say otherwise.

    compressed-tensors 0.12 left gaps in each word for widths that do not divide 32, 0.20 leaves none; such are not
    judged.
    """
    if signature.stored.scheme == "ct-packed" and told.bits and 32 % told.bits:
        return True
    format_ = next(known for known in formats() if known.id == signature.stored.scheme)
    return explains(format_, {leaf.name: leaf for leaf in signature.leaves}, told.bits, told.group)


_ZEROS = 48
"""Bytes of zero points to look at: whole fields of every width, and no more than the smallest row has."""


def _zeros(context: Context) -> Iterator[tuple[Declared, Said, Signature, str]]:
    """Yield the first symmetric GPTQ module, whose packed zero points are all the same."""
    for declared, told in _told(context):
        if declared.method != "gptq" or told.symmetric is not True:
            continue
        for signature in _stored(context, declared):
            if signature.stored.bits and signature.leaf("qzeros") and signature.modules:
                yield declared, told, signature, join(signature.modules[0], "qzeros")
                return


def _zero_words(context: Context, params: Params) -> Iterator[Need]:
    for *_, tensor in _zeros(context):
        yield Need(tensor, _ZEROS)


@needs(_zero_words)
def zeros_label(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield once if symmetric zero points are those of the other GPTQ format than the one declared.

    A symmetric quantiser of 4 bits has zero point 8; the first format stores it less one (0x77777777), the second as
    is: ``convert_gptq_v2_to_v1_format_module`` of
    https://github.com/ModelCloud/GPTQModel/blob/v7.7.0/gptqmodel/utils/model.py takes one off every packed field.
    """
    for declared, told, signature, tensor in _zeros(context):
        data = context.micro.get(tensor)
        if not data:
            yield Skip("", "abstained", "the zero points could not be read")
            continue
        bits = signature.stored.bits or 0
        middle = 1 << bits - 1
        names = {_packed(middle - 1, bits): "gptq", _packed(middle, bits): "gptq_v2"}
        stored = names.get(data[:bits]) if data == data[:bits] * (len(data) // bits) else None
        label = told.format or "gptq"
        if stored is not None and label in ("gptq", "gptq_v2") and label != stored:
            at = (Location(declared.file, declared.pointer), Location("", tensor=tensor))
            facts: dict[str, Fact] = {"declared": label, "stored": stored, "bits": bits}
            yield Hit(facts, at, signature.template, signature.count)


def _packed(value: int, bits: int) -> bytes:
    """Return eight fields of one value, packed without gaps, which is as many bytes as a field has bits."""
    return sum(value << bits * field for field in range(8)).to_bytes(bits, "little")
