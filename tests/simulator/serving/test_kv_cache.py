"""Blocks of the KV cache against counts per request."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from foreshock_simulator.serving.kv_cache import KvCache, block_count


@given(
    st.lists(st.integers(1, 100), min_size=1, max_size=8), st.integers(0, 200), st.lists(st.integers(0, 60), max_size=6)
)
def test_blocks_add_up_over_requests(tokens: list[int], start: int, stretches: list[int]) -> None:
    """After any number of steps in any split, and after requests leave."""
    cache = KvCache(10_000)
    for each in tokens:
        cache.hold(each)
        cache.join(each, start)
    step = start
    for stretch in stretches:
        cache.advance(step, stretch)
        step += stretch
        assert cache.used == sum(block_count(each + step - start) for each in tokens)
    for each in tokens:
        cache.leave(each + step - start, step)
    assert cache.used == 0


@given(
    st.lists(st.integers(1, 100), min_size=1, max_size=8), st.integers(0, 50), st.integers(0, 40), st.integers(1, 300)
)
def test_steps_run_until_the_blocks_are_used(tokens: list[int], start: int, spare: int, limit: int) -> None:
    """The number of steps fits; one more would not, unless it is the limit."""
    cache = KvCache(sum(block_count(each) for each in tokens) + spare)
    for each in tokens:
        cache.hold(each)
        cache.join(each, start)
    steps = cache.steps_until_full(start, limit)
    assert cache.needed(start, steps) <= spare
    assert steps == limit or cache.needed(start, steps + 1) > spare
