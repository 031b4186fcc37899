"""The memory limit of the hub: its shares, and what happens without room."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from mmap import mmap
from pathlib import Path

import httpx
import pytest
from tests.hub.sending import request

from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.common.process import resident_bytes
from foreshock_dashboard.hub.hub import Hub
from foreshock_dashboard.hub.memory import LEDGER_LINE_BYTES, PROGRAM_BYTES, Memory
from foreshock_dashboard.model.cost.ledger import MAX_LEDGER_HOURS
from foreshock_dashboard.settings.settings import MIN_MEMORY_BYTES, Settings
from foreshock_dashboard.store import StoreLimits

MIB = 1 << 20
SIZES = (MIN_MEMORY_BYTES, 300 * MIB, 512 * MIB, 2048 * MIB, 16384 * MIB)


@pytest.mark.parametrize("limit", SIZES)
def test_each_share_of_the_memory_is_part_of_what_the_program_leaves(limit: int) -> None:
    """One number sets all of them; a larger one lowers none."""
    memory, smaller = Memory(limit), Memory(max(MIN_MEMORY_BYTES, limit // 2))
    for share, before in zip(_shares(memory), _shares(smaller), strict=True):
        assert 0 < share < limit - PROGRAM_BYTES
        assert share >= before


def _shares(memory: Memory) -> tuple[float, ...]:
    store = memory.store_limits()
    duckdb = int(store.duckdb_memory.removesuffix("MiB")) * MIB
    return (
        memory.request_bytes,
        memory.world_bytes,
        memory.range_bytes,
        memory.ledger_lines * MAX_LEDGER_HOURS * LEDGER_LINE_BYTES,
        store.max_head_bytes,
        store.block_bytes,
        duckdb,
    )


def test_the_guide_says_how_many_series_fit() -> None:
    """So an operator chooses the limit from its table."""
    guide = (Path(__file__).parents[2] / "docs/guides/sizing.md").read_text()
    default = Settings()
    for mib in (256, 300, 512, 1024, 1536):
        memory = Memory(mib * MIB)
        series = memory.store_limits().max_series
        spans = min(default.span_metrics_max_series, memory.span_series)
        assert f"| {mib} MiB | {series:,} | {spans:,} | {series // 77:,} |" in guide


def test_there_is_room_up_to_the_limit_less_a_reserve() -> None:
    """With little room, relief begins before anything is refused."""
    used = [PROGRAM_BYTES]
    memory = Memory(300 * MIB, lambda: used[0])
    for rest, size, room, tight in (
        (95, 0, True, False),
        (75, 10, True, False),
        (75, 20, True, True),
        (75, 40, False, True),
        (0, 1, False, True),
        (-95, 1, False, True),
    ):
        used[0] = (300 - rest) * MIB
        memory.tight.clear()
        assert (memory.has_room(size * MIB), memory.tight.is_set()) == (room, tight)


def test_with_little_room_evaluations_and_blocks_take_turns() -> None:
    """So their peaks do not add up; with room, neither waits."""
    used = [PROGRAM_BYTES]
    memory, entered = Memory(300 * MIB, lambda: used[0]), threading.Event()

    def other() -> None:
        with memory.turn():
            entered.set()

    for resident, waits in ((PROGRAM_BYTES, False), (300 * MIB, True)):
        used[0] = resident
        entered.clear()
        thread = threading.Thread(target=other)
        with memory.turn():
            thread.start()
            assert entered.wait(0.1 if waits else 30) != waits
        thread.join(30)
        assert entered.is_set()


def test_the_reserve_holds_a_merge() -> None:
    """What is admitted at most leaves room for DuckDB."""
    for limit in (300 * MIB, 512 * MIB, 2048 * MIB):
        used = [0]
        memory = Memory(limit, lambda: used[0])  # noqa: B023 - called in this round
        used[0] = limit - int(memory.store_limits().duckdb_memory.removesuffix("MiB")) * MIB + MIB
        assert not memory.has_room(0)


def test_the_resident_memory_is_that_of_the_kernel() -> None:
    """What the kernel counts, in bytes."""
    block = mmap(-1, 64 * MIB)  # memory of malloc may be in use already, and stay
    block[::4096] = b"x" * len(block[::4096])
    before = resident_bytes()
    block.close()
    assert 32 * MIB < before - resident_bytes() < 96 * MIB


def test_without_room_large_requests_are_refused_and_recent_data_goes_to_blocks(
    tmp_path: Path, eventually: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    """A hub that stays at its limit still accepts small requests, says so once, and recovers."""
    caplog.set_level("INFO")
    settings = Settings(port=0, otlp_grpc_port=0, otlp_http_port=0, store_path=tmp_path / "store")
    with closing(Hub(settings, Clock(), maintenance_seconds=0.1)) as hub:
        hub._memory._resident = lambda: 0  # not that of the process, which other tests have used as well
        hub.start()
        url, kind = f"http://127.0.0.1:{hub.http.port}/v1/traces", {"content-type": "application/x-protobuf"}

        def send(spans: int = 1) -> httpx.Response:
            content = request(spans, attributes={"padding": "x" * 1000}).SerializeToString()
            return httpx.post(url, content=content, headers=kind, trust_env=False, timeout=30)

        def memory() -> dict[str, object]:
            found: dict[str, object] = httpx.get(f"{hub.web.url}api/status", trust_env=False).json()["hub"]["memory"]
            return found

        assert (send().status_code, send(1000).status_code, memory()["warning"]) == (200, 200, "")
        real, hub._memory._resident = hub._memory._resident, lambda: settings.memory_limit
        hub.store._spans.head._limits = StoreLimits(block_bytes=4)
        assert send().status_code == 200
        refused = send(1000)
        assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
        eventually(lambda: hub.store.stats().blocks > 0, "recent spans are in a block")
        eventually(lambda: memory()["warning"] != "", "Status warns when relief did not help")
        assert memory() == {
            "resident_bytes": settings.memory_limit,
            "limit_bytes": settings.memory_limit,
            "warning": "memory is at its limit of 512 MiB: OTLP requests above 512 KiB are refused with 503. "
            "Raise --memory-limit, or reduce series and spans: Status shows how many.",
        }
        assert send().status_code == 200
        hub._memory._resident = real
        eventually(lambda: memory()["warning"] == "", "the warning ends")
        assert send(1000).status_code == 200
    logged = [record.levelname for record in caplog.records if record.name.endswith("hub.memory")]
    assert logged == ["WARNING", "INFO"]
