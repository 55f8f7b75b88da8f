"""A recursive-descent parser of the read-only part of Cypher that a generated query may use.

It is an allow-list: what the grammar below does not derive is refused. Nothing of the text goes further than the tree; what runs is
written anew from the tree by the guard, so that no server can read the text in another way than this parser did.

    query      := part (UNION [ALL] part)* [;]
    part       := (match | unwind | with)* return
    match      := [OPTIONAL] MATCH path (, path)* [WHERE expression]
    path       := [name =] (chain | shortestPath(chain) | allShortestPaths(chain))
    chain      := node (edge node)*
    node       := ( [name] [:label (|label)*] [{name: expression, ...}] )
    edge       := [<] - [ [name] [:type (|[:]type)*] [*[n][..m]] ] - [>]
    unwind     := UNWIND expression AS name
    with       := WITH projection [WHERE expression]
    return     := RETURN projection
    projection := [DISTINCT] expression [AS name] (, ...)* [ORDER BY expression [ASC|DESC], ...] [SKIP expression] [LIMIT expression]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NoReturn, TypeVar

from router.errors import InvalidInput
from router.retrieval.text2cypher import tree
from router.retrieval.text2cypher.tokens import Token, refuse, tokens_of
from router.retrieval.text2cypher.tree import Expression

T = TypeVar("T")

MAX_DEPTH = 30
MAX_OPERATORS = 120
MAX_CLAUSES = 12
MAX_UNIONS = 3
MAX_ATTEMPTS = 100
"""Brackets that may be read in two ways; nested ones cost the product of their readings."""

REFUSED_WORDS = {
    **dict.fromkeys(("CREATE", "MERGE", "SET", "DELETE", "DETACH", "NODETACH", "REMOVE", "INSERT", "FOREACH"), "WRITES"),
    **dict.fromkeys(("CALL", "YIELD"), "PROCEDURE"),
    **dict.fromkeys(("LOAD", "CSV", "PERIODIC"), "READS_FILES"),
    **dict.fromkeys(("USE", "GRAPH"), "SWITCHES_GRAPH"),
    **dict.fromkeys(("EXPLAIN", "PROFILE", "CYPHER"), "PREFIX"),
    **dict.fromkeys(
        ("DROP", "ALTER", "GRANT", "DENY", "REVOKE", "SHOW", "TERMINATE", "START", "STOP", "RENAME", "ENABLE", "DEALLOCATE", "REALLOCATE"),
        "ADMINISTERS",
    ),
}
"""Why a clause that stands where one may begin is refused, when it is more than a slip of syntax."""
_EXPLAINED = {
    "WRITES": "the query may only read",
    "PROCEDURE": "procedures and CALL are not allowed",
    "READS_FILES": "files and addresses cannot be read",
    "SWITCHES_GRAPH": "another graph cannot be named",
    "PREFIX": "no prefix is allowed before the query",
    "ADMINISTERS": "commands to the server are not allowed",
}
RESERVED = frozenset(
    (
        *("ALL", "AND", "AS", "ASC", "ASCENDING", "BY", "CASE", "CONTAINS", "DESC", "DESCENDING", "DISTINCT", "ELSE", "END", "ENDS"),
        *("EXISTS", "FALSE", "FILTER", "FINISH", "FOR", "IN", "IS", "LET", "LIMIT", "MATCH", "MANDATORY", "NEXT", "NOT", "NULL", "OFFSET"),
        *("ON", "OPTIONAL", "OR", "ORDER", "RETURN", "SKIP", "STARTS", "THEN", "TRUE", "UNION", "UNIQUE", "UNWIND", "WHEN", "WHERE"),
        *("WITH", "XOR"),
    )
) | (REFUSED_WORDS.keys() - {"START", "STOP", "GRAPH", "ENABLE", "SHOW", "CSV"})
"""Words that name nothing here, so that a query reads one way only."""
_SHORTEST: tuple[Literal["shortestPath"], Literal["allShortestPaths"]] = ("shortestPath", "allShortestPaths")
_COMPARISONS = ("=", "<>", "<", ">", "<=", ">=")
_QUANTIFIERS = ("all", "any", "none", "single")


def parse(text: str) -> tree.Query:
    """The tree of a query.

    Raises:
        InvalidInput: It is no query of the allowed part of Cypher; the reason (CYPHER_...) names why.
    """
    return _Parser(text).query()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens_of(text)
        self._place = 0
        self._depth = 0
        self._attempts = 0
        self._operators = 0

    # --- clauses

    def query(self) -> tree.Query:
        parts = [self._part()]
        keeps: set[bool] = set()
        while self._takes_word("UNION"):
            keeps.add(self._takes_word("ALL"))
            parts.append(self._part())
        self._takes_sign(";")
        if self._now.kind != "end":
            if self._tokens[self._place - 1].is_sign(";"):
                refuse("SEVERAL_STATEMENTS", "only one statement is allowed")
            self._fail("the end of the query")
        if len(parts) > MAX_UNIONS:
            refuse("TOO_LARGE", f"more than {MAX_UNIONS} parts are joined by UNION")
        if len(keeps) > 1:
            refuse("SYNTAX", "UNION and UNION ALL cannot be mixed")
        return tree.Query(tuple(parts), keeps == {True})

    def _part(self) -> tuple[tree.Clause, ...]:
        clauses: list[tree.Clause] = []
        while True:
            if len(clauses) == MAX_CLAUSES:
                refuse("TOO_LARGE", f"the query has more than {MAX_CLAUSES} clauses")
            clauses.append(self._clause())
            last = clauses[-1]
            if isinstance(last, tree.Projection) and last.is_last:
                return tuple(clauses)

    def _clause(self) -> tree.Clause:
        if self._takes_word("OPTIONAL"):
            self._word("MATCH")
            return self._match(optional=True)
        if self._takes_word("MATCH"):
            return self._match(optional=False)
        if self._takes_word("UNWIND"):
            source = self._expression()
            self._word("AS")
            return tree.Unwind(source, self._name())
        if self._takes_word("WITH"):
            return self._projection(is_last=False)
        if self._takes_word("RETURN"):
            return self._projection(is_last=True)
        return self._fail("MATCH, OPTIONAL MATCH, UNWIND, WITH or RETURN")

    def _match(self, *, optional: bool) -> tree.Match:
        paths = self._several(self._path)
        return tree.Match(optional, paths, self._where())

    def _where(self) -> Expression | None:
        return self._expression() if self._takes_word("WHERE") else None

    def _projection(self, *, is_last: bool) -> tree.Projection:
        distinct = self._takes_word("DISTINCT")
        if self._now.is_sign("*"):
            refuse("SYNTAX", "name what is returned instead of *")
        items = self._several(self._projected)
        order: tuple[tuple[Expression, bool], ...] = ()
        if self._takes_word("ORDER"):
            self._word("BY")
            order = self._several(self._ordered)
        skip = self._expression() if self._takes_word("SKIP") or self._takes_word("OFFSET") else None
        limit = self._expression() if self._takes_word("LIMIT") else None
        return tree.Projection(is_last, distinct, items, order, skip, limit, None if is_last else self._where())

    def _projected(self) -> tree.Projected:
        start = self._now.at
        expression = self._expression()
        last = self._tokens[self._place].at
        written = " ".join(self._text[start:last].split())
        return tree.Projected(expression, self._name() if self._takes_word("AS") else None, written)

    def _ordered(self) -> tuple[Expression, bool]:
        expression = self._expression()
        if self._takes_word("DESC") or self._takes_word("DESCENDING"):
            return expression, True
        _ = self._takes_word("ASC") or self._takes_word("ASCENDING")
        return expression, False

    # --- patterns

    def _path(self) -> tree.Path:
        variable = None
        if self._now.kind == "word" and self._after(1).is_sign("="):
            variable = self._name()
            self._sign("=")
        for shortest in _SHORTEST:
            if self._now.is_word(shortest.upper()) and self._after(1).is_sign("("):
                self._place += 2
                path = self._chain()
                self._sign(")")
                return tree.Path(path.nodes, path.relationships, variable, shortest)
        path = self._chain()
        return tree.Path(path.nodes, path.relationships, variable)

    def _chain(self) -> tree.Path:
        nodes = [self._node()]
        relationships: list[tree.Relationship] = []
        while self._now.is_sign("-") or self._now.is_sign("<"):
            relationships.append(self._relationship())
            nodes.append(self._node())
        return tree.Path(tuple(nodes), tuple(relationships))

    def _node(self) -> tree.Node:
        self._sign("(")
        variable = self._name() if self._now.kind == "word" else None
        labels = self._alternatives("label") if self._takes_sign(":") else ()
        properties = self._map() if self._now.is_sign("{") else ()
        self._sign(")")
        return tree.Node(variable, labels, properties)

    def _relationship(self) -> tree.Relationship:
        backward = self._takes_sign("<")
        self._sign("-")
        variable: str | None = None
        types: tuple[str, ...] = ()
        hops: tuple[int, int] | None = None
        if self._takes_sign("["):
            variable = self._name() if self._now.kind == "word" else None
            types = self._alternatives("relation") if self._takes_sign(":") else ()
            hops = self._hops() if self._takes_sign("*") else None
            if self._now.is_sign("{"):
                refuse("SYNTAX", "relations have no properties")
            self._sign("]")
        self._sign("-")
        forward = self._takes_sign(">")
        direction: Literal["->", "<-", "--"] = "--" if backward == forward else "->" if forward else "<-"
        return tree.Relationship(variable, types, direction, hops)

    def _alternatives(self, what: str) -> tuple[str, ...]:
        names = [self._any_word(what)]
        while self._takes_sign("|"):
            self._takes_sign(":")
            names.append(self._any_word(what))
        return tuple(names)

    def _hops(self) -> tuple[int, int]:
        low = self._whole_number() if self._now.kind == "number" else None
        if not self._takes_sign(".."):
            if low is None:
                refuse("UNBOUNDED", "a path of variable length needs an upper bound, such as *1..3")
            return low, low
        if self._now.kind != "number":
            refuse("UNBOUNDED", "a path of variable length needs an upper bound, such as *1..3")
        return 1 if low is None else low, self._whole_number()

    # --- expressions, loosest first

    def _expression(self) -> Expression:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            refuse("TOO_LARGE", f"expressions are nested deeper than {MAX_DEPTH}")
        expression = self._or()
        self._depth -= 1
        return expression

    def _or(self) -> Expression:
        return self._joined(self._xor, "OR")

    def _xor(self) -> Expression:
        return self._joined(self._and, "XOR")

    def _and(self) -> Expression:
        return self._joined(self._not, "AND")

    def _joined(self, operand: Callable[[], Expression], word: str) -> Expression:
        left = operand()
        while self._takes_word(word):
            left = self._binary(word, left, operand())
        return left

    def _not(self) -> Expression:
        if self._takes_word("NOT"):
            self._depth += 1
            if self._depth > MAX_DEPTH:
                refuse("TOO_LARGE", f"expressions are nested deeper than {MAX_DEPTH}")
            operand = self._not()
            self._depth -= 1
            return tree.Unary("NOT", operand)
        return self._comparison()

    def _comparison(self) -> Expression:
        left = self._tested()
        found: Expression | None = None
        while self._now.kind == "sign" and self._now.text in _COMPARISONS:
            operator = self._take().text
            right = self._tested()
            # `1 < x < 5` means both.
            one = self._binary(operator, left, right)
            found = one if found is None else self._binary("AND", found, one)
            left = right
        if self._now.is_sign("=~"):
            refuse("FUNCTION", "regular expressions are not allowed: use CONTAINS, STARTS WITH or toLower")
        return found or left

    def _tested(self) -> Expression:
        left = self._sum()
        while True:
            if self._takes_word("IN"):
                left = self._binary("IN", left, self._sum())
            elif self._takes_word("CONTAINS"):
                left = self._binary("CONTAINS", left, self._sum())
            elif self._now.is_word("STARTS") or self._now.is_word("ENDS"):
                word = self._take().text.upper()
                self._word("WITH")
                left = self._binary(f"{word} WITH", left, self._sum())
            elif self._takes_word("IS"):
                self._count_operator()
                negated = self._takes_word("NOT")
                self._word("NULL")
                left = tree.Unary("IS NOT NULL" if negated else "IS NULL", left)
            else:
                return left

    def _sum(self) -> Expression:
        return self._computed(self._product, "+", "-")

    def _product(self) -> Expression:
        return self._computed(self._power, "*", "/", "%")

    def _power(self) -> Expression:
        return self._computed(self._signed, "^")

    def _computed(self, operand: Callable[[], Expression], *signs: str) -> Expression:
        left = operand()
        while self._now.kind == "sign" and self._now.text in signs:
            left = self._binary(self._take().text, left, operand())
        return left

    def _binary(self, operator: str, left: Expression, right: Expression) -> Expression:
        self._count_operator()
        return tree.Binary(operator, left, right)

    def _count_operator(self) -> None:
        # What is left-associative nests in the tree as deep as it is long.
        self._operators += 1
        if self._operators > MAX_OPERATORS:
            refuse("TOO_LARGE", f"the statement has more than {MAX_OPERATORS} operators")

    def _signed(self) -> Expression:
        if self._takes_sign("-"):
            return tree.Unary("-", self._postfix())
        _ = self._takes_sign("+")
        return self._postfix()

    def _postfix(self) -> Expression:
        expression = self._atom()
        while True:
            if self._takes_sign("."):
                self._count_operator()
                expression = tree.Property(expression, self._any_word("property"))
                if self._now.is_sign("("):
                    refuse("FUNCTION", f"the function {_dotted(expression)} is not allowed")
            elif self._takes_sign("["):
                self._count_operator()
                expression = self._item(expression)
            elif isinstance(expression, tree.Variable) and self._now.is_sign(":"):
                self._take()
                expression = tree.HasLabel(expression.name, self._alternatives("label"))
            elif self._now.is_sign("{"):
                refuse("SUBQUERY" if _is_subquery(expression) else "SYNTAX", "subqueries and map projections are not allowed")
            else:
                return expression

    def _item(self, subject: Expression) -> Expression:
        start = self._index() if not self._now.is_sign("..") else None
        if self._takes_sign(".."):
            end = self._index() if not self._now.is_sign("]") else None
            self._sign("]")
            return tree.Slice(subject, start, end)
        self._sign("]")
        assert start is not None
        return tree.Item(subject, start)

    def _index(self) -> int:
        negative = self._takes_sign("-")
        if self._now.kind != "number":
            refuse("DYNAMIC_PROPERTY", "only a whole number may stand in brackets: properties are named with a dot")
        number = self._whole_number()
        return -number if negative else number

    def _atom(self) -> Expression:
        now = self._now
        if now.kind == "number":
            self._take()
            return tree.Constant(float(now.text) if "." in now.text else int(now.text))
        if now.kind == "string":
            return tree.Constant(self._take().text)
        if now.kind == "parameter":
            return tree.Parameter(self._take().text[1:])
        if now.is_sign("["):
            return self._list()
        if now.is_sign("{"):
            return tree.MapOf(self._map())
        if now.is_sign("("):
            return self._attempt(self._pattern_test) or self._parenthesised()
        if now.kind == "word":
            return self._word_atom(now)
        return self._fail("an expression")

    def _word_atom(self, now: Token) -> Expression:
        word = now.text.upper()
        if word in ("TRUE", "FALSE", "NULL"):
            self._take()
            return tree.Constant({"TRUE": True, "FALSE": False, "NULL": None}[word])
        if word == "CASE":
            return self._case()
        if self._after(1).is_sign("{") and word in ("EXISTS", "COUNT", "COLLECT", "CALL"):
            if word == "EXISTS" and (test := self._attempt(self._braced_test)) is not None:
                return test
            refuse("SUBQUERY", f"the subquery {word} {{...}} is not allowed: use a pattern as a condition, or OPTIONAL MATCH and count()")
        if self._after(1).is_sign("("):
            return self._call()
        return tree.Variable(self._name())

    def _call(self) -> Expression:
        name = self._take().text
        self._sign("(")
        if name.lower() in _QUANTIFIERS:
            found = self._comprehension(name.lower())  # type: ignore[arg-type]
            self._sign(")")
            return found
        if name.lower() == "exists" and (test := self._attempt(self._pattern_test)) is not None:
            self._sign(")")
            return test
        if self._takes_sign("*"):
            self._sign(")")
            return tree.Call(name, (), star=True)
        distinct = self._takes_word("DISTINCT")
        arguments = () if self._now.is_sign(")") else self._several(self._expression)
        self._sign(")")
        return tree.Call(name, arguments, distinct)

    def _case(self) -> Expression:
        self._take()
        subject = None if self._now.is_word("WHEN") else self._expression()
        branches: list[tuple[Expression, Expression]] = []
        while self._takes_word("WHEN"):
            condition = self._expression()
            self._word("THEN")
            branches.append((condition, self._expression()))
        if not branches:
            self._fail("WHEN")
        otherwise = self._expression() if self._takes_word("ELSE") else None
        self._word("END")
        return tree.Case(subject, tuple(branches), otherwise)

    def _list(self) -> Expression:
        if self._after(1).kind == "word" and self._after(2).is_word("IN"):
            self._take()
            found = self._comprehension("")
            self._sign("]")
            return found
        if self._after(1).is_sign("(") and self._attempt(self._pattern_comprehension) is not None:
            refuse("SUBQUERY", "pattern comprehensions are not allowed: use OPTIONAL MATCH and collect()")
        self._take()
        items = () if self._now.is_sign("]") else self._several(self._expression)
        self._sign("]")
        return tree.ListOf(items)

    def _comprehension(self, quantifier: Literal["", "all", "any", "none", "single"]) -> Expression:
        variable = self._name()
        self._word("IN")
        source = self._expression()
        where = self._where()
        result = self._expression() if not quantifier and self._takes_sign("|") else None
        return tree.Comprehension(quantifier, variable, source, where, result)

    def _pattern_comprehension(self) -> bool:
        self._take()
        self._pattern_test()
        return self._now.is_sign("|") or self._now.is_word("WHERE") or self._fail("|")

    def _pattern_test(self) -> Expression:
        path = self._chain()
        if not path.relationships:
            self._fail("a relation")
        return tree.PatternTest(path)

    def _braced_test(self) -> Expression:
        """`EXISTS { (a)-[:type]->(b) }` says no more than the pattern alone; with clauses of its own it would be a subquery."""
        self._place += 2
        _ = self._takes_word("MATCH")
        test = self._pattern_test()
        self._sign("}")
        return test

    def _parenthesised(self) -> Expression:
        self._sign("(")
        expression = self._expression()
        self._sign(")")
        return expression

    def _map(self) -> tuple[tuple[str, Expression], ...]:
        self._sign("{")
        items = () if self._now.is_sign("}") else self._several(self._pair)
        self._sign("}")
        return items

    def _pair(self) -> tuple[str, Expression]:
        name = self._any_word("property")
        self._sign(":")
        return name, self._expression()

    # --- tokens

    @property
    def _now(self) -> Token:
        return self._tokens[self._place]

    def _after(self, count: int) -> Token:
        return self._tokens[min(self._place + count, len(self._tokens) - 1)]

    def _take(self) -> Token:
        token = self._now
        self._place += token.kind != "end"
        return token

    def _takes_word(self, word: str) -> bool:
        taken = self._now.is_word(word)
        self._place += taken
        return taken

    def _takes_sign(self, sign: str) -> bool:
        taken = self._now.is_sign(sign)
        self._place += taken
        return taken

    def _word(self, word: str) -> None:
        if not self._takes_word(word):
            self._fail(word)

    def _sign(self, sign: str) -> None:
        if not self._takes_sign(sign):
            self._fail(f"{sign!r}")

    def _name(self) -> str:
        """A variable or an alias."""
        if self._now.kind != "word" or self._now.text.upper() in RESERVED:
            self._fail("a name")
        return self._take().text

    def _any_word(self, what: str) -> str:
        """A label, a relation type or a property: what it may be is checked against the schema, reserved or not."""
        if self._now.kind != "word":
            self._fail(f"the name of a {what}")
        return self._take().text

    def _whole_number(self) -> int:
        if not self._now.text.isdigit() or len(self._now.text) > 9:
            self._fail("a whole number")
        return int(self._take().text)

    def _several(self, one: Callable[[], T]) -> tuple[T, ...]:
        found = [one()]
        while self._takes_sign(","):
            found.append(one())
        return tuple(found)

    def _attempt(self, one: Callable[[], T]) -> T | None:
        """What `one` reads here, or None and nothing read."""
        self._attempts += 1
        if self._attempts > MAX_ATTEMPTS:
            refuse("TOO_LARGE", "the statement has too many brackets")
        place, depth = self._place, self._depth
        try:
            return one()
        except InvalidInput as refusal:
            if refusal.reason != "CYPHER_SYNTAX":
                raise
            self._place, self._depth = place, depth
            return None

    def _fail(self, expected: str) -> NoReturn:
        now = self._now
        # A word that is refused counts where a clause may begin, and not where it might be a name.
        reason = REFUSED_WORDS.get(now.text.upper(), "SYNTAX") if now.kind == "word" else "SYNTAX"
        if reason != "SYNTAX":
            refuse(reason, f"{now.text.upper()}: {_EXPLAINED[reason]}")
        found = "the end" if now.kind == "end" else repr(now.text[:40])
        refuse("SYNTAX", f"expected {expected} and found {found} at character {now.at}")


def _is_subquery(expression: Expression) -> bool:
    return isinstance(expression, tree.Variable) and expression.name.upper() in ("EXISTS", "COUNT", "COLLECT", "CALL")


def _dotted(expression: Expression) -> str:
    if isinstance(expression, tree.Property):
        return f"{_dotted(expression.subject)}.{expression.name}"
    return expression.name if isinstance(expression, tree.Variable) else "..."
