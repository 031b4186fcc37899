"""The cache computes each value once and evicts the least recently used values."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from foreshock_dashboard.common.single_flight_cache import BusyError, SingleFlightCache


def test_concurrent_requests_for_a_key_share_one_computation() -> None:
    """As when the eight charts of a page need one range."""
    made: list[int] = []
    asked = threading.Barrier(8)
    kept: SingleFlightCache[int] = SingleFlightCache(2, max_pending=1)

    def make() -> int:
        made.append(1)
        return 7

    def ask() -> None:
        asked.wait(30)
        got.append(kept.get("day", make))

    got: list[int] = []
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (got, made) == ([7] * 8, [1])


def test_a_key_beyond_the_pending_limit_is_refused() -> None:
    """Each pending key holds a thread; cached values are returned nevertheless."""
    inside, go_on = threading.Event(), threading.Event()
    kept: SingleFlightCache[int] = SingleFlightCache(9, max_pending=1)
    kept.get("there", lambda: 1)

    def slow() -> int:
        inside.set()
        go_on.wait(30)
        return 2

    thread = threading.Thread(target=kept.get, args=("slow", slow))
    thread.start()
    assert inside.wait(30)
    with pytest.raises(BusyError, match="try again in a few seconds"):
        kept.get("other", lambda: 3)
    assert kept.get("there", lambda: 9) == 1
    go_on.set()
    thread.join(30)
    assert kept.get("slow", lambda: 9) == 2


def test_the_least_recently_used_value_is_evicted_at_the_size_limit() -> None:
    """The newest value stays, however large it is."""
    kept: SingleFlightCache[int] = SingleFlightCache(10, float)
    for name, size in (("a", 4), ("b", 4)):
        kept.get(name, lambda size=size: size)  # type: ignore[misc]  # bound in the loop
    kept.get("a", lambda: 0)
    kept.get("c", lambda: 6)
    assert [kept.get("a", lambda: -1), kept.get("c", lambda: -1)] == [4, 6]
    assert kept.get("b", lambda: 5) == 5
    assert kept.get("huge", lambda: 99) == 99


def test_a_failure_is_not_cached() -> None:
    """Only waiting threads get the error."""
    kept: SingleFlightCache[int] = SingleFlightCache(2, max_pending=1)
    with pytest.raises(ZeroDivisionError):
        kept.get("x", lambda: 1 // 0)
    assert kept.get("x", lambda: 5) == 5


def test_another_generation_empties_the_cache() -> None:
    """A value of the earlier generation that is still pending goes to its waiting threads only."""
    kept: SingleFlightCache[str] = SingleFlightCache(10)
    inside, go_on = threading.Event(), threading.Event()

    def slow() -> str:
        inside.set()
        assert go_on.wait(30)
        return "old"

    got: list[str] = []
    thread = threading.Thread(target=lambda: got.append(kept.get("a", slow, 1)))
    thread.start()
    assert inside.wait(30)
    assert kept.get("a", lambda: "new", 2) == "new"
    go_on.set()
    thread.join(30)
    assert (got, kept.get("a", lambda: "made again", 2), len(kept)) == (["old"], "new", 1)


def test_without_a_pending_limit_keys_are_computed_in_parallel() -> None:
    """Two computations meet at a barrier."""
    kept: SingleFlightCache[int] = SingleFlightCache(10)
    both = threading.Barrier(2, timeout=30)
    threads = [threading.Thread(target=kept.get, args=(key, both.wait)) for key in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(kept) == 2


def test_a_raised_error_leaves_no_reference_cycle() -> None:
    """A cycle would keep the values of a failed page alive until the next garbage collection."""

    class Large:
        pass

    kept: SingleFlightCache[int] = SingleFlightCache(2)
    seen: list[weakref.ref[Large]] = []
    inside, go_on = threading.Event(), threading.Event()

    def make() -> int:
        large = Large()
        seen.append(weakref.ref(large))
        inside.set()
        go_on.wait(30)
        raise ValueError("none of that name")

    def ask() -> None:
        with pytest.raises(ValueError, match="none of that name"):
            kept.get("page", make)

    gc.disable()
    try:
        threads = [threading.Thread(target=ask) for _ in range(2)]
        threads[0].start()
        inside.wait(30)
        threads[1].start()
        go_on.set()
        for thread in threads:
            thread.join(30)
        assert [ref() for ref in seen] == [None] * len(seen)
    finally:
        gc.enable()
