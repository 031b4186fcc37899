"""A hub whose disk fails at the n-th write or sync refuses, says so, loses nothing and recovers by itself."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # it ships no type marker
from google.rpc.status_pb2 import Status as RpcStatus  # type: ignore[import-untyped]  # it ships no type marker
from tests.hub.hostile.disk import Disk
from tests.hub.process import HubProcess
from tests.hub.sending import export, post, request

Serve = Callable[..., HubProcess]
Eventually = Callable[..., None]
SPANS = 3
FAILURES = [
    (errno.EIO, "disk I/O error; check the disk's health"),
    (errno.ENOSPC, "database or disk is full; free space on that disk"),
]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """The disk of the store."""
    made = Disk(tmp_path / "store", tmp_path)
    yield made
    made.close()


def kept_until_refused(hub: HubProcess) -> list[str]:
    """Send over HTTP until it is refused as it should be, then over gRPC; gives the traces that were kept."""
    kept = []
    while True:
        trace = os.urandom(16)
        answer = post(hub, request(SPANS, trace).SerializeToString())
        if answer.status_code != 200:
            break
        kept.append(trace.hex())
    assert answer.status_code == 503
    assert 1 <= int(answer.headers["retry-after"]) <= 5
    status = RpcStatus.FromString(answer.content)
    assert "could not be stored" in status.message
    with pytest.raises(grpc.RpcError) as refused:
        export(hub, request(SPANS).SerializeToString())
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    (result,) = [datum.value for datum in refused.value.trailing_metadata() if datum.key == "grpc-status-details-bin"]
    info = RetryInfo()
    assert RpcStatus.FromString(result).details[0].Unpack(info)
    assert 1 <= info.retry_delay.seconds <= 5
    return kept


def fail_and_recover(
    hub: HubProcess, disk: Disk, calls: Sequence[tuple[int, int]], eventually: Eventually
) -> list[str]:
    """For each (failure, calls that go well before it): what is refused, readiness, and what is kept again."""
    kept: list[str] = []
    for failure, after in calls:
        error, reason = FAILURES[failure]
        disk.fail(error, after)
        kept += kept_until_refused(hub)
        ready = hub.get("/readyz")
        assert (ready.status_code, reason in ready.text) == (503, True), ready.text
        assert hub.get("/healthz").status_code == 200
        assert hub.get("/api/traces").status_code == 200, "what is there can be read"
        assert disk.repair() > 0
        eventually(hub.up, f"ready again after {error} at call {after}")
        trace = os.urandom(16)
        assert post(hub, request(SPANS, trace).SerializeToString()).status_code == 200
        kept.append(trace.hex())
    return kept


def test_a_failing_disk_refuses_senders_and_costs_nothing_that_was_acknowledged(
    serve: Serve, disk: Disk, tmp_path: Path, eventually: Eventually
) -> None:
    """The n-th write or sync fails, and all after it, until the disk is well again; at the end, `kill -9`."""
    hub = serve("--evaluation-interval", "1s", env=disk.environment)
    kept = fail_and_recover(hub, disk, [(0, 0), (1, 1), (0, 2), (1, 3), (0, 9)], eventually)
    check(hub, kept)
    assert hub.metric('foreshock_receiver_refused_requests_total{reason="unavailable"}') == 10
    assert "Traceback" not in hub.output
    hub.end(signal.SIGKILL)
    check(serve(store=tmp_path / "store"), kept)


@pytest.mark.soak
def test_a_disk_that_fails_at_each_of_two_hundred_calls(
    serve: Serve, disk: Disk, tmp_path: Path, eventually: Eventually
) -> None:
    """The same for n from 0 to 199."""
    hub = serve("--evaluation-interval", "1s", env=disk.environment)
    kept = fail_and_recover(hub, disk, [(n % 2, n) for n in range(200)], eventually)
    check(hub, kept)
    hub.end(signal.SIGKILL)
    check(serve(store=tmp_path / "store"), kept)


def check(hub: HubProcess, kept: list[str]) -> None:
    """All of the traces are there whole."""
    for trace in kept:
        answer = hub.get(f"/api/traces/{trace}")
        assert answer.status_code == 200, f"{trace}: {answer.text}\n{hub.output}"
        assert len(answer.json()["spans"]) == SPANS
