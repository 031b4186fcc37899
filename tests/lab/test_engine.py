"""Continuous batching of the laboratory's model servers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from behavior import Behavior
from engine import BLOCK_TOKENS, PREEMPTIONS, Engine

DEADLINE_SECONDS = 20.0


def run(tmp_path: Path, use: Callable[[Engine], Awaitable[Any]], *, slots: int = 4, kv_tokens: int = 1 << 20) -> Any:  # noqa: ANN401
    model = {
        "name": tmp_path.name,
        "slots": slots,
        "kv_tokens": kv_tokens,
        "step_seconds": 1e-4,
        "sequence_seconds": 0.0,
        "prefill_tokens_per_second": 1e9,
    }

    async def main() -> Any:  # noqa: ANN401
        engine = Engine(model, Behavior(tmp_path / "control.json"))
        batches = asyncio.create_task(engine.run())
        try:
            return await asyncio.wait_for(use(engine), DEADLINE_SECONDS)
        finally:
            batches.cancel()

    return asyncio.run(main())


def preemptions(tmp_path: Path) -> float:
    return float(PREEMPTIONS.labels(tmp_path.name, "0")._value.get())


def test_a_request_gets_all_its_tokens(tmp_path: Path) -> None:
    sequence = run(tmp_path, lambda engine: engine.generate(100, 7))
    assert sequence.generated == 7
    assert sequence.arrived <= sequence.admitted <= sequence.first_token


@pytest.mark.parametrize("slots", [1, 3])
def test_requests_beyond_the_slots_wait_their_turn(tmp_path: Path, slots: int) -> None:
    async def use(engine: Engine) -> list[float]:
        sequences = await asyncio.gather(*(engine.generate(10, 5) for _ in range(9)))
        return [sequence.first_token for sequence in sequences]

    times = run(tmp_path, use, slots=slots)
    assert times == sorted(times)
    assert len(set(times)) == 9 // slots


def test_a_request_waits_until_its_prompt_fits_into_the_kv_cache(tmp_path: Path) -> None:
    async def use(engine: Engine) -> list[float]:
        sequences = await asyncio.gather(*(engine.generate(10 * BLOCK_TOKENS - 5, 5) for _ in range(2)))
        return [sequence.first_token for sequence in sequences]

    first, second = run(tmp_path, use, kv_tokens=15 * BLOCK_TOKENS)
    assert first < second
    assert preemptions(tmp_path) == 0


def test_a_full_kv_cache_preempts_the_newest_request_and_all_end(tmp_path: Path) -> None:
    async def use(engine: Engine) -> list[int]:
        sequences = await asyncio.gather(*(engine.generate(BLOCK_TOKENS, 8 * BLOCK_TOKENS) for _ in range(3)))
        return [sequence.generated for sequence in sequences]

    assert run(tmp_path, use, kv_tokens=12 * BLOCK_TOKENS) == [8 * BLOCK_TOKENS] * 3
    assert preemptions(tmp_path) > 0


def test_a_cancelled_request_frees_its_slot(tmp_path: Path) -> None:
    async def use(engine: Engine) -> int:
        endless = asyncio.create_task(engine.generate(10, 10**9))
        waiting = asyncio.create_task(engine.generate(10, 3))
        await asyncio.sleep(0)
        endless.cancel()
        return (await waiting).generated

    assert run(tmp_path, use, slots=1) == 3


def test_a_fault_changes_the_slots_of_a_running_engine(tmp_path: Path) -> None:
    async def use(engine: Engine) -> int:
        (tmp_path / "control.json").write_text('{"slots": 1}')
        sequences = await asyncio.gather(*(engine.generate(10, 5) for _ in range(4)))
        return len({sequence.first_token for sequence in sequences})

    assert run(tmp_path, use, slots=4) == 4
