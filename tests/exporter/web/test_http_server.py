"""The server over real sockets: formats, limits, slow clients, closing."""

from __future__ import annotations

import base64
import gzip
import http.client
import logging
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families

from foreshock_exporter.model.family import Sample
from foreshock_exporter.web import server as exporter_http
from foreshock_exporter.web.auth import MAX_ADDRESS_CHECKS
from foreshock_exporter.web.connections import MAX_CLIENT_CONNECTIONS, MAX_CONNECTIONS, client_of
from foreshock_exporter.web.request import MAX_HEAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Eventually
    from tests.exporter.web.conftest import Ask, Dial, Readings, Serving


def until_closed(connection: socket.socket) -> bytes:
    """All that the server sends before it closes the connection."""
    return b"".join(iter(lambda: connection.recv(65_536), b""))


def test_a_plain_client_gets_the_text_format(serving: Serving, ask: Ask) -> None:
    reply = ask(serving().port)
    assert (reply.status, reply.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "gpu_busy_seconds" in {family.name for family in text_families(reply.body.decode())}
    assert "date" in reply.headers


def test_openmetrics_is_negotiated(serving: Serving, ask: Ask) -> None:
    reply = ask(serving().port, Accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert reply.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert reply.headers["vary"] == "Accept, Accept-Encoding"
    families = openmetrics_families(reply.body.decode())  # type: ignore[no-untyped-call]  # prometheus_client has no type
    assert "gpu_busy_seconds" in {family.name for family in families}


def test_compressed_and_plain_bodies_are_equal(serving: Serving, ask: Ask) -> None:
    port = serving().port
    plain, compressed = ask(port), ask(port, Accept_Encoding="gzip")
    assert "content-encoding" not in plain.headers
    assert compressed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(compressed.body) == plain.body


def test_a_head_request_gets_all_but_the_body(serving: Serving, ask: Ask) -> None:
    port = serving().port
    head, whole = ask(port, method="HEAD"), ask(port)
    assert (head.status, head.body, int(head.headers["content-length"])) == (200, b"", len(whole.body))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW"])
def test_other_methods_are_refused_and_none_echoes(method: str, serving: Serving, ask: Ask) -> None:
    reply = ask(serving().port, "/metrics", method, X_Mine="do-not-echo")
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")
    assert b"do-not-echo" not in reply.body


def test_a_request_with_a_body_is_answered_and_its_body_is_no_request(serving: Serving, dial: Dial) -> None:
    connection = dial(serving().port)
    connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 27\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n   ")
    answers = until_closed(connection)
    assert answers.startswith(b"HTTP/1.1 405 ")
    assert answers.count(b"HTTP/1.1 ") == 1


def test_collectors_can_be_selected(serving: Serving, ask: Ask) -> None:
    reply = ask(serving().port, "/metrics?collect[]=network", Accept_Encoding="gzip")
    text = gzip.decompress(reply.body)
    assert (b"node_network_up" in text, b"gpu_info" in text) == (True, False)


def test_an_unknown_collector_is_named(serving: Serving, ask: Ask) -> None:
    reply = ask(serving().port, "/metrics?collect[]=gpu&collect[]=nosuch")
    assert (reply.status, reply.body) == (400, b"no such collector: nosuch\n")


def test_a_rendering_that_fails_is_answered_and_logged_and_the_next_is_tried(
    serving: Serving, ask: Ask, readings: Readings, caplog: pytest.LogCaptureFixture
) -> None:
    port = serving().port
    readings.broken = True
    assert ask(port).status == 500
    assert "answering /metrics failed" in caplog.text
    readings.broken = False
    assert ask(port).status == 200


def test_health_and_readiness_do_not_wait_for_a_rendering(serving: Serving, ask: Ask, readings: Readings) -> None:
    port = serving().port
    readings.hold.clear()
    with ThreadPoolExecutor(1) as pool:
        scrape = pool.submit(ask, port)
        assert readings.entered.wait(30)
        assert (ask(port, "/healthz").status, ask(port, "/readyz").status) == (200, 200)
        readings.is_ready = False
        assert ask(port, "/readyz").status == 503
        readings.hold.set()
        assert scrape.result().status == 200


def test_only_one_scrape_is_rendered_at_a_time(
    serving: Serving, ask: Ask, readings: Readings, eventually: Eventually
) -> None:
    server = serving()
    readings.hold.clear()
    with ThreadPoolExecutor(8) as pool:
        scrapes = [pool.submit(ask, server.port) for _ in range(8)]
        eventually(lambda: len(server._connections) == 8, "all scrapes have come")
        assert readings.rendered == 1
        readings.hold.set()
        assert {scrape.result().status for scrape in scrapes} == {200}


def test_one_connection_carries_many_requests(serving: Serving) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", serving().port, timeout=30)) as connection:
        for path, status in (("/metrics", 200), ("/none", 404), ("/metrics", 200), ("/healthz", 200)):
            connection.request("GET", path)
            answer = connection.getresponse()
            assert (answer.status, answer.getheader("Connection")) == (status, "keep-alive")
            answer.read()
            assert connection.sock is not None


def test_requests_sent_at_once_are_answered_in_their_order(serving: Serving, dial: Dial) -> None:
    connection = dial(serving().port)
    connection.sendall(b"GET /healthz HTTP/1.1\r\n\r\n\r\nGET /none HTTP/1.1\r\nConnection: close\r\n\r\n")
    answers = until_closed(connection)
    assert answers.index(b"200 OK") < answers.index(b"404 Not Found")


def test_a_client_of_http_1_0_is_answered_and_let_go(serving: Serving, dial: Dial) -> None:
    connection = dial(serving().port)
    connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert until_closed(connection).endswith(b"\r\n\r\nok\n")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * MAX_HEAD_BYTES, 431),
        (b"a" * (MAX_HEAD_BYTES + 1), 431),
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"hello\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\n", 505),
    ],
)
def test_an_overlong_or_malformed_request_gets_an_error(sent: bytes, status: int, serving: Serving, dial: Dial) -> None:
    connection = dial(serving().port)
    connection.sendall(sent[: MAX_HEAD_BYTES + 100])
    assert until_closed(connection).startswith(f"HTTP/1.1 {status} ".encode())


def test_a_slow_client_gets_408_and_is_dropped(serving: Serving, dial: Dial) -> None:
    """The deadline applies to the whole head: single bytes do not extend it."""
    connection = dial(serving(io_timeout=0.3).port)
    ended = threading.Event()

    def dribble() -> None:
        while not ended.wait(0.02):
            try:
                connection.send(b"G")
            except OSError:
                return

    dribbling = threading.Thread(target=dribble)
    dribbling.start()
    answer = connection.recv(100)
    ended.set()
    dribbling.join()
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_silent_client_is_dropped(serving: Serving, dial: Dial) -> None:
    assert until_closed(dial(serving(io_timeout=0.1).port)) == b""


def test_a_client_that_does_not_read_its_answer_is_dropped(
    serving: Serving, dial: Dial, readings: Readings, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "render", lambda openmetrics=False, collectors=None: b"x" * 50_000_000)
    server = serving(io_timeout=0.2)
    connection = dial(server.port)
    connection.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
    eventually(lambda: bool(server._connections), "the connection is there")
    eventually(lambda: not server._connections, "it was given up")
    assert connection.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize(
    ("client", "limit"),
    [("127.0.0.1", "total"), ("127.0.0.2", "client"), ("127.0.0.3", "client")],
)
def test_idle_connections_do_not_keep_a_scrape_out(
    client: str, limit: str, serving: Serving, dial: Dial, eventually: Eventually
) -> None:
    """The one that has been silent longest makes room: of all, or of a client that has more than its share."""
    server = serving()
    crowd = [dial(server.port, f"127.0.0.{2 + number % 2}") for number in range(MAX_CONNECTIONS)]
    eventually(lambda: len(server._connections) == MAX_CONNECTIONS, "all are there")
    scrape = dial(server.port, client)
    scrape.sendall(b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert until_closed(scrape).startswith(b"HTTP/1.1 200 ")
    assert until_closed(crowd[1 if client == "127.0.0.3" else 0]) == b""
    [(_, samples)] = server._connections.families()
    assert samples == [Sample((of,), of == limit) for of in ("client", "total")]


def test_a_crowd_of_one_client_closes_no_connection_of_another(serving: Serving, dial: Dial) -> None:
    server = serving()
    kept = dial(server.port, "127.0.0.9")
    for _ in range(3 * MAX_CONNECTIONS):
        dial(server.port)
    kept.sendall(b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert until_closed(kept).endswith(b"ok\n")
    assert len(server._connections) <= MAX_CLIENT_CONNECTIONS + 1


def test_a_scraper_keeps_its_connection_while_silent_ones_of_its_address_come(serving: Serving, dial: Dial) -> None:
    server = serving()
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as scraper:
        scraper.request("GET", "/healthz")
        scraper.getresponse().read()
        kept = scraper.sock
        for _ in range(2 * MAX_CONNECTIONS):
            dial(server.port)
        scraper.request("GET", "/healthz")
        assert (scraper.getresponse().read(), scraper.sock) == (b"ok\n", kept)


def test_a_client_whose_connections_all_wait_for_an_answer_gets_503_with_retry_after(
    serving: Serving, dial: Dial, ask: Ask, readings: Readings, eventually: Eventually
) -> None:
    server = serving()
    readings.hold.clear()
    scrapes = [dial(server.port) for _ in range(MAX_CLIENT_CONNECTIONS)]
    for scrape in scrapes:
        scrape.sendall(b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n")
    answering = server._connections._open.values
    eventually(lambda: [state.answering for state in answering()] == [True] * len(scrapes), "all wait")
    reply = ask(server.port)
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    readings.hold.set()
    assert all(until_closed(scrape).startswith(b"HTTP/1.1 200 ") for scrape in scrapes)
    eventually(lambda: ask(server.port, "/healthz").status == 200, "places are free again")


def test_guessers_of_passwords_keep_no_scrape_out(
    serving: Serving,
    dial: Dial,
    ask: Ask,
    config: Callable[[str], Path],
    hashed: Callable[[str], str],
    eventually: Eventually,
) -> None:
    """Two addresses that guess with all connections there are: most guesses are refused at once, a scrape never."""
    server = serving(config(f"basic_auth_users:\n  prometheus: {hashed('apple')}\n"))
    right = "Basic " + base64.b64encode(b"prometheus:apple").decode()
    assert ask(server.port, Authorization=right).status == 200
    checked = threading.Event()
    server._watched._passwords._matches = lambda *_: checked.wait(30)
    guessers = ("127.0.0.2", "127.0.0.3")
    guesses = [dial(server.port, guessers[number % 2]) for number in range(MAX_CONNECTIONS)]
    for guess in guesses:
        guess.sendall(b"GET / HTTP/1.1\r\nAuthorization: Basic YTpi\r\nConnection: close\r\n\r\n")
    connections = server._connections
    checks = len(guessers) * MAX_ADDRESS_CHECKS
    eventually(lambda: server._watched._passwords._attempts.total() == checks, "some are in a check")
    eventually(lambda: len(connections) == checks, "the others are refused")
    assert ask(server.port, Authorization=right).status == 200
    assert ask(server.port).status == 401
    checked.set()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.2", False),
        ("10.0.0.1", "::ffff:10.0.0.1", True),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("2001:db8::1", "2001:db8::2:3", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%1", "fe80::2%1", True),
    ],
)
def test_a_client_is_an_ipv4_address_or_an_ipv6_subnet(one: str, other: str, same: bool) -> None:
    assert (client_of(one) == client_of(other)) is same


def test_closing_lets_an_answer_on_its_way_finish(serving: Serving, ask: Ask, readings: Readings) -> None:
    server = serving()
    readings.hold.clear()
    with ThreadPoolExecutor(2) as pool:
        scrape = pool.submit(ask, server.port)
        assert readings.entered.wait(30)
        closed = pool.submit(server.close)
        server._closing.wait(30)
        readings.hold.set()
        closed.result()
        reply = scrape.result()
    assert (reply.status, reply.headers["connection"]) == (200, "close")
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.port), timeout=30).close()


def test_closing_ends_idle_connections_at_once(serving: Serving, dial: Dial, eventually: Eventually) -> None:
    server = serving(close_timeout=30.0)
    silent, idle = dial(server.port), dial(server.port)
    idle.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
    assert idle.recv(1000).endswith(b"ok\n")
    eventually(lambda: len(server._connections) == 2, "both are there")
    server.close()
    assert not server._connections
    assert (until_closed(silent), until_closed(idle)) == (b"", b"")


def test_closing_does_not_wait_for_an_answer_that_does_not_come(
    serving: Serving, dial: Dial, readings: Readings
) -> None:
    """Without its bound this would wait for as long as the rendering does: until the next line lets it go."""
    server = serving(close_timeout=0.05)
    readings.hold.clear()
    dial(server.port).sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
    assert readings.entered.wait(30)
    server.close()
    assert len(server._connections) == 1
    readings.hold.set()


def test_a_lack_of_file_descriptors_is_logged_once_and_survived(
    serving: Serving, ask: Ask, caplog: pytest.LogCaptureFixture, eventually: Eventually
) -> None:
    caplog.set_level(logging.INFO)
    server = serving()
    real, failures = server._listener, [OSError(24, "Too many open files")] * 3

    class Exhausted:
        def accept(self) -> tuple[socket.socket, object]:
            if failures:
                raise failures.pop()
            return real.accept()

        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

    server._listener = Exhausted()  # type: ignore[assignment]  # stands in for a listening socket
    assert ask(server.port, "/healthz").status == 200  # the call of accept that was waiting
    eventually(lambda: not failures, "the failures are over")
    assert ask(server.port, "/healthz").status == 200
    eventually(lambda: "works again" in caplog.text, "it is said to be over")
    assert caplog.text.count("Too many open files") == 1


def test_a_connection_that_meets_a_bug_is_logged_and_costs_only_itself(
    serving: Serving, ask: Ask, dial: Dial, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = serving().port
    with monkeypatch.context() as patched:
        patched.setattr(exporter_http, "parse", lambda head: 1 // 0)
        connection = dial(port)
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert until_closed(connection) == b""
    assert "connection from 127.0.0.1 failed" in caplog.text
    assert ask(port).status == 200


def test_a_system_out_of_threads_costs_only_the_connection_that_needs_one(
    serving: Serving, ask: Ask, dial: Dial, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serving()

    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none_left)
        assert until_closed(dial(server.port)) == b""
    assert "can't start new thread" in caplog.text
    assert ask(server.port).status == 200
    assert len(server._connections) <= 1


def test_the_page_leads_to_the_metrics_wherever_they_are(serving: Serving, ask: Ask) -> None:
    port = serving(metrics_path="/m&m").port
    assert b'href="/m&amp;m"' in ask(port, "/").body
    assert (ask(port, "/m&m").status, ask(port, "/metrics").status) == (200, 404)
