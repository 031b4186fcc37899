"""As much of TraceQL as is needed here, read after its documentation and its lexer, not after what writes it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from foreshock_dashboard.model.span import AttributeValue, Span

Test = Callable[[Span], bool]
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<string>"(?:[^"\\\n\x00]|\\.)*")
    |(?P<duration>\d+ns)
    |(?P<number>-?\d+(?:\.\d+)?)
    |(?P<attribute>(?:span|resource)\.(?:"(?:[^"\\]|\\["\\])*"|[^\s{}()=~!<>&|^,"]+))
    |(?P<word>[A-Za-z_]+)
    |(?P<sign>&&|\|\||!=|>=|<=|[{}()=<>|,])
    )""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(?:(u)([0-9a-f]{4})|(U)([0-9a-f]{8})|([\"\\]))")


class TraceQLError(ValueError):
    """A query that Tempo would refuse."""


@dataclass(frozen=True)
class Parsed:
    """What a query selects.

    `values`: every literal text and key in it, unescaped, in their order. `form`: its tokens without these.
    """

    tests: tuple[Test, ...]
    selected: tuple[str, ...]
    most_recent: bool
    values: tuple[str, ...]
    form: tuple[str, ...]


def parse(query: str, *, roots: bool = True) -> Parsed:
    """Read `{ conditions }` or two of them with `&&`, perhaps with `| select(…)` and `with (most_recent=true)`.

    roots: whether it is of a version that knows nestedSetParent.
    """
    return _Parser(query, roots).query()


def nested_parent(span: Span) -> int:
    """Tempo's number of the parent: -1 at a root; other numbers are not used here."""
    return 1 if span.parent_id else -1


def unquoted(literal: str) -> str:
    """What a text in double quotes means (Go's strconv.Unquote)."""
    inner = literal[1:-1]
    if "\\" in _ESCAPE.sub("", inner):
        raise TraceQLError(f"invalid escape in {literal}")
    return _ESCAPE.sub(lambda found: chr(int(found[2] or found[4], 16)) if found[1] or found[3] else found[5], inner)


class _Parser:
    def __init__(self, query: str, roots: bool) -> None:
        self._roots = roots
        self._tokens: list[tuple[str, str]] = []
        self._values: list[str] = []
        at = 0
        while query[at:].strip():
            found = _TOKEN.match(query, at)
            if not found or found.lastgroup is None:
                raise TraceQLError(f"unexpected {query[at : at + 20]!r}")
            self._tokens.append((found.lastgroup, found[found.lastgroup]))
            at = found.end()
        named = ("string", "attribute")
        self._form = tuple(kind if kind in named else text for kind, text in self._tokens)

    def _take(self, *wanted: str) -> tuple[str, str]:
        if not self._tokens:
            raise TraceQLError("unexpected end")
        kind, text = self._tokens.pop(0)
        if wanted and text not in wanted and kind not in wanted:
            raise TraceQLError(f"unexpected {text!r}, wanted {wanted}")
        return kind, text

    def _next(self) -> str:
        return self._tokens[0][1] if self._tokens else ""

    def query(self) -> Parsed:
        tests = [self._spanset()]
        while self._next() == "&&":
            self._take()
            tests.append(self._spanset())
        selected: list[str] = []
        most_recent = False
        if self._next() == "|":
            for word in ("|", "select", "("):
                self._take(word)
            selected.append(self._take("attribute", "word")[1])
            while self._take(",", ")")[1] == ",":
                selected.append(self._take("attribute", "word")[1])
        if self._next() == "with":
            for word in ("with", "(", "most_recent", "=", "true", ")"):
                self._take(word)
            most_recent = True
        if self._tokens:
            raise TraceQLError(f"unexpected {self._next()!r} after the query")
        return Parsed(tuple(tests), tuple(selected), most_recent, tuple(self._values), self._form)

    def _spanset(self) -> Test:
        self._take("{")
        test = self._either()
        self._take("}")
        return test

    def _either(self) -> Test:
        tests = [self._both()]
        while self._next() == "||":
            self._take()
            tests.append(self._both())
        return lambda span: any(test(span) for test in tests)

    def _both(self) -> Test:
        tests = [self._one()]
        while self._next() == "&&":
            self._take()
            tests.append(self._one())
        return lambda span: all(test(span) for test in tests)

    def _one(self) -> Test:
        kind, text = self._take("(", "true", "attribute", "word")
        if text == "(":
            inner = self._either()
            self._take(")")
            return inner
        if text == "true":
            return lambda _: True
        field = self._field(kind, text)
        sign = self._take("=", "!=", ">", "<", ">=", "<=")[1]
        literal = self._literal()
        return lambda span: _compared(field(span), sign, literal)

    def _field(self, kind: str, text: str) -> Callable[[Span], AttributeValue]:
        if kind == "attribute":
            scope, _, key = text.partition(".")
            if key.startswith('"'):
                key = re.sub(r"\\(.)", r"\1", key[1:-1])
            self._values.append(key)
            return lambda span: (span.attributes if scope == "span" else span.resource).get(key)
        intrinsics: dict[str, Callable[[Span], AttributeValue]] = {
            "name": lambda span: span.name,
            "status": lambda span: f"status {span.status}",
            "duration": lambda span: span.duration_ns,
        }
        if self._roots:
            intrinsics["nestedSetParent"] = nested_parent
        if text not in intrinsics:
            raise TraceQLError(f"unknown identifier {text}")
        return intrinsics[text]

    def _literal(self) -> AttributeValue:
        kind, text = self._take("string", "duration", "number", "true", "false", "error", "ok", "unset")
        if kind == "string":
            self._values.append(unquoted(text))
            return self._values[-1]
        if kind == "duration":
            if int(text[:-2]) >= 1 << 63:
                raise TraceQLError(f"{text} is no duration")
            return int(text[:-2])
        if kind == "number":
            self._values.append(text)
            return float(text) if "." in text else int(text)
        if text in ("error", "ok", "unset"):
            return f"status {text}"
        self._values.append(text)
        return text == "true"


def _compared(found: AttributeValue, sign: str, literal: AttributeValue) -> bool:
    """Values of other types are never equal, nor unequal; neither is what is absent."""
    numbers = (int, float)
    alike = type(found) is type(literal) or (type(found) in numbers and type(literal) in numbers)
    if not alike:
        return False
    if sign in ("=", "!="):
        return (found == literal) == (sign == "=")
    assert isinstance(found, int | float)
    assert isinstance(literal, int | float)
    return {"<": found < literal, ">": found > literal, ">=": found >= literal, "<=": found <= literal}[sign]
