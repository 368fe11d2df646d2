"""The nouns every layer speaks. Standard library only; nothing here does I/O or decides anything.

Values move one way: Source → Checkpoint → Reading → Hit → Finding → Report. The types on the hot path are
NamedTuples: creating 25 frozen dataclasses costs 26 ms at start-up, these cost next to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

Outcome: TypeAlias = Literal["fails", "fails-late", "corrupt", "wrong-precision", "unknown", "ok"]
Severity: TypeAlias = Literal["error", "warning", "note"]
Evidence: TypeAlias = Literal["observed", "source", "assumed"]
Origin: TypeAlias = Literal["requested", "installed", "assumed"]
SkipKind: TypeAlias = Literal["not-applicable", "abstained", "blind"]
Safety: TypeAlias = Literal["safe", "unsafe", "manual"]
Scalar: TypeAlias = str | int | float | bool | None
Fact: TypeAlias = Scalar | tuple[Scalar, ...]
Facts: TypeAlias = Mapping[str, Fact]

OUTCOMES: tuple[Outcome, ...] = ("fails", "fails-late", "corrupt", "wrong-precision", "unknown", "ok")
"""Outcome words, worst first: the verdict of a target is the first of these among its findings."""

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
MAX_LOCATIONS = 100

_RANK: dict[str, int] = {word: rank for rank, word in enumerate(OUTCOMES)}


def worst(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the worst of ``outcomes`` (``ok`` when there are none)."""
    return min(outcomes, key=_RANK.__getitem__, default="ok")


class Target(NamedTuple):
    """One loader at one version, as the user runs it."""

    loader: str
    """``transformers``, ``vllm``, ``unsloth``, ``peft``, …"""
    versions: Mapping[str, str]
    """Package → version, the loader itself included."""
    options: Mapping[str, Scalar] = {}
    """Load options such as ``load_in_4bit``, ``fast_inference``, ``tp``."""
    device: str = "any"
    origin: Origin = "requested"
    sweep: str = ""
    """The ``--for`` text with a range of versions (``vllm==*``) that this target is one release of, else empty."""

    @property
    def version(self) -> str:
        """Version of the loader package itself (empty when the model of that loader has no versions)."""
        return self.versions.get(self.loader, "")

    @property
    def label(self) -> str:
        """``vllm==0.32.0,vllm-bnb-plugin==0.0.3,tp=2``: canonical, unique in a run, accepted by ``--for``."""
        packages = [f"{self.loader}=={self.version}"] if self.version else [self.loader]
        packages += [f"{name}=={version}" for name, version in self.versions.items() if name != self.loader]
        packages += [f"{key}={str(value).lower()}" for key, value in self.options.items()]
        return ",".join(packages)


class Location(NamedTuple):
    """Where in a checkpoint; symbolic (pointer or tensor) until the engine fills in line and column."""

    file: str
    pointer: str | None = None
    """JSON pointer (RFC 6901) into ``file``."""
    tensor: str | None = None
    line: int | None = None
    column: int | None = None
    note: str | None = None


class JsonSet(NamedTuple):
    """Set the value at a JSON pointer (``was`` is a 1-tuple with the old value, or () if the key is absent)."""

    file: str
    pointer: str
    value: object
    was: tuple[object, ...] = ()


class JsonDrop(NamedTuple):
    """Remove the key at a JSON pointer."""

    file: str
    pointer: str
    was: tuple[object, ...]


class TensorRename(NamedTuple):
    """Give a tensor another name in its shard's header (and in the index)."""

    file: str
    tensor: str
    to: str


class TensorView(NamedTuple):
    """Read the same bytes of a tensor as another dtype and shape (header edit only)."""

    file: str
    tensor: str
    dtype: str
    shape: tuple[int, ...]
    was: tuple[str, tuple[int, ...]]


class MetaSet(NamedTuple):
    """Set (or with ``value=None`` drop) a key of a shard's ``__metadata__``."""

    file: str
    key: str
    value: str | None
    was: str | None


class FileWrite(NamedTuple):
    """Write a whole small file; ``was`` is its sha256, or None when it must not exist."""

    file: str
    content: bytes
    was: str | None


class FileMove(NamedTuple):
    """Rename a file inside the checkpoint."""

    file: str
    to: str


class FileDrop(NamedTuple):
    """Cut a file to ``size`` bytes (proven trailing bytes only)."""

    file: str
    size: int
    was: int


class DirRename(NamedTuple):
    """Rename the checkpoint's directory (last and alone in a plan)."""

    to: str


Edit: TypeAlias = (
    JsonSet | JsonDrop | TensorRename | TensorView | MetaSet | FileWrite | FileMove | FileDrop | DirRename
)


class Fix(NamedTuple):
    """A repair: what it is called, how sure it is, and the edits (none when it is manual)."""

    title: str
    safety: Safety
    edits: tuple[Edit, ...] = ()


class Hit(NamedTuple):
    """What a check yields: one cause, all its victims. It carries no words."""

    facts: Facts
    """Values for the card's message and ``when`` rows; part of the fingerprint, so no file or directory names
    unless the cause is that very name."""
    at: tuple[Location, ...] = ()
    """First places (at most ``MAX_LOCATIONS``)."""
    subject: str = ""
    """Name template (``model.layers.*.mlp.down_proj``) or ``""`` when the whole checkpoint is meant."""
    count: int = 1  # type: ignore[assignment]  # hides tuple.count, which nobody calls
    outcome: Mapping[str, Outcome] | None = None
    """Target label → outcome, only for loaders whose card says ``computed``."""
    fix: Fix | None = None
    error: Mapping[str, str] | None = None
    """Target label → the loader's error text, where the loader model computed it."""


class Skip(NamedTuple):
    """A rule that could not be judged; only ``blind`` (bytes could not be had) weakens an ``ok``."""

    rule: str
    kind: SkipKind
    reason: str


class Crash(NamedTuple):
    """A rule that raised: a bug in ckptdoctor, reported and survived."""

    rule: str
    error: str


class LoaderOutcome(NamedTuple):
    """What a finding means for one target."""

    target: Target
    outcome: Outcome
    error: str | None
    evidence: Evidence


class Finding(NamedTuple):
    """A card × the hits of one cause."""

    rule: str
    severity: Severity
    message: str
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody calls
    locations: tuple[Location, ...]
    facts: Facts
    outcomes: tuple[LoaderOutcome, ...]
    fix: Fix | None
    fingerprint: str
    subject: str = ""


class Suppressed(NamedTuple):
    """A finding that somebody knows and accepts: it is told, and decides neither exit code nor gate."""

    finding: Finding
    reason: str
    """Why, in the words of the settings file; ``in the baseline`` for what a baseline holds."""


class Aspect(NamedTuple):
    """Whether one part of a checkpoint was compared with what a loader needs."""

    state: Literal["yes", "no", "not-applicable"]
    reason: str = ""
    """Why not, or what is left out of a ``yes``."""


class Verdict(NamedTuple):
    """What one loader at one version makes of the checkpoint."""

    target: Target
    outcome: Outcome
    precision: str | None
    because: tuple[str, ...]
    evidence: Evidence
    needs: tuple[str, ...] = ()
    sampled: bool = False
    reason: str = ""
    """One short clause for people: why the outcome is not ``ok``, or why it is ``unknown``."""
    uses: tuple[str, ...] = ()
    """Packages of the target beside the loader itself that had a say: a plug-in only where its method is used."""
    tensor_parallel: tuple[int, ...] | None = None
    """Numbers of devices (up to 64) that the loader can split the model over; None where it is not known."""
    weights: int | None = None
    """Bytes of weights that one device holds once loaded; None where nothing is held or it is not known."""
    compared: Mapping[str, Aspect] = {}
    """container, index, config, quantisation, names, shapes, tokenizer: what the verdict rests on."""


class Unchanged(NamedTuple):
    """What a comparison of versions leaves out, as it is the same in all of them."""

    verdicts: tuple[Verdict, ...] = ()
    findings: int = 0


class BytesRead(NamedTuple):
    """How much of the checkpoint was read, in bytes."""

    headers: int = 0
    json: int = 0
    micro: int = 0


class Report(NamedTuple):
    """Everything a run found out about one checkpoint."""

    target: str
    """The checkpoint as the user typed it."""
    findings: tuple[Finding, ...]
    verdicts: tuple[Verdict, ...]
    skips: tuple[Skip, ...]
    crashes: tuple[Crash, ...]
    schemes: tuple[str, ...]
    bytes_read: BytesRead
    weights: int = 0
    """Bytes of tensor data on disk."""
    rulebook: str = ""
    revision: str | None = None
    rules_run: int = 0
    nothing: str = ""
    """Why there was nothing to check, else empty."""
    suppressed: tuple[Suppressed, ...] = ()
    """Findings that settings or a baseline accept. Verdicts still tell what the loaders do about them."""
    unchanged: Unchanged | None = None
    """Set where ``findings`` and ``verdicts`` are only those that differ between versions of a loader."""
    base: str | None = None
    """The model that an adapter was checked against, as the user typed it."""

    def raise_for(self, loader: str, *, unknown: bool = False) -> None:
        """Raise CheckpointError if ``loader`` (``"vllm"``, or a target's whole label) would not serve this checkpoint.

        It raises for the outcomes fails, fails-late, corrupt and wrong-precision, and where there is nothing to
        check. ``unknown`` passes, since abstaining is no reason to keep a server down, unless ``unknown`` is true.
        Raises ValueError when no verdict of the report is about ``loader``.
        """
        from .errors import CheckpointError

        verdicts = [v for v in self.verdicts if loader in (v.target.loader, v.target.label)]
        if not verdicts:
            known = ", ".join(verdict.target.label for verdict in self.verdicts) or "none"
            raise ValueError(f"no verdict about {loader!r}; this report has: {known}")
        worst_first = sorted(verdicts, key=lambda verdict: _RANK[verdict.outcome])
        refused = _RANK["unknown"] + (1 if unknown else 0)
        if self.nothing or _RANK[worst_first[0].outcome] < refused:
            raise CheckpointError(self, worst_first[0])
