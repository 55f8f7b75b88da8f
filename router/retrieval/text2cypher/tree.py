"""The allowed part of Cypher as a tree. What has no class here cannot be said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# --- expressions ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Constant:
    value: str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str


@dataclass(frozen=True, slots=True)
class Variable:
    name: str


@dataclass(frozen=True, slots=True)
class Property:
    subject: Expression
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function; `name` as written. `count(*)` has no arguments and a star."""

    name: str
    arguments: tuple[Expression, ...]
    distinct: bool = False
    star: bool = False


@dataclass(frozen=True, slots=True)
class Unary:
    operator: Literal["NOT", "-", "IS NULL", "IS NOT NULL"]
    operand: Expression


@dataclass(frozen=True, slots=True)
class Binary:
    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class ListOf:
    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class MapOf:
    items: tuple[tuple[str, Expression], ...]


@dataclass(frozen=True, slots=True)
class Item:
    """`subject[index]`; the index is a whole number, so that no property can be reached by a computed name."""

    subject: Expression
    index: int


@dataclass(frozen=True, slots=True)
class Slice:
    subject: Expression
    start: int | None
    end: int | None


@dataclass(frozen=True, slots=True)
class Case:
    subject: Expression | None
    branches: tuple[tuple[Expression, Expression], ...]
    otherwise: Expression | None


@dataclass(frozen=True, slots=True)
class Comprehension:
    """`[variable IN source WHERE where | result]`, or with a quantifier `any(variable IN source WHERE where)`."""

    quantifier: Literal["", "all", "any", "none", "single"]
    variable: str
    source: Expression
    where: Expression | None
    result: Expression | None


@dataclass(frozen=True, slots=True)
class HasLabel:
    variable: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PatternTest:
    """A pattern as a condition: whether such a path is there."""

    path: Path


Expression = (
    Constant
    | Parameter
    | Variable
    | Property
    | Call
    | Unary
    | Binary
    | ListOf
    | MapOf
    | Item
    | Slice
    | Case
    | Comprehension
    | HasLabel
    | PatternTest
)

# --- patterns -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Node:
    variable: str | None
    labels: tuple[str, ...]
    """Alternatives."""
    properties: tuple[tuple[str, Expression], ...]


@dataclass(frozen=True, slots=True)
class Relationship:
    variable: str | None
    types: tuple[str, ...]
    """Alternatives."""
    direction: Literal["->", "<-", "--"]
    hops: tuple[int, int] | None = None
    """Fewest and most of a variable length; None: one edge."""


@dataclass(frozen=True, slots=True)
class Path:
    """`nodes` is one longer than `relationships`."""

    nodes: tuple[Node, ...]
    relationships: tuple[Relationship, ...]
    variable: str | None = None
    shortest: Literal["", "shortestPath", "allShortestPaths"] = ""


# --- clauses --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Match:
    optional: bool
    paths: tuple[Path, ...]
    where: Expression | None


@dataclass(frozen=True, slots=True)
class Unwind:
    source: Expression
    variable: str


@dataclass(frozen=True, slots=True)
class Projected:
    expression: Expression
    alias: str | None
    written: str
    """Name of the column when there is no alias: the expression as written."""


@dataclass(frozen=True, slots=True)
class Projection:
    """WITH (`is_last` False) or RETURN."""

    is_last: bool
    distinct: bool
    items: tuple[Projected, ...]
    order: tuple[tuple[Expression, bool], ...]
    """Each with whether it is descending."""
    skip: Expression | None
    limit: Expression | None
    where: Expression | None


Clause = Match | Unwind | Projection


@dataclass(frozen=True, slots=True)
class Query:
    parts: tuple[tuple[Clause, ...], ...]
    """Joined by UNION."""
    keeps_duplicates: bool = False
    """UNION ALL."""
