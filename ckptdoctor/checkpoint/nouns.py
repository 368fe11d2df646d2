"""What a checkpoint is once its bytes are parsed. Parsing yields defects, never exceptions; nothing here judges."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from ..model import BytesRead, Facts, Location
from ..ruledata import Rulebook
from ..schemes.base import Leaf, QuantState, Stored
from ..sources.base import Source, Stat

__all__ = [
    "Checkpoint",
    "Declared",
    "Defect",
    "Doc",
    "Index",
    "Leaf",
    "QuantState",
    "Shard",
    "Signature",
    "Stored",
    "TensorEntry",
    "View",
]


class TensorEntry(Protocol):
    """One tensor of a safetensors header (a Struct above ~2 MB of header, a tuple below)."""

    @property
    def dtype(self) -> str:
        """Safetensors dtype code, such as ``BF16``."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Dimensions in elements."""
        ...

    @property
    def data_offsets(self) -> tuple[int, int]:
        """Begin and end in bytes, relative to the end of the header."""
        ...


class Defect(NamedTuple):
    """Something a parser could not accept. ``code`` is what a card's ``with: {code: …}`` names."""

    code: str
    at: Location
    facts: Facts = {}


class Doc(Protocol):
    """One JSON file (``jsondoc.Doc``)."""

    @property
    def name(self) -> str:
        """Name of the file."""
        ...

    @property
    def raw(self) -> bytes:
        """The bytes as read, empty when they could not be had."""
        ...

    @property
    def value(self) -> dict[str, object] | None:
        """The one valid object that the file holds, else None."""
        ...

    @property
    def defects(self) -> tuple[Defect, ...]:
        """What is odd about it."""
        ...

    def locate(self, pointer: str) -> tuple[int, int] | None:
        """Return line and column of a JSON pointer, None where there is no such member."""
        ...


class Shard:
    """One ``.safetensors`` file: its header, or nothing but defects when the header cannot be read."""

    __slots__ = ("name", "size", "header_len", "tensors", "metadata", "readable")

    def __init__(
        self,
        name: str,
        size: int,
        header_len: int = 0,
        tensors: Mapping[str, TensorEntry] | None = None,
        metadata: Mapping[str, object] | None = None,
        readable: bool = False,
    ) -> None:
        self.name = name
        self.size = size
        """File size in bytes (stated size for a pointer)."""
        self.header_len = header_len
        """Bytes of header JSON, the 8 length bytes excluded."""
        self.tensors: Mapping[str, TensorEntry] = tensors or {}
        self.metadata = metadata
        """``__metadata__`` as found, None when absent or not an object."""
        self.readable = readable
        """The header was parsed: ``tensors`` is the truth about this file."""


class Index:
    """A shard index (``model.safetensors.index.json`` and its kin)."""

    __slots__ = ("_by_file", "doc", "file", "total_size", "weight_map")

    def __init__(self, file: str, doc: Doc, weight_map: Mapping[str, str], total_size: int | None) -> None:
        self.file = file
        self.doc = doc
        self.weight_map = weight_map
        """Tensor → file name as written; only entries that are strings."""
        self.total_size = total_size
        """``metadata.total_size`` in bytes, when it is a number."""
        self._by_file: dict[str, list[str]] | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """Distinct file names, sorted."""
        return tuple(sorted(self.by_file))

    @property
    def by_file(self) -> Mapping[str, list[str]]:
        """File name → the tensors assigned to it, in the order of the weight map."""
        if self._by_file is None:
            found: defaultdict[str, list[str]] = defaultdict(list)
            for tensor, file in self.weight_map.items():
                found[file].append(tensor)
            self._by_file = dict(found)
        return self._by_file


class Signature:
    """Modules with the same name template, leaves and quantisation state, joined over all shards of a view."""

    __slots__ = ("template", "leaves", "state", "stored", "modules", "_by_name")

    def __init__(
        self,
        template: str,
        leaves: tuple[Leaf, ...],
        state: QuantState | None,
        stored: Stored,
        modules: list[str],
    ) -> None:
        self.template = template
        """``model.layers.*.mlp.down_proj``: every all-digit path component is ``*``."""
        self.leaves = leaves
        """Sorted by name."""
        self.state = state
        self.stored = stored
        self.modules = modules
        """Full module names, in file order."""
        self._by_name = {leaf.name: leaf for leaf in leaves}

    def leaf(self, name: str) -> Leaf | None:
        """Return the leaf called ``name``."""
        return self._by_name.get(name)

    @property
    def count(self) -> int:
        """Number of modules."""
        return len(self.modules)


class View:
    """The tensors of one set of weight files, as a loader that reads exactly these files sees them."""

    __slots__ = ("files", "signatures", "owner", "rulebook", "templates", "memo", "sampled", "beyond")

    def __init__(
        self,
        files: tuple[str, ...],
        signatures: list[Signature],
        owner: Mapping[str, str],
        rulebook: Rulebook,
    ) -> None:
        self.files = files
        """Weight files in the order they are read."""
        self.signatures = signatures
        self.owner = owner
        """Tensor → file it is taken from (the last one wins). May be a lazy mapping."""
        self.rulebook = rulebook
        """The checkpoint's."""
        self.beyond: Defect | None = None
        """Why there are no signatures although there are tensors: they are of more kinds than are judged."""
        self.sampled = False
        """Some quantisation states were inferred from a like module of the same shard, not read."""
        self.memo: dict[str, object] = {}
        """What later stops derive from this view once and share (keyed by who derived it)."""
        self.templates: dict[str, list[Signature]] = {}
        for signature in signatures:
            self.templates.setdefault(signature.template, []).append(signature)

    def locate(self, signature: Signature, leaf: str | None = None, limit: int = 100) -> tuple[Location, ...]:
        """Return where the first ``limit`` modules of ``signature`` are (their ``leaf``, else any leaf)."""
        name = leaf if leaf is not None else (signature.leaves[0].name if signature.leaves else "")
        places = []
        for module in signature.modules[:limit]:
            tensor = f"{module}.{name}" if module else name
            file = self.owner.get(tensor)
            if file is None:  # the leaf is the one that is missing: point at its siblings
                file = next((f for s in signature.leaves if (f := self.owner.get(f"{module}.{s.name}"))), "")
            places.append(Location(file, tensor=tensor))
        return tuple(places)


class Declared(NamedTuple):
    """One place that declares a quantisation."""

    file: str
    pointer: str
    block: Mapping[str, object]
    method: str
    """Normalised ``quant_method`` (lower case, ``compressed_tensors`` → ``compressed-tensors``), "" when absent."""


class Checkpoint:
    """Everything parsed about one checkpoint."""

    __slots__ = (
        "source",
        "rulebook",
        "label",
        "entries",
        "shards",
        "indexes",
        "docs",
        "defects",
        "metadata_only",
        "bytes_read",
        "base",
        "_views",
        "_build",
    )

    def __init__(
        self,
        source: Source,
        rulebook: Rulebook,
        entries: dict[str, Stat],
        metadata_only: bool,
        build: Callable[[Checkpoint, tuple[str, ...]], View],
    ) -> None:
        self.source = source
        self.rulebook = rulebook
        """What is known beforehand: whose schemes the tensors are recognised by, and what every later stop goes by."""
        self.label = source.label
        self.entries = entries
        self.metadata_only = metadata_only
        self.shards: dict[str, Shard] = {}
        """Every ``*.safetensors`` file in the root and those the index names below it, by relative path."""
        self.indexes: dict[str, Index] = {}
        self.docs: dict[str, Doc] = {}
        """Parsed JSON files of the root, by name."""
        self.defects: list[Defect] = []
        self.bytes_read = BytesRead()
        self.base: Checkpoint | None = None
        """The model that an adapter is to be put on, where the user named one."""
        self._views: dict[tuple[str, ...], View] = {}
        self._build = build

    @property
    def config(self) -> Mapping[str, object]:
        """``config.json`` as an object, empty when absent or unreadable."""
        return self.object("config.json")

    @property
    def index(self) -> Index | None:
        """The HF safetensors index of the root."""
        return self.indexes.get("model.safetensors.index.json")

    def object(self, name: str) -> Mapping[str, object]:
        """Return the JSON object in file ``name``, empty when there is none."""
        doc = self.docs.get(name)
        value = doc.value if doc else None
        return value if isinstance(value, dict) else {}

    def view(self, files: tuple[str, ...]) -> View:
        """Return (and keep) the view of ``files``."""
        if files not in self._views:
            self._views[files] = self._build(self, files)
        return self._views[files]
