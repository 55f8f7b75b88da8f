"""`eval ablation`: the fused list with one part off at a time. A part that does not earn its cost is to be removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from router.configuration import overridden
from router.errors import ConfigurationError, InvalidInput
from router.settings import Settings

FULL = "full"


@dataclass(frozen=True, slots=True)
class Variant:
    """A configuration that differs from the measured one in these settings."""

    name: str
    overrides: Mapping[str, str]
    """Dotted path -> YAML text of the value, as `--set` takes them."""

    def of(self, settings: Settings) -> Settings:
        """The settings with this difference.

        Raises:
            ConfigurationError: A setting that does not exist, or a value that it does not take; names the variant.
        """
        try:
            return overridden(settings, self.overrides)
        except ConfigurationError as error:
            raise ConfigurationError(f"the variant {self.name!r}: {error.message}", field="variant") from error


VARIANTS = (
    Variant("no entities", {"fusion.walk.entity_edge_weight": "0"}),
    Variant("no aliases", {"fusion.walk.alias_edge_weight": "0"}),
    Variant("not drawn by the question", {"fusion.walk.question_sharpness": "0"}),
    Variant("no steps along edges", {"fusion.walk.damping": "0"}),
    Variant("no BM25", {"sources.vector.lexical_weight": "0"}),
    Variant("no walk: rrf", {"fusion.method": "rrf"}),
    Variant("no walk: weighted", {"fusion.method": "weighted"}),
    Variant("no rerank", {"rerank.method": "none"}),
)
"""Each takes one part away."""


def parse_variant(text: str) -> Variant:
    """`NAME=path=value[,path=value]`.

    Raises:
        InvalidInput: It is not of this form.
    """
    name, _, assignments = text.partition("=")
    overrides = {}
    for assignment in assignments.split(","):
        path, equals, value = assignment.partition("=")
        if not (name.strip() and path.strip() and equals):
            raise InvalidInput(f"{text!r} is not of the form NAME=path=value[,path=value]", field="variant")
        overrides[path.strip()] = value
    return Variant(name.strip(), overrides)


def planned_variants(settings: Settings, own: Sequence[Variant], only: Sequence[str]) -> list[tuple[Variant, Settings]]:
    """Variants with their settings; those that change anything (no rerank is nothing new where nothing reranks).

    Args:
        settings: The full configuration.
        own: Further variants; one with a known name takes its place.
        only: Names of known variants; empty: all.

    Raises:
        InvalidInput: A name in `only` that no known variant has.
        ConfigurationError: As `Variant.of`.
    """
    known = {variant.name: variant for variant in VARIANTS}
    for name in only:
        if name not in known:
            raise InvalidInput(f"there is no variant {name!r}; there are {sorted(known)}", field="only")
    chosen = {name: known[name] for name in only} or known
    planned = [(variant, variant.of(settings)) for variant in (chosen | {variant.name: variant for variant in own}).values()]
    return [(variant, changed) for variant, changed in planned if changed != settings]
