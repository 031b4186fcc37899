"""XID errors from NVML events and the kernel log together: each error once, with the service that it hit."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest
from tests.exporter.conftest import ScriptedGpu, ScriptedHost, Series

from foreshock_exporter.exporter import Exporter
from foreshock_exporter.gpu import xids
from foreshock_exporter.model.device import DeviceError, Xid
from foreshock_exporter.model.xid import KernelMessage


class Kernel:
    """A kernel log that a test writes."""

    def __init__(self) -> None:
        self.lines: list[KernelMessage] = []
        self.broken: OSError | None = None

    def __call__(self) -> list[KernelMessage]:
        if self.broken:
            raise self.broken
        read, self.lines = self.lines, []
        return read

    def log(self, gpu: int, rest: str, time: float = 0.0) -> None:
        self.lines.append(KernelMessage(time, f"NVRM: Xid (PCI:0000:{gpu:02x}:00): {rest}"))


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def host(scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu]) -> ScriptedHost:
    """Two GPUs; services "one" (pid 1) and "two" (pid 2) use the first."""
    return scripted(gpu(memory={1: 1.0, 2: 1.0}), gpu())


@pytest.fixture
def exporter(host: ScriptedHost, kernel: Kernel) -> Iterator[Exporter]:
    exporter = Exporter(
        host, host.resolve, host_id="id-1", host_name="node-1", now=host.now, timer=lambda: 0.0, kernel_log=kernel
    )
    exporter.sample()
    yield exporter
    exporter.close()


@pytest.fixture
def sampled(
    exporter: Exporter, host: ScriptedHost, series: Callable[[bytes], Series]
) -> Callable[[str], dict[tuple[str, ...], float]]:
    """Sample a second later; the values of a family by GPU, service name, and XID or SXID."""

    def sample(family: str) -> dict[tuple[str, ...], float]:
        host.time += 1.0
        exporter.sample()
        return {
            tuple(dict(labels)[name] for name in ("gpu", "service_name", "xid", "sxid") if name in dict(labels)): value
            for (name, labels), value in series(exporter.render()).items()
            if name == family
        }

    return sample


Sampled = Callable[[str], dict[tuple[str, ...], float]]


def test_an_error_that_both_report_is_counted_once_and_one_that_either_misses_still_is(
    host: ScriptedHost, kernel: Kernel, sampled: Sampled
) -> None:
    host.reported = [Xid("GPU-0", 31), Xid("GPU-0", 31), Xid("GPU-1", 48)]
    for pid in (1, 2):
        kernel.log(0, f"31, pid={pid}, name=python3, Ch 00000010", 5.0)
    kernel.log(1, "79, GPU has fallen off the bus.", 6.0)
    assert sampled("gpu_xid_errors_total") == {("0", "31"): 2, ("1", "48"): 1, ("1", "79"): 1}
    kernel.log(0, "31, pid=1, name=python3, Ch 00000010", 60.0)
    assert sampled("gpu_xid_errors_total")["0", "31"] == 3


def test_the_lines_of_one_exception_are_one_error(kernel: Kernel, sampled: Sampled) -> None:
    for sm in range(9):
        kernel.log(0, f"13, pid=1, name=python3, Graphics SM Warp Exception on (GPC 0, TPC {sm})", 5.0 + sm / 10)
    assert sampled("gpu_xid_errors_total") == {("0", "13"): 1}
    kernel.log(0, "13, pid=1, name=python3, Graphics Exception", 7.0)
    assert sampled("gpu_xid_errors_total") == {("0", "13"): 2}


def test_an_error_is_attributed_to_the_service_of_its_process_even_if_that_is_gone(
    host: ScriptedHost, kernel: Kernel, sampled: Sampled, caplog: pytest.LogCaptureFixture
) -> None:
    host.gpus[0].memory, host.services = {2: 1.0}, {}
    kernel.log(0, "31, pid=1, name=python3, Ch 00000010, MMU Fault")
    with caplog.at_level(logging.WARNING):
        assert sampled("gpu_service_xid_errors_total") == {("0", "one", "31"): 1}
    (message,) = [record.getMessage() for record in caplog.records if "XID" in record.getMessage()]
    assert message == (
        "GPU 0 (GPU-0, H100, PCI 0000:00:00.0): the kernel logs XID 31 (GPU memory page fault; action: restart the "
        "application), process 1 python3, service shop/one"
    )


@pytest.mark.parametrize("rest", ["79, pid=3, name=nvidia-smi, GPU has fallen off the bus.", "79, GPU is lost"])
def test_a_process_that_does_not_use_the_gpu_has_no_error(rest: str, kernel: Kernel, sampled: Sampled) -> None:
    """A process that queries a lost GPU reports it: often this exporter."""
    kernel.log(0, rest)
    assert sampled("gpu_service_xid_errors_total") == {}


def test_errors_of_a_gpu_that_never_answered_and_of_switches_count(kernel: Kernel, sampled: Sampled) -> None:
    kernel.log(9, "79, GPU has fallen off the bus.")
    kernel.lines += [
        KernelMessage(0.0, f"nvidia-nvswitch0: SXid (PCI:0000:c1:00.0): 12028, {rest}")
        for rest in ("Fatal, Link 32 egress error (First)", "Severity 1 Engine instance 32", "Data {0x1}")
    ]
    assert sampled("gpu_xid_errors_total") == {("", "79"): 1}
    kernel.lines.append(KernelMessage(1.0, "nvidia-nvswitch0: SXid (PCI:0000:c1:00.0): 12028, Fatal, Link 32"))
    assert list(sampled("nvswitch_sxid_errors_total").values()) == [2]


def test_series_are_bounded(kernel: Kernel, sampled: Sampled, monkeypatch: pytest.MonkeyPatch) -> None:
    """The latest services with errors stay; further switches are counted together."""
    monkeypatch.setattr(xids, "MAX_SERVICE_SERIES", 2)
    monkeypatch.setattr(xids, "MAX_SXID_SERIES", 2)
    for number in range(1, 31):
        kernel.log(0, f"{number}, pid=1, name=a, error")
        kernel.lines.append(KernelMessage(0.0, f"nvidia-nvswitch0: SXid (PCI:0:0:0.0): {number}, Fatal, Link 1"))
    found = sampled("gpu_service_xid_errors_total")
    assert (len(found), found["0", "one", "other"]) == (2, 14)
    assert sorted(sampled("nvswitch_sxid_errors_total").values()) == [1, 1, 28]
    assert len(sampled("gpu_xid_errors_total")) == xids.MAX_XID_KINDS + 1


def test_an_unreadable_log_is_reported_once_and_takes_nothing_else_along(
    host: ScriptedHost,
    kernel: Kernel,
    sampled: Sampled,
    caplog: pytest.LogCaptureFixture,
    exporter: Exporter,
    series: Callable[[bytes], Series],
) -> None:
    kernel.broken = PermissionError("/dev/kmsg cannot be read; grant CAP_SYSLOG")
    host.reported = [Xid("GPU-0", 79)]
    with caplog.at_level(logging.WARNING):
        sampled("gpu_xid_errors_total")
        assert sampled("gpu_xid_errors_total") == {("0", "79"): 1}
    assert [record.getMessage() for record in caplog.records if "kmsg" in record.getMessage()] == [
        "kernel log: /dev/kmsg cannot be read; grant CAP_SYSLOG"
    ]
    success = "foreshock_exporter_collector_success", frozenset({("collector", "kernel_log")})
    assert series(exporter.render())[success] == 0.0
    kernel.broken = None
    sampled("gpu_xid_errors_total")
    assert series(exporter.render())[success] == 1.0


def test_errors_count_while_the_gpu_is_lost(host: ScriptedHost, kernel: Kernel, sampled: Sampled) -> None:
    host.gpus[0].broken = DeviceError("lost", "fell off the bus")
    sampled("gpu_xid_errors_total")
    kernel.log(0, "79, GPU has fallen off the bus.")
    assert sampled("gpu_xid_errors_total") == {("0", "79"): 1}
