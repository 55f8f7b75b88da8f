"""Checks a generated query against the schema and writes it anew, so that it can only read and only its own tenant's graph.

Nothing of the text that a model wrote reaches a database. The text is parsed into a small tree (`parser.py`), the tree is checked here,
and a new statement is written from it:

- every node of every pattern carries `tenant: $tenant`, bound by the store; of a path of variable length all nodes are tested;
- labels, relation types and properties are those of the logical schema, put in terms of how the store keeps them; `tenant` and the
  keys have no name in it;
- every text becomes a parameter, also one that stood in the query; variables and columns get names of our own;
- functions are an allow-list; paths have a bound; patterns that nothing ties together, a bare product of everything with everything,
  are refused; rows are limited.

How the store keeps the graph is told in `router/stores/graph/dialect.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from itertools import product
from typing import Any, NoReturn

from router.retrieval.text2cypher import tree
from router.retrieval.text2cypher.parser import parse
from router.retrieval.text2cypher.schema import ABOUT, ENTITY, ENTITY_PROPERTIES, MENTIONS, PASSAGE, PASSAGE_PROPERTIES, GraphSchema
from router.retrieval.text2cypher.tokens import refuse
from router.retrieval.text2cypher.tree import Expression
from router.stores.base import ReadStatement
from router.types import Scalar

Parameters = Mapping[str, Scalar | tuple[Scalar, ...]]

MAX_HOPS = 4
MAX_EDGES = 8
"""Edges of all patterns together, a path of variable length counting with its longest."""
MAX_UNWINDS = 2
MAX_GROWTH = 10
"""Additions, and items of lists and maps: with each, a text or a list can grow by itself."""
MAX_COLLECTED = 1_000
"""A list made by collect() is cut here."""
MAX_SHORTEST = 8
"""Longest shortest path."""
MAX_PARAMETERS = 20
MAX_PARAMETER_CHARS = 500
MAX_LIST = 100
MAX_SKIP = 10_000
MAX_FIGURE = 2**53
MAX_OFFERED = 30
"""Names listed when an unknown one is refused."""
HIDDEN = frozenset({"tenant", "key", "document_key", "document_id", "chunk_id", "id"})
"""Stored properties that a query must not name."""
IDENTIFYING = ("name", "title")
AGGREGATES = frozenset({"count", "collect", "sum", "avg", "min", "max"})
FUNCTIONS: Mapping[str, tuple[str, int, int]] = {
    name.lower(): (name, least, most)
    for name, least, most in (
        ("count", 1, 1), ("collect", 1, 1), ("sum", 1, 1), ("avg", 1, 1), ("min", 1, 1), ("max", 1, 1),
        ("toLower", 1, 1), ("toUpper", 1, 1), ("trim", 1, 1), ("left", 2, 2), ("right", 2, 2), ("substring", 2, 3), ("split", 2, 2),
        ("reverse", 1, 1), ("size", 1, 1), ("head", 1, 1), ("last", 1, 1), ("tail", 1, 1), ("coalesce", 1, 5),
        ("toInteger", 1, 1), ("toFloat", 1, 1), ("toString", 1, 1), ("abs", 1, 1), ("round", 1, 2), ("floor", 1, 1), ("ceil", 1, 1),
        ("sign", 1, 1), ("sqrt", 1, 1),
        ("length", 1, 1), ("nodes", 1, 1), ("relationships", 1, 1), ("startNode", 1, 1), ("endNode", 1, 1),
        ("type", 1, 1), ("labels", 1, 1),
    )
}  # fmt: skip
"""Functions by name in small letters: as both servers write it, fewest and most arguments."""
HINTS = {
    "exists": "use IS NOT NULL",
    "id": "compare the names",
    "elementid": "compare the names",
    "properties": "name the properties that are wanted",
    "keys": "name the properties that are wanted",
}


class Sort(Enum):
    """What a variable stands for."""

    ENTITY = "entity"
    PASSAGE = "passage"
    EDGE = "relation"
    PATH = "path"
    VALUE = "value"


STORED_LABEL = {Sort.ENTITY: ":Entity", Sort.PASSAGE: ":Chunk", Sort.VALUE: ""}
STORED_TYPE = {MENTIONS: "MENTIONS", ABOUT: "SUBJECT"}
PROPERTIES = {Sort.ENTITY: ENTITY_PROPERTIES, Sort.PASSAGE: PASSAGE_PROPERTIES, Sort.VALUE: (*ENTITY_PROPERTIES, *PASSAGE_PROPERTIES)}


@dataclass(frozen=True, slots=True)
class Limits:
    rows: int = 50
    """Most rows taken."""


def guard(text: str, parameters: Parameters, schema: GraphSchema, limits: Limits = Limits()) -> ReadStatement:
    """The statement that may run in place of the text.

    Raises:
        InvalidInput: The text is refused; the reason (CYPHER_...) names the rule and the message says what to write instead.
    """
    query = parse(text)
    _check_parameters(parameters)
    return _Writer(query, parameters, schema, limits).statement()


def _check_parameters(parameters: Parameters) -> None:
    if len(parameters) > MAX_PARAMETERS:
        refuse("PARAMETER", f"more than {MAX_PARAMETERS} parameters")
    for name, value in parameters.items():
        if name.startswith("_") or name.lower() == "tenant":
            refuse("TENANT", f"the parameter {name[:40]!r} is not the query's to give")
        items = value if isinstance(value, tuple) else (value,)
        if len(items) > MAX_LIST:
            refuse("PARAMETER", f"the list {name} has more than {MAX_LIST} items")
        for item in items:
            _check_scalar(item)


def _check_scalar(value: object) -> None:
    if isinstance(value, str):
        if len(value) > MAX_PARAMETER_CHARS:
            refuse("PARAMETER", f"a text is longer than {MAX_PARAMETER_CHARS} characters")
    elif isinstance(value, bool | int | float):
        if not -MAX_FIGURE <= value <= MAX_FIGURE:
            refuse("PARAMETER", f"the figure {value!r} is too large")
    else:
        refuse("PARAMETER", "a parameter is a text, a figure, true or false, or a list of them")


class _Writer:
    def __init__(self, query: tree.Query, parameters: Parameters, schema: GraphSchema, limits: Limits) -> None:
        self._query = query
        self._given = parameters
        self._used: set[str] = set()
        self._schema = schema
        self._limits = limits
        self._values: dict[str, Scalar | tuple[Scalar, ...]] = {}
        self._scope: dict[str, Sort] = {}
        self._names: dict[str, str] = {}
        self._parameters: dict[str, str] = {}
        self._made = 0
        self._edges = 0
        self._unwinds = 0
        self._growth = 0
        self._is_many = False

    def statement(self) -> ReadStatement:
        written: list[str] = []
        columns: tuple[str, ...] | None = None
        for part in self._query.parts:
            self._scope, self._names, self._is_many = {}, {}, False
            *clauses, last = part
            assert isinstance(last, tree.Projection)
            names = tuple(item.alias or item.written for item in last.items)
            if columns is not None and names != columns:
                refuse("SYNTAX", "the parts of a UNION return columns of different names")
            columns = names
            written.append(" ".join([*(self._clause(clause) for clause in clauses), self._projection(last)]))
        assert columns is not None
        if unused := sorted(self._given.keys() - self._used):
            # A model that gives a name and forgets to use it asks about everything instead.
            refuse("PARAMETER", f"the parameter {unused[0][:40]} is given a value and stands nowhere in the query as ${unused[0][:40]}")
        union = " UNION ALL " if self._query.keeps_duplicates else " UNION "
        return ReadStatement(union.join(written), self._values, columns, self._limits.rows)

    def _clause(self, clause: tree.Clause) -> str:
        match clause:
            case tree.Match():
                return self._match(clause)
            case tree.Unwind():
                return self._unwind(clause)
            case tree.Projection():
                return self._projection(clause)

    # --- clauses

    def _match(self, clause: tree.Match) -> str:
        self._refuse_products(clause)
        self._declare_nodes(clause.paths)
        conditions: list[str] = []
        paths = [self._path(path, conditions) for path in clause.paths]
        if clause.where is not None:
            conditions.append(self._expression(clause.where))
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return f"{'OPTIONAL ' if clause.optional else ''}MATCH {', '.join(paths)}{where}"

    def _unwind(self, clause: tree.Unwind) -> str:
        self._unwinds += 1
        if self._unwinds > MAX_UNWINDS:
            refuse("TOO_LARGE", f"more than {MAX_UNWINDS} UNWIND")
        return f"UNWIND {self._expression(clause.source)} AS {self._declare(clause.variable, Sort.VALUE)}"

    def _projection(self, clause: tree.Projection) -> str:
        items: list[tuple[Expression, str]] = []
        texts: list[str] = []
        scope: dict[str, Sort] = {}
        names: dict[str, str] = {}
        for number, item in enumerate(clause.items):
            texts.append(self._expression(item.expression))
            alias = item.alias or (item.expression.name if isinstance(item.expression, tree.Variable) else None)
            if alias is None and not clause.is_last:
                refuse("SYNTAX", f"WITH needs a name for {item.written[:60]!r}: write AS name")
            name = f"c{number}" if clause.is_last else f"v_{alias}"
            if alias is not None:
                if alias in scope:
                    refuse("SYNTAX", f"two columns are called {alias}")
                is_same = isinstance(item.expression, tree.Variable)
                scope[alias], names[alias] = self._scope[item.expression.name] if is_same else Sort.VALUE, name  # type: ignore[union-attr]
            items.append((item.expression, name))
        aggregates = [_aggregates(item.expression) for item in clause.items]
        # ORDER BY sees the new names and, where no rows were merged, the old ones.
        merges = clause.distinct or any(aggregates)
        self._scope, self._names = (scope, names) if merges else ({**self._scope, **scope}, {**self._names, **names})
        written = [
            "RETURN" if clause.is_last else "WITH",
            *(("DISTINCT",) if clause.distinct else ()),
            ", ".join(f"{text} AS {name}" for text, (_, name) in zip(texts, items, strict=True)),
        ]
        if clause.order:
            written += [
                "ORDER BY",
                ", ".join(self._ordered(expression, items) + (" DESC" if down else "") for expression, down in clause.order),
            ]
        if clause.skip is not None:
            written.append(f"SKIP {self._count(clause.skip, MAX_SKIP)}")
        # One row more than is taken tells whether there were more.
        most = self._limits.rows + 1 if clause.is_last else MAX_FIGURE
        if clause.limit is not None or clause.is_last:
            written.append(f"LIMIT {most if clause.limit is None else min(most, self._count(clause.limit, MAX_FIGURE))}")
        self._scope, self._names = scope, names
        if clause.where is not None:
            written += ["WHERE", self._expression(clause.where)]
        self._is_many = self._is_many and not all(aggregates)
        return " ".join(written)

    def _ordered(self, expression: Expression, items: Sequence[tuple[Expression, str]]) -> str:
        # By the column, since after a DISTINCT or an aggregate nothing else is left to order by.
        return next((name for item, name in items if item == expression), None) or self._expression(expression)

    def _count(self, expression: Expression, most: int) -> int:
        value: object = None
        if isinstance(expression, tree.Constant):
            value = expression.value
        elif isinstance(expression, tree.Parameter):
            value = self._value_of(expression)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            refuse("SYNTAX", f"SKIP and LIMIT take a whole number from 0 to {most}")
        return value

    # --- patterns

    def _refuse_products(self, clause: tree.Match) -> None:
        """At most one group of patterns may start anywhere in the graph; others share a variable or name what they start from."""
        named = {_identified_by(conjunct) for conjunct in _conjuncts(clause.where)}
        groups: list[tuple[set[str], bool]] = []
        for path in clause.paths:
            elements: tuple[tree.Node | tree.Relationship, ...] = (*path.nodes, *path.relationships)
            variables = {element.variable for element in elements if element.variable is not None}
            starts = bool(variables & named) or any(key in IDENTIFYING for node in path.nodes for key, _ in node.properties)
            for group in [group for group in groups if group[0] & variables]:
                groups.remove(group)
                variables, starts = variables | group[0], starts or group[1]
            groups.append((variables, starts))
        loose = [variables for variables, starts in groups if not starts and not variables & self._scope.keys()]
        if len(loose) > (0 if self._is_many else 1):
            refuse("CARTESIAN", "patterns that share no variable would be multiplied with each other: join them, or give one {name: $...}")
        self._is_many = self._is_many or bool(loose)

    def _declare_nodes(self, paths: Sequence[tree.Path]) -> None:
        """Passages first: a node may stand unlabelled in one pattern and leave a MENTIONS in the next."""
        places = [(node, sort) for path in paths for node, sort in zip(path.nodes, self._sorts(path), strict=True)]
        for wanted in (Sort.PASSAGE, Sort.ENTITY):
            for node, sort in places:
                if node.variable is not None and node.variable not in self._scope and sort is wanted:
                    self._declare(node.variable, sort)

    def _sorts(self, path: tree.Path) -> list[Sort]:
        """Of each node. An unlabelled one is a passage when MENTIONS or ABOUT leaves it, else an entity."""
        return [self._sort_of(node, path, place) for place, node in enumerate(path.nodes)]

    def _sort_of(self, node: tree.Node, path: tree.Path, place: int) -> Sort:
        if node.labels:
            return Sort.PASSAGE if any(label.upper() == PASSAGE.upper() for label in node.labels) else Sort.ENTITY
        if node.variable in self._scope:
            assert node.variable is not None
            return self._scope[node.variable]
        after = path.relationships[place : place + 1]
        before = path.relationships[max(0, place - 1) : place]
        leaving = [edge for edge in after if edge.direction != "<-"] + [edge for edge in before if edge.direction == "<-"]
        return Sort.PASSAGE if any(name.upper() in STORED_TYPE for edge in leaving for name in edge.types) else Sort.ENTITY

    def _path(self, path: tree.Path, conditions: list[str]) -> str:
        """A path of a MATCH; what cannot stand in the pattern is added to the conditions."""
        sorts = self._sorts(path)
        texts = [self._node(path.nodes[0], sorts[0], conditions)]
        for place, edge in enumerate(path.relationships):
            texts.append(self._edge(edge, sorts[place : place + 2], conditions, shortest=bool(path.shortest)))
            texts.append(self._node(path.nodes[place + 1], sorts[place + 1], conditions))
        pattern = "".join(texts)
        if path.shortest:
            if len(path.relationships) != 1 or path.relationships[0].hops is None:
                refuse("SYNTAX", f"{path.shortest} takes two nodes and one relation of variable length, such as -[*..6]-")
            pattern = f"{path.shortest}({pattern})"
        has_hidden_nodes = any(edge.hops is not None for edge in path.relationships)
        if path.variable is None and not has_hidden_nodes:
            return pattern
        name = self._fresh() if path.variable is None else self._declare(path.variable, Sort.PATH)
        if has_hidden_nodes:
            conditions.append(f"all(n IN nodes({name}) WHERE n.tenant = $tenant)")
        return f"{name} = {pattern}"

    def _node(self, node: tree.Node, sort: Sort, conditions: list[str]) -> str:
        kinds = self._kinds(node.labels)
        name = "" if node.variable is None else self._name_of(node.variable)
        if kinds is not None and len(kinds) > 1:
            name = name or self._fresh()
            conditions.append(f"{name}.kind IN {self._parameter(kinds)}")
        return f"({name}{self._node_body(node, sort, kinds)})"

    def _node_body(self, node: tree.Node, sort: Sort, kinds: tuple[str, ...] | None) -> str:
        if sort not in STORED_LABEL:
            refuse("UNKNOWN_NAME", f"{node.variable} stands for a {sort.value}, not for a node")
        properties = {"tenant": "$tenant"}
        for key, value in node.properties:
            self._check_property(key, sort)
            if key in properties:
                refuse("SYNTAX", f"the property {key} is given twice")
            properties[key] = self._expression(value)
        if kinds is not None and len(kinds) == 1:
            if "kind" in properties:
                refuse("SYNTAX", "a label and the property kind say the same: give one of them")
            properties["kind"] = self._parameter(kinds[0])
        return f"{STORED_LABEL[sort]} {{{', '.join(f'{key}: {value}' for key, value in properties.items())}}}"

    def _kinds(self, labels: Sequence[str]) -> tuple[str, ...] | None:
        """Stored kinds that the labels stand for; None: any."""
        plain = {label.upper() for label in labels}
        if len(plain) > 1 and PASSAGE.upper() in plain:
            refuse("SYNTAX", "a node is either a Passage or an entity")
        kinds: set[str] = set()
        for label in labels:
            if label.upper() in (ENTITY.upper(), PASSAGE.upper()):
                return None
            known = self._schema.labels.get(label.upper())
            if known is None:
                self._refuse_unknown("label", label, (ENTITY, PASSAGE, *self._schema.labels))
            kinds.update(known.kinds)
        return tuple(sorted(kinds)) if labels else None

    def _edge(self, edge: tree.Relationship, ends: Sequence[Sort], conditions: list[str], *, shortest: bool) -> str:
        stored, relations = self._types(edge, ends)
        name = ""
        if edge.variable is not None:
            if edge.variable in self._scope:
                refuse("SYNTAX", f"{edge.variable} is the name of something else: every relation has a name of its own")
            name = self._declare(edge.variable, Sort.EDGE if edge.hops is None else Sort.VALUE)
        properties = ""
        if len(relations) == 1 and not shortest:
            properties = f" {{relation: {self._parameter(relations[0])}}}"
        elif relations:
            name = name or self._fresh()
            wanted = self._parameter(relations)
            conditions.append(f"{name}.relation IN {wanted}" if edge.hops is None else f"all(e IN {name} WHERE e.relation IN {wanted})")
        self._count_edges(edge, shortest=shortest)
        hops = "" if edge.hops is None else f"*{edge.hops[0]}..{edge.hops[1]}"
        return _arrow(edge, f"{name}:{stored}{hops}{properties}")

    def _count_edges(self, edge: tree.Relationship, *, shortest: bool) -> None:
        most = MAX_SHORTEST if shortest else MAX_HOPS
        if edge.hops is not None and not edge.hops[0] <= edge.hops[1] <= most:
            refuse("UNBOUNDED", f"a path of variable length has at most {most} relations here")
        self._edges += 1 if edge.hops is None or shortest else edge.hops[1]
        if self._edges > MAX_EDGES:
            refuse("TOO_LARGE", f"the patterns have more than {MAX_EDGES} relations in all")

    def _types(self, edge: tree.Relationship, ends: Sequence[Sort]) -> tuple[str, tuple[str, ...]]:
        """The stored types of an edge, and the stored relations that it may have (none: any)."""
        own = [STORED_TYPE[name.upper()] for name in edge.types if name.upper() in STORED_TYPE]
        if not edge.types:
            return ("FACT|MENTIONS|SUBJECT" if Sort.VALUE in ends else "MENTIONS|SUBJECT" if Sort.PASSAGE in ends else "FACT"), ()
        if len(own) == len(edge.types):
            return "|".join(dict.fromkeys(own)), ()
        if own:
            refuse("SYNTAX", f"{MENTIONS} and {ABOUT} leave passages, the other relations entities: use two patterns")
        relations: set[str] = set()
        for name in edge.types:
            known = self._schema.relations.get(name.upper())
            if known is None:
                self._refuse_unknown("relation", name, (MENTIONS, ABOUT, *self._schema.relations))
            relations.update(known.relations)
        return "FACT", tuple(sorted(relations))

    def _test(self, path: tree.Path) -> str:
        """A pattern as a condition. Nothing can be named in it, so alternatives become several patterns."""
        sorts = self._sorts(path)
        choices: list[list[str]] = []
        for place, (node, sort) in enumerate(zip(path.nodes, sorts, strict=True)):
            if place:
                edge = path.relationships[place - 1]
                if edge.variable is not None or edge.hops is not None:
                    refuse("SYNTAX", "a pattern in a condition can neither name its relations nor be of variable length")
                self._count_edges(edge, shortest=False)
                stored, relations = self._types(edge, sorts[place - 1 : place + 1])
                bodies = [f":{stored} {{relation: {self._parameter(relation)}}}" for relation in relations] or [f":{stored}"]
                choices.append([_arrow(edge, body) for body in bodies])
            name = "" if node.variable is None else self._name_of(node.variable)
            kinds = self._kinds(node.labels)
            choices.append(
                [f"({name}{self._node_body(node, sort, one)})" for one in ([None] if kinds is None else [(kind,) for kind in kinds])]
            )
        written = ["".join(choice) for choice in product(*choices)]
        if len(written) > MAX_EDGES:
            refuse("TOO_LARGE", "a pattern in a condition has too many alternatives")
        return f"({' OR '.join(written)})"

    # --- expressions

    def _expression(self, expression: Expression) -> str:
        match expression:
            case tree.Constant(value):
                return self._constant(value)
            case tree.Parameter():
                return self._parameter(self._value_of(expression))
            case tree.Variable(name):
                return self._name_of(name)
            case tree.Property(subject, name):
                self._check_property(name, self._scope.get(subject.name, Sort.VALUE) if isinstance(subject, tree.Variable) else Sort.VALUE)
                return f"{self._expression(subject)}.{name}"
            case tree.Call():
                return self._call(expression)
            case tree.Unary(operator, operand):
                text = self._expression(operand)
                return f"({text} {operator})" if operator.startswith("IS") else f"({operator} {text})"
            case tree.Binary(operator, left, right):
                self._grow(1 if operator == "+" else 0)
                return f"({self._expression(left)} {operator} {self._expression(right)})"
            case tree.ListOf(items):
                self._grow(sum(not isinstance(item, tree.Constant | tree.Parameter) for item in items))
                return f"[{', '.join(self._expression(item) for item in items)}]"
            case tree.MapOf(pairs):
                return self._map(pairs)
            case tree.Item(subject, index):
                return f"{self._expression(subject)}[{index}]"
            case tree.Slice(subject, start, end):
                return f"{self._expression(subject)}[{'' if start is None else start}..{'' if end is None else end}]"
            case tree.Case():
                return self._case(expression)
            case tree.Comprehension():
                return self._comprehension(expression)
            case tree.HasLabel(variable, labels):
                kinds = self._kinds(labels)
                if kinds is not None:
                    return f"({self._name_of(variable)}.kind IN {self._parameter(kinds)})"
                stored = "title" if labels[0].upper() == PASSAGE.upper() else "kind"
                return f"({self._name_of(variable)}.{stored} IS NOT NULL)"
            case tree.PatternTest(path):
                return self._test(path)

    def _constant(self, value: str | int | float | bool | None) -> str:
        if value is None or isinstance(value, bool):
            return {None: "null", True: "true", False: "false"}[value]
        _check_scalar(value)
        return str(value) if isinstance(value, int) else self._parameter(value)

    def _call(self, call: tree.Call) -> str:
        known = FUNCTIONS.get(call.name.lower())
        if known is None:
            hint = HINTS.get(call.name.lower(), f"allowed are {', '.join(sorted(name for name, _, _ in FUNCTIONS.values()))}")
            refuse("FUNCTION", f"the function {call.name[:40]} is not allowed: {hint}")
        name, least, most = known
        if call.star:
            if name != "count":
                refuse("FUNCTION", f"{name}(*) is not allowed")
            return "count(*)"
        if not least <= len(call.arguments) <= most:
            refuse("FUNCTION", f"{name} takes {least if least == most else f'{least} to {most}'} arguments")
        if call.distinct and name not in AGGREGATES:
            refuse("FUNCTION", f"{name} takes no DISTINCT")
        arguments = ", ".join(self._expression(argument) for argument in call.arguments)
        if name in ("type", "labels"):
            if not isinstance(call.arguments[0], tree.Variable):
                refuse("FUNCTION", f"{name} takes a variable")
            kept = f"{arguments}.relation, type({arguments})" if name == "type" else f"{arguments}.kind, '{PASSAGE}'"
            return f"coalesce({kept})" if name == "type" else f"[coalesce({kept})]"
        if name == "collect":
            return f"collect({'DISTINCT ' if call.distinct else ''}{arguments})[0..{MAX_COLLECTED}]"
        return f"{name}({'DISTINCT ' if call.distinct else ''}{arguments})"

    def _map(self, pairs: Sequence[tuple[str, Expression]]) -> str:
        self._grow(sum(not isinstance(value, tree.Constant | tree.Parameter) for _, value in pairs))
        names = [name for name, _ in pairs]
        if len(set(names)) < len(names) or any(name.startswith("_") for name in names):
            refuse("SYNTAX", "the names in a map differ from each other and begin with a letter")
        return f"{{{', '.join(f'{name}: {self._expression(value)}' for name, value in pairs)}}}"

    def _case(self, case: tree.Case) -> str:
        subject = "" if case.subject is None else f" {self._expression(case.subject)}"
        branches = "".join(f" WHEN {self._expression(when)} THEN {self._expression(then)}" for when, then in case.branches)
        otherwise = "" if case.otherwise is None else f" ELSE {self._expression(case.otherwise)}"
        return f"CASE{subject}{branches}{otherwise} END"

    def _comprehension(self, found: tree.Comprehension) -> str:
        source = self._expression(found.source)
        if found.quantifier and found.where is None:
            refuse("SYNTAX", f"{found.quantifier}() needs WHERE")
        others = {part.name for part in _parts(found.result) if isinstance(part, tree.Variable)} - {found.variable}
        if any(self._scope.get(name, Sort.VALUE) in (Sort.VALUE, Sort.PATH) for name in others):
            # [x IN list | list] squares it.
            refuse("TOO_LARGE", "a list comprehension may hold no other list than its own")
        if found.variable in self._scope:
            refuse("SYNTAX", f"{found.variable} is the name of something else")
        name = self._declare(found.variable, Sort.VALUE)
        where = "" if found.where is None else f" WHERE {self._expression(found.where)}"
        result = "" if found.result is None else f" | {self._expression(found.result)}"
        del self._scope[found.variable], self._names[found.variable]
        inner = f"{name} IN {source}{where}{result}"
        return f"{found.quantifier}({inner})" if found.quantifier else f"[{inner}]"

    # --- names and values

    def _declare(self, variable: str, sort: Sort) -> str:
        if variable in self._scope:
            refuse("SYNTAX", f"{variable} is the name of something else")
        self._scope[variable] = sort
        # Not the written name: it may be a word that one of the servers reserves.
        self._names[variable] = f"v_{variable}"
        return self._names[variable]

    def _fresh(self) -> str:
        self._made += 1
        return f"g{self._made}"

    def _name_of(self, variable: str) -> str:
        if variable not in self._names:
            self._refuse_unknown("variable", variable, tuple(self._scope))
        return self._names[variable]

    def _check_property(self, name: str, sort: Sort) -> None:
        if name.lower() in HIDDEN:
            refuse("TENANT", f"the property {name} is not part of the graph's schema")
        allowed = PROPERTIES.get(sort, ())
        if name not in allowed:
            what = "a relation has no properties, its name is type(r)" if sort is Sort.EDGE else f"there are {', '.join(allowed) or 'none'}"
            refuse("UNKNOWN_NAME", f"no {sort.value} has a property {name[:40]!r}: {what}")

    def _value_of(self, parameter: tree.Parameter) -> Scalar | tuple[Scalar, ...]:
        if parameter.name not in self._given:
            if parameter.name.lower() == "tenant":
                refuse("TENANT", "the parameter tenant is not the query's to name")
            refuse("PARAMETER", f"the parameter ${parameter.name[:40]} has no value")
        self._used.add(parameter.name)
        return self._given[parameter.name]

    def _parameter(self, value: Scalar | tuple[Scalar, ...]) -> str:
        # Equal values share a parameter, so that equal expressions stay equal (a grouping key and its ORDER BY).
        name = self._parameters.setdefault(repr(value), f"p{len(self._parameters)}")
        self._values[name] = value
        return f"${name}"

    def _grow(self, by: int) -> None:
        self._growth += by
        if self._growth > MAX_GROWTH:
            refuse("TOO_LARGE", f"more than {MAX_GROWTH} additions and items of lists")

    def _refuse_unknown(self, what: str, name: str, known: Sequence[str]) -> NoReturn:
        listed = ", ".join(known[:MAX_OFFERED]) or "none"
        refuse("UNKNOWN_NAME", f"there is no {what} {name[:40]!r}; there are {listed}")


def _arrow(edge: tree.Relationship, body: str) -> str:
    return f"{'<' if edge.direction == '<-' else ''}-[{body}]-{'>' if edge.direction == '->' else ''}"


def _conjuncts(expression: Expression | None) -> Iterator[Expression]:
    if isinstance(expression, tree.Binary) and expression.operator == "AND":
        yield from _conjuncts(expression.left)
        yield from _conjuncts(expression.right)
    elif expression is not None:
        yield expression


def _identified_by(condition: Expression) -> str | None:
    """The variable that the condition ties to a name given in the query."""
    if not isinstance(condition, tree.Binary):
        return None
    one, other = condition.left, condition.right
    if condition.operator == "OR":
        found = _identified_by(one)
        return found if found == _identified_by(other) else None
    if condition.operator not in ("=", "IN"):
        return None
    if condition.operator == "=" and not _is_given(other):
        one, other = other, one
    if isinstance(one, tree.Call) and one.name.lower() in ("tolower", "toupper", "trim") and len(one.arguments) == 1:
        one = one.arguments[0]
    is_name = isinstance(one, tree.Property) and isinstance(one.subject, tree.Variable) and one.name in IDENTIFYING
    return one.subject.name if is_name and _is_given(other) else None  # type: ignore[union-attr]


def _is_given(expression: Expression) -> bool:
    return not any(isinstance(part, tree.Variable | tree.Comprehension | tree.PatternTest) for part in _parts(expression))


def _aggregates(expression: Expression) -> bool:
    return any(isinstance(part, tree.Call) and part.name.lower() in AGGREGATES for part in _parts(expression))


def _parts(item: Any) -> Iterator[Any]:
    """An expression and all that it is made of."""
    if isinstance(item, tuple):
        for one in item:
            yield from _parts(one)
    elif is_dataclass(item):
        yield item
        for part in fields(item):
            yield from _parts(getattr(item, part.name))
