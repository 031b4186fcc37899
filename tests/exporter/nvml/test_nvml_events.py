"""XID errors from NVML events."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tests.exporter.nvml.conftest import Open
from tests.exporter.nvml.fake import FakeNvml, error, gpu_of, handle_of

from foreshock_exporter.model.device import DeviceError, Xid
from foreshock_exporter.nvml import RETRY_SECONDS, NvmlDriver
from foreshock_exporter.nvml.events import MAX_EVENTS, REGISTER_RETRY_SECONDS


class Pending:
    """The events that an imagined driver still has to deliver; each wait passes its time when there are none."""

    def __init__(self, clock: list[float]) -> None:
        self._clock = clock
        self.events: list[SimpleNamespace | str] = []
        self.waits: list[int] = []

    def add(self, gpu: int, xid: int, kind: int = 8) -> None:
        """Let an event be pending."""
        self.events.append(SimpleNamespace(device=handle_of(gpu), eventType=kind, eventData=xid))

    def __call__(self, _set: object, milliseconds: int) -> SimpleNamespace:
        self.waits.append(milliseconds)
        event = self.events.pop(0) if self.events else "TIMEOUT"
        if isinstance(event, str):
            self._clock[0] += milliseconds / 1000.0 if event == "TIMEOUT" else 0.0
            raise error(event)
        return event


Listening = tuple[NvmlDriver, FakeNvml, Pending]


@pytest.fixture
def listening(driver: Open, clock: list[float]) -> Listening:
    """Two GPUs and what they have to report."""
    pending = Pending(clock)
    adapter, fake = driver(gpus=2, nvmlEventSetWait_v2=pending)
    return adapter, fake, pending


def registered(fake: FakeNvml) -> list[int]:
    """The GPUs that were registered, in order."""
    return [gpu_of(call[1]) for call in fake.calls if call[0] == "nvmlDeviceRegisterEvents"]


def test_all_that_is_pending_comes_at_once_with_the_gpu_it_is_about(listening: Listening) -> None:
    adapter, fake, pending = listening
    pending.add(1, 94)
    pending.add(0, 31)
    pending.add(0, 5, kind=16)
    pending.add(1, 94)
    assert adapter.xids(1.5) == [Xid("GPU-1", 94), Xid("GPU-0", 31), Xid("GPU-1", 94)]
    assert pending.waits == [1500, 0, 0, 0, 0]
    assert registered(fake) == [0, 1]
    assert all(call[2] == 8 for call in fake.calls if call[0] == "nvmlDeviceRegisterEvents")


def test_waiting_never_exceeds_the_timeout(listening: Listening, clock: list[float]) -> None:
    adapter, _, pending = listening
    pending.events.extend(SimpleNamespace(device=handle_of(0), eventType=16, eventData=1) for _ in range(3))
    assert adapter.xids(2.0) == []
    assert clock[0] <= 2.0
    assert adapter.xids(0.0) == []
    assert clock[0] <= 2.0


def test_a_flood_of_errors_is_taken_in_parts(listening: Listening) -> None:
    adapter, _, pending = listening
    for _ in range(MAX_EVENTS + 1):
        pending.add(0, 13)
    assert [len(adapter.xids(1.0)) for _ in range(2)] == [MAX_EVENTS, 1]


def test_a_gpu_that_comes_late_is_listened_to(listening: Listening) -> None:
    adapter, fake, pending = listening
    adapter.xids(0.0)
    fake.gpus = 3
    pending.add(2, 48)
    assert adapter.xids(0.0) == [Xid("GPU-2", 48)]
    assert registered(fake) == [0, 1, 2]


def test_events_of_a_lost_gpu_have_its_uuid_and_others_still_report(listening: Listening) -> None:
    adapter, fake, pending = listening
    adapter.xids(0.0)
    fake.fail("nvmlDeviceGetUUID", "GPU_IS_LOST")
    pending.add(0, 79)
    pending.add(1, 31)
    assert adapter.xids(0.0) == [Xid("GPU-0", 79), Xid("GPU-1", 31)]


def test_a_gpu_that_cannot_be_registered_does_not_silence_the_others(listening: Listening, clock: list[float]) -> None:
    """The set is undefined after such a failure; another is made without it, and with it when it may be back."""
    adapter, fake, pending = listening

    def register(handle: object, _kind: int, _set: object) -> None:
        if gpu_of(handle) == 0 and clock[0] == 0.0:
            raise error("UNKNOWN")

    fake.answers["nvmlDeviceRegisterEvents"] = register
    pending.add(1, 31)
    assert adapter.xids(0.0) == [Xid("GPU-1", 31)]
    assert (fake.times("nvmlEventSetCreate"), fake.times("nvmlEventSetFree")) == (2, 1)
    clock[0] = REGISTER_RETRY_SECONDS
    pending.add(0, 31)
    assert adapter.xids(0.0) == [Xid("GPU-0", 31)]


def test_after_a_failed_wait_the_gpus_are_registered_again(listening: Listening) -> None:
    adapter, fake, pending = listening
    pending.add(0, 79)
    pending.events.append("GPU_IS_LOST")
    assert adapter.xids(0.0) == [Xid("GPU-0", 79)], "what came before is not lost"
    pending.events.append("GPU_IS_LOST")
    with pytest.raises(DeviceError) as raised:
        adapter.xids(0.0)
    assert raised.value.reason == "lost"
    pending.add(1, 31)
    assert adapter.xids(0.0) == [Xid("GPU-1", 31)]
    assert fake.times("nvmlEventSetCreate") == fake.times("nvmlEventSetFree") + 1 == 3


def test_the_set_is_freed_before_nvml_is_shut_down_and_made_again_after(
    listening: Listening, clock: list[float]
) -> None:
    adapter, fake, pending = listening
    adapter.xids(0.0)
    pending.events.append("UNINITIALIZED")
    with pytest.raises(DeviceError):
        adapter.xids(0.0)
    names = [call[0] for call in fake.calls]
    assert names.index("nvmlEventSetFree") < names.index("nvmlShutdown")
    clock[0] += RETRY_SECONDS
    pending.add(0, 31)
    assert adapter.xids(0.0) == [Xid("GPU-0", 31)]
    adapter.close()
    assert [call[0] for call in fake.calls][-2:] == ["nvmlEventSetFree", "nvmlShutdown"]


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"errors": {"nvmlDeviceRegisterEvents": "NOT_SUPPORTED"}}, "not_supported"),
        ({"errors": {"nvmlEventSetCreate": "NOT_SUPPORTED"}}, "not_supported"),
        ({"errors": {"nvmlDeviceGetHandleByIndex": "GPU_IS_LOST"}}, "lost"),
        ({"errors": {"nvmlInit": "DRIVER_NOT_LOADED"}}, "driver"),
        ({"gpus": 0}, "not_found"),
    ],
)
def test_without_events_the_error_has_the_reason(parts: dict[str, Any], reason: str, driver: Open) -> None:
    adapter, _ = driver(**parts)
    for _ in range(2):
        with pytest.raises(DeviceError) as raised:
            adapter.xids(0.0)
        assert raised.value.reason == reason
