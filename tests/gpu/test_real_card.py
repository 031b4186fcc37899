"""The exporter on a real NVIDIA GPU, and the estimate of contention compared with what happens.

`make card` runs it. It prints what is unavailable and why, GPU wait beside the lost throughput of two services, and the
agreement of contended time with context switches.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.exporter.whole.exposition import Values, from_openmetrics, from_text, metrics_address, refused_by_promtool
from tests.gpu.card import gpus, implausible, unexplained, value
from tests.gpu.cuda import NAME
from tests.gpu.prediction import gained, prediction
from tests.gpu.switches import agreement, intervals, watched
from tests.gpu.tenant import Tenant, at_once, tenant

from foreshock_exporter.model import metrics

if TYPE_CHECKING:
    from tests.conftest import Eventually

pytestmark = pytest.mark.gpu
COMMAND = str(Path(sys.executable).with_name("foreshock-exporter"))
KERNEL, ALONE, TOGETHER = 0.002, 5.0, 12.0
"""Seconds: of a kernel, about a time slice of the GPU; of a run alone; of a run with another."""
ROUNDS, ROUND, WATCH = 3, 8.0, 2.0
"""Runs alone and with another in turn; seconds of each; seconds between two scrapes meanwhile."""
SERVICES = ("foreshock-test-a", "foreshock-test-b")


@contextmanager
def serving(log: Path, *arguments: str) -> Iterator[str]:
    """The running exporter and the address of its metrics."""
    with log.open("wb") as said:
        running = subprocess.Popen([COMMAND, "--web.listen-address=127.0.0.1:0", *arguments], stderr=said)
    try:
        yield metrics_address(running, log)
    finally:
        running.terminate()
        running.wait(30)


def ask(address: str, accept: str = "text/plain") -> bytes:
    with urllib.request.urlopen(urllib.request.Request(address, headers={"Accept": accept}), timeout=30) as answer:
        body: bytes = answer.read()
    return body


def scrape(address: str) -> Values:
    return from_text(ask(address))


def test_once_exposes_every_card_and_promtool_accepts_it(cards: int) -> None:
    ran = subprocess.run([COMMAND, "--once"], capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr.decode()
    assert not refused_by_promtool(ran.stdout)
    seen = from_text(ran.stdout)
    assert value(seen, "foreshock_exporter_mock") == 0
    assert value(seen, "gpus_present") == len(gpus(seen)) == cards


def test_every_metric_is_plausible_or_absent_with_a_reason(
    cards: int, tmp_path: Path, eventually: Eventually, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(tmp_path / "log") as address:
        eventually(lambda: value(scrape(address), "gpus_present") == cards, "all cards")
        eventually(lambda: not unexplained(scrape(address)), f"no family without a reason: {tmp_path / 'log'}")
        seen = scrape(address)
        from_openmetrics(ask(address, "application/openmetrics-text; version=1.0.0"))
    with capsys.disabled():
        print("unavailable:", sorted({(labels["metric"], labels["reason"]) for labels in absences(seen)}))
    assert not implausible(seen)
    assert {labels["reason"] for labels in absences(seen)} <= {"not_supported", "no_permission", "mig", "mps"} | {
        "pid_namespace"
    }


def absences(seen: Values) -> list[dict[str, str]]:
    return [dict(labels) for name, labels in seen if name == metrics.METRIC_UNAVAILABLE.name]


@pytest.fixture
def shared(cards: int, tmp_path: Path, eventually: Eventually) -> Iterator[tuple[str, str, list[Tenant]]]:
    """The address of an exporter, a GPU, and two processes of two services on it: the idlest that is shared by time."""
    assert cards
    try:
        ctypes.CDLL(NAME)
    except OSError as error:
        pytest.skip(f"the driver's CUDA library is not here: {error}")
    with ExitStack() as opened:
        address = opened.enter_context(serving(tmp_path / "log"))
        eventually(lambda: bool(gpus(scrape(address))), "a card")
        seen = scrape(address)
        if any(labels["reason"] == "pid_namespace" for labels in absences(seen)):
            pytest.skip("this machine does not show the host's processes, so that no time can be attributed")
        shareable = [uuid for uuid, labels in gpus(seen).items() if labels["sharing"] == "time-slicing"]
        if not shareable:
            pytest.skip("no GPU here is shared by time slices")
        uuid = min(shareable, key=lambda each: value(seen, metrics.GPU_UTILIZATION.name, uuid=each) or 0.0)
        yield address, uuid, [opened.enter_context(tenant(service, uuid)) for service in SERVICES]


def settled(address: str, eventually: Eventually) -> Values:
    """Scrape after all samples have arrived: two in a row, a second apart, with equal busy seconds."""
    readings: list[float | None] = [None]

    def still() -> bool:
        time.sleep(1.0)
        readings.append(value(scrape(address), metrics.SERVICE_BUSY.name, service_name=SERVICES[0]))
        return readings[-1] is not None and readings[-1] == readings[-2]

    eventually(still, "the services are at rest")
    return scrape(address)


def test_two_services_on_one_gpu_are_seen_to_wait_for_each_other(
    shared: tuple[str, str, list[Tenant]], eventually: Eventually, capsys: pytest.CaptureFixture[str]
) -> None:
    """Predicted GPU wait and measured loss are printed; only the waiting pairs are asserted."""
    address, uuid, tenants = shared
    iterations = tenants[0].calibrate(KERNEL)
    alone = [at_once([each], ALONE, iterations)[0] for each in tenants]
    before = settled(address, eventually)
    together = at_once(tenants, TOGETHER, iterations)
    after = settled(address, eventually)
    with capsys.disabled():
        for service, was, then in zip(SERVICES, alone, together, strict=True):
            print(prediction(service, before, after, was, then))
    assert gained(before, after, metrics.CONTENDED.name, uuid=uuid) > 0.5 * TOGETHER
    for victim, other in (SERVICES, SERVICES[::-1]):
        own = {"uuid": uuid, "service_name": victim, "source": "otel"}
        assert gained(before, after, metrics.SERVICE_BUSY.name, **own) > 0.1 * TOGETHER
        waited = gained(before, after, metrics.SERVICE_WAIT.name, **own)
        by_other = gained(before, after, metrics.SERVICE_WAIT_BY_AGGRESSOR.name, **own, aggressor_name=other)
        assert waited > 0.1 * TOGETHER
        assert by_other > 0.5 * waited


def test_context_switches_are_more_while_services_are_seen_to_contend(
    shared: tuple[str, str, list[Tenant]], capsys: pytest.CaptureFixture[str]
) -> None:
    """The score is printed, not asserted: how much time switches take is not known of any card."""
    address, uuid, tenants = shared
    if value(scrape(address), metrics.CONTEXT_SWITCH.name, uuid=uuid) is None:
        pytest.skip("this GPU or its driver reports no time in context switches (GPM metric 174; Hopper and newer)")
    iterations = tenants[0].calibrate(KERNEL)
    with watched(lambda: scrape(address), WATCH) as scrapes:
        for _ in range(ROUNDS):
            at_once(tenants[:1], ROUND, iterations)
            at_once(tenants, ROUND, iterations)
    found = agreement(intervals(scrapes, uuid))
    with capsys.disabled():
        print(found)
    assert found is not None, "the estimate never, or always, saw contention"
    assert min(found.contended, found.others) >= ROUNDS, "the estimate follows the rounds alone and together"
