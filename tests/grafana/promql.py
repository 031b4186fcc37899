"""The series of an expression, read by a parser of PromQL."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import promql_parser

VARIABLES = {"$__rate_interval": "1m", "${__rate_interval}": "1m"}
"""Grafana's own: at a scrape interval of 10 s it is at least four of them."""


class Selector(NamedTuple):
    """A metric, and the labels by which its series are chosen."""

    metric: str
    labels: frozenset[str]


def filled(expression: str) -> str:
    """An expression as Grafana would send it with `All` chosen in every variable."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return re.sub(r"\$[a-z]+\b", ".+", expression)


def selectors(expression: str) -> list[Selector]:
    """Every selector of an expression.

    Raises:
        ValueError: it is no PromQL.
    """
    found: list[Selector] = []

    def visit(part: promql_parser.Expr) -> bool:
        if isinstance(part, promql_parser.VectorSelector):
            labels = frozenset(matcher.name for matcher in part.matchers.matchers)
            found.append(Selector(part.name or "", labels - {"__name__"}))
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


def levels(records: Mapping[str, str]) -> Sequence[Mapping[str, str]]:
    """Recording rules (expressions by name) such that each reads only what those before it record."""
    left, done = dict(records), list[Mapping[str, str]]()
    while left:
        ready = {
            name: expression
            for name, expression in left.items()
            if not any(selector.metric in left and selector.metric != name for selector in selectors(expression))
        }
        assert ready, f"recording rules read each other: {sorted(left)}"
        done.append(ready)
        left = {name: expression for name, expression in left.items() if name not in ready}
    return done
