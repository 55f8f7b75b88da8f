"""Which index types, parameters and metrics a backend really supports, checked before anything is created."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from router.errors import ConfigurationError
from router.settings import MilvusIndexSettings

LITE_TYPES = ("FLAT", "HNSW", "HNSW_SQ", "IVF_FLAT", "IVF_SQ8", "AUTOINDEX")
"""Milvus Lite 3.2.2 also accepts IVF_PQ, SCANN and DISKANN, but breaks on them after the collection is released and loaded."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A whole number in a range, or one of some words. `default` is sent when the setting leaves it out; None sends nothing."""

    low: int = 0
    high: int = 0
    words: tuple[str, ...] = ()
    default: int | str | None = None
    is_required: bool = False
    is_server_only: bool = False
    """Milvus Lite takes it and does nothing with it."""

    @property
    def allowed(self) -> str:
        return f"one of {', '.join(self.words)}" if self.words else f"a whole number from {self.low} to {self.high}"

    def accepts(self, value: object) -> bool:
        if self.words:
            return value in self.words
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class IndexKind:
    build: Mapping[str, Parameter] = field(default_factory=dict)
    search: Mapping[str, Parameter] = field(default_factory=dict)
    since: tuple[int, int] = (2, 3)
    breadth: str = ""
    """The search parameter that must not be below the number of hits asked for; the larger of the two is sent."""


_GRAPH = {"M": Parameter(2, 2048, default=16), "efConstruction": Parameter(1, 2**31 - 1, default=200)}
_EF = {"ef": Parameter(1, 2**31 - 1, default=64)}
_LISTS = {"nlist": Parameter(1, 65536, default=128)}
_PROBES = {"nprobe": Parameter(1, 65536, default=16)}
_QUANTIZERS = Parameter(words=("SQ4U", "SQ6", "SQ8", "BF16", "FP16"), default="SQ8", is_server_only=True)

# Parameters and ranges: https://milvus.io/docs/index-vector-fields.md; defaults as in that page's examples.
KINDS: dict[str, IndexKind] = {
    "FLAT": IndexKind(),
    "AUTOINDEX": IndexKind(),
    "HNSW": IndexKind(_GRAPH, _EF, breadth="ef"),
    "HNSW_SQ": IndexKind({**_GRAPH, "sq_type": _QUANTIZERS}, _EF, since=(2, 5), breadth="ef"),
    "IVF_FLAT": IndexKind(_LISTS, _PROBES),
    "IVF_SQ8": IndexKind(_LISTS, _PROBES),
    "IVF_PQ": IndexKind({**_LISTS, "m": Parameter(1, 65536, is_required=True), "nbits": Parameter(1, 24, default=8)}, _PROBES),
    "SCANN": IndexKind(_LISTS, {**_PROBES, "reorder_k": Parameter(1, 2**31 - 1)}, breadth="reorder_k"),
    "DISKANN": IndexKind({}, {"search_list": Parameter(1, 65535, default=100)}, breadth="search_list"),
}
ROUNDED = frozenset({"IVF_SQ8", "IVF_PQ"})
"""Of the types that Milvus 2.3 has, those that do not keep the vectors themselves."""
READS_BACK_SINCE = (2, 4)


@dataclass(frozen=True, slots=True)
class VectorIndex:
    """A checked choice. `asked` is the setting's type, `type` what is created."""

    asked: str
    type: str
    metric: str
    build: Mapping[str, int | str]
    search: Mapping[str, int | str]
    breadth: str
    is_lite: bool

    def search_parameters(self, limit: int) -> dict[str, int | str]:
        parameters = dict(self.search)
        if self.breadth in parameters:
            parameters[self.breadth] = max(int(parameters[self.breadth]), limit)
        return parameters

    @property
    def may_miss_rows(self) -> bool:
        """Whether a filter, and every search has one for the tenant, can exclude all the rows that the index looks at.

        Servers see to that for HNSW themselves; Milvus Lite does not, and for lists (IVF, SCANN) nobody does.
        """
        return "nlist" in self.build or (self.is_lite and "ef" in self.search)

    def exhaustive_parameters(self, rows: int) -> dict[str, int | str]:
        """Parameters with which an index that may miss rows looks at all of them."""
        return {**self.search, "nprobe": self.build["nlist"]} if "nlist" in self.build else {"ef": max(1, rows)}


def checked_index(settings: MilvusIndexSettings, *, is_lite: bool, version: tuple[int, int], dimension: int) -> VectorIndex:
    """What the settings ask for, if this backend supports it.

    Raises:
        ConfigurationError: Names `milvus.index.type`, `.build` or `.search` and what is allowed.
    """
    kind = KINDS[settings.type]
    if is_lite and settings.type not in LITE_TYPES:
        raise ConfigurationError(
            f"milvus.index.type: Milvus Lite has no {settings.type}; use one of {', '.join(LITE_TYPES)}, or a server (milvus.uri)",
            field="milvus.index.type",
        )
    if not is_lite and version < kind.since:
        allowed = [name for name, other in KINDS.items() if version >= other.since]
        raise ConfigurationError(
            f"milvus.index.type: {settings.type} needs Milvus {kind.since[0]}.{kind.since[1]}, the server is "
            f"{version[0]}.{version[1]}; use one of {', '.join(allowed)}",
            field="milvus.index.type",
        )
    known = {name: parameter for name, parameter in kind.build.items() if not (is_lite and parameter.is_server_only)}
    build = _checked(settings.build, known, f"milvus.index.build of {settings.type}", "milvus.index.build")
    search = _checked(settings.search, kind.search, f"milvus.index.search of {settings.type}", "milvus.index.search")
    if "nprobe" in search and int(search["nprobe"]) > int(build["nlist"]):
        if "nprobe" in settings.search:
            raise ConfigurationError(
                f"milvus.index.search: nprobe = {search['nprobe']} is more than nlist = {build['nlist']}",
                field="milvus.index.search.nprobe",
            )
        search["nprobe"] = build["nlist"]
    if "m" in build and dimension % int(build["m"]):
        divisors = [part for part in range(1, dimension + 1) if dimension % part == 0]
        near = sorted(sorted(divisors, key=lambda part: abs(part - int(build["m"])))[:3])
        raise ConfigurationError(
            f"milvus.index.build: m = {build['m']} does not divide the dimension {dimension} of the embeddings; "
            f"use {', '.join(map(str, near[:-1]))} or {near[-1]}",
            field="milvus.index.build.m",
        )
    # What Lite calls AUTOINDEX is its HNSW, which at the sizes that Lite is for (10k rows) is slower than its FLAT (30 ms against
    # 12 ms) and misses rows under a filter. The best index there is FLAT.
    created = "FLAT" if is_lite and settings.type == "AUTOINDEX" else settings.type
    return VectorIndex(settings.type, created, settings.metric, build, search, kind.breadth, is_lite)


def check_existing(index: VectorIndex, described: Mapping[str, object], collection: str) -> None:
    """Refuse a collection whose index is not what the settings ask for.

    Raises:
        ConfigurationError: Says both ways out.
    """
    _same("metric", index.metric, described.get("metric_type"), collection)
    if index.asked == "AUTOINDEX":
        return  # whatever is there was chosen before
    _same("type", index.type, described.get("index_type"), collection)
    for name, value in index.build.items():
        if name in described:
            _same(f"build.{name}", value, described[name], collection)


def check_reading(index_type: str, *, is_lite: bool, version: tuple[int, int]) -> None:
    """Refuse to read vectors back where that destroys them.

    An index of rounded vectors has the server read the vectors from its files. Milvus 2.3 with files in a folder (`storageType: local`)
    then removes them (https://github.com/milvus-io/milvus/issues/30651): all of the collection's searches fail from its next loading on.
    A client cannot see where a server keeps its files.

    Raises:
        ConfigurationError: Names `milvus.index.type` and the ways out.
    """
    if index_type in ROUNDED and not is_lite and (0, 0) < version < READS_BACK_SINCE:
        raise ConfigurationError(
            f"milvus.index.type: Milvus {version[0]}.{version[1]} can lose the vectors of {index_type} when they are read back, as at "
            "every start; use HNSW or IVF_FLAT and another milvus.collection_prefix, into which the corpus is indexed again, or a newer "
            "server",
            field="milvus.index.type",
        )


def _same(setting: str, wanted: object, found: object, collection: str) -> None:
    if str(wanted) != str(found):
        raise ConfigurationError(
            f"milvus.index.{setting}: the collection {collection!r} was made with {found}, the setting is {wanted}; set it to {found}, "
            "or choose another milvus.collection_prefix, into which the corpus is indexed again",
            field=f"milvus.index.{setting}",
        )


def _checked(given: Mapping[str, int | float | str], known: Mapping[str, Parameter], what: str, setting: str) -> dict[str, int | str]:
    for name, value in given.items():
        if name not in known:
            allowed = f"allowed: {', '.join(known)}" if known else "it has none"
            raise ConfigurationError(f"{what}: there is no parameter {name!r}; {allowed}", field=f"{setting}.{name}")
        if not known[name].accepts(value):
            raise ConfigurationError(f"{what}: {name} is {value!r}, but must be {known[name].allowed}", field=f"{setting}.{name}")
    for name, parameter in known.items():
        if parameter.is_required and name not in given:
            raise ConfigurationError(f"{what}: {name} is needed, {parameter.allowed}", field=f"{setting}.{name}")
    chosen = {name: given.get(name, parameter.default) for name, parameter in known.items()}
    return {name: value for name, value in chosen.items() if isinstance(value, int | str)}
