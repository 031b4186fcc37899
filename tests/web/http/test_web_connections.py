"""Connections to the page that are many and idle: a visitor beside them is served."""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

import httpx
import pytest
from fastapi import FastAPI

from foreshock_dashboard.common.http_limits import MAX_CONNECTIONS, max_connections
from foreshock_dashboard.web.http.server import WebServer

pytestmark = pytest.mark.slow

Eventually = Callable[[Callable[[], bool], str], None]


@contextmanager
def served(connections: int | None = None) -> Iterator[WebServer]:
    """A server with one page."""
    app = FastAPI()
    app.get("/")(lambda: "here")
    server = WebServer(app, "127.0.0.1", 0, connections)
    server.start()
    try:
        yield server
    finally:
        server.close()


def answers(server: WebServer) -> bool:
    """Whether a visitor gets the page."""
    try:
        return httpx.get(server.url, trust_env=False, timeout=5).text == '"here"'
    except httpx.HTTPError:
        return False


def test_the_server_does_not_name_its_software(eventually: Eventually) -> None:
    with served() as server:
        eventually(lambda: answers(server), "it listens")
        head = httpx.head(server.url, trust_env=False, timeout=5)
    assert (head.status_code, head.text, "server" in head.headers) == (405, "", False)


def test_idle_connections_beyond_the_bound_make_room(eventually: Eventually, caplog: pytest.LogCaptureFixture) -> None:
    """The ones that came first, and it is said once."""
    with served(10) as server, ExitStack() as stack:
        eventually(lambda: answers(server), "it listens")
        idle = [
            stack.enter_context(closing(socket.create_connection(("127.0.0.1", server.port), timeout=30)))
            for _ in range(100)
        ]
        assert [each.recv(1) for each in idle[:90]] == [b""] * 90
        assert all(answers(server) for _ in range(20))
    assert [record.message for record in caplog.records if "web server" in record.message] == [
        "web server: connection closed: more than 10 connections; one made room for another"
    ]


def test_more_connections_than_files_may_be_open_at_first_leave_room_for_a_visitor(eventually: Eventually) -> None:
    """The limit of open files is raised as far as the system lets, and what the page takes of it is a quarter."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4_400:
        pytest.skip("1,100 connections with both ends in one process, of a quarter of the files")
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1_024), hard))
        assert max_connections() == (MAX_CONNECTIONS if hard == resource.RLIM_INFINITY else min(4096, hard // 4))
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
        with served() as server, ExitStack() as stack:
            eventually(lambda: answers(server), "it listens")
            for _ in range(1_100):
                stack.enter_context(closing(socket.create_connection(("127.0.0.1", server.port), timeout=30)))
            assert answers(server)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
