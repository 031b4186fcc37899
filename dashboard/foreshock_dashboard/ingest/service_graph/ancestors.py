"""What a call lies within: the spans above it, as far as they are of its own service."""

from __future__ import annotations

from collections.abc import Iterator

from foreshock_dashboard.ingest.service_graph.call_sides import Callee, Client
from foreshock_dashboard.ingest.service_graph.pending import Node
from foreshock_dashboard.model.service import Service

MAX_NESTED = 8
"""CLIENT spans of one service, each within the one before, that are taken for one call."""

MAX_BETWEEN = 16
"""INTERNAL spans of one service, each within the one before, that are looked through."""

MAX_HELD = 64
"""Spans above one that are kept for those below it, after none of them waits any more."""


def above(start: Node | None, service: Service, looked: int = 0) -> tuple[Node | None, int]:
    """From a span on upwards, the first that is no INTERNAL one of this service.

    looked: INTERNAL spans looked through already; given back with those that were looked through now.
    """
    while (
        start is not None and start.internal == service and start.parent is not None and looked < MAX_BETWEEN
    ):  # a limit, since senders can name each other's spans as parents, all around
        start, looked = start.parent, looked + 1
    return start, looked


def around(node: Node, client: Client) -> Iterator[Client]:
    """The CLIENT spans of its service that a call lies within, from the inside outwards."""
    for _ in range(MAX_NESTED):
        outer = above(node.parent, client.service)[0]
        if outer is None or outer.client is None or outer.client.service != client.service:
            break
        yield outer.client
        node = outer


def named(node: Node, client: Client) -> Callee:
    """The callee, by what tells most of it: its own span, or one around it."""
    if client.callee.database or client.callee.peer or client.callee.provider:
        return client.callee
    for outer in around(node, client):
        if outer.callee.database or outer.callee.peer or outer.callee.provider:
            return outer.callee
    return client.callee


def let_go(node: Node) -> None:
    """Hold on to the span above only where one below still needs it, or a trace that never ends would stay as a whole.

    A span below it asks through it, if it is a call of the same service: for so many steps at most.
    """
    service = node.client.service if node.client is not None else node.internal
    if not node.inner or all(inner != service for inner, _ in node.inner):
        node.parent = None
        return
    top = node.parent
    for _ in range(MAX_HELD):
        if top is None:
            return
        top = top.parent
    node.parent = None
