"""What takes long to make is made once, and what was asked for lately is kept."""

from __future__ import annotations

import threading

import pytest

from foreshock_dashboard.shelf import BusyError, Shelf


def test_all_who_ask_at_once_get_what_one_of_them_made() -> None:
    """Eight charts of a page ask for one stretch of the past."""
    made: list[int] = []
    asked = threading.Barrier(8)
    shelf: Shelf[str, int] = Shelf(lambda _: 1, room=2, queue=1)

    def make() -> int:
        made.append(1)
        return 7

    def ask() -> None:
        asked.wait(30)
        got.append(shelf.get("day", make))

    got: list[int] = []
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (got, made) == ([7] * 8, [1])


def test_few_different_things_are_in_the_making_at_once() -> None:
    """Each waiting one holds a thread; the next is told to come again, and what is there is given all the same."""
    inside, go_on = threading.Event(), threading.Event()
    shelf: Shelf[str, int] = Shelf(lambda _: 1, room=9, queue=1)
    shelf.get("there", lambda: 1)

    def slow() -> int:
        inside.set()
        go_on.wait(30)
        return 2

    thread = threading.Thread(target=shelf.get, args=("slow", slow))
    thread.start()
    assert inside.wait(30)
    with pytest.raises(BusyError, match="try again in some seconds"):
        shelf.get("other", lambda: 3)
    assert shelf.get("there", lambda: 9) == 1
    go_on.set()
    thread.join(30)
    assert shelf.get("slow", lambda: 9) == 2


def test_the_least_lately_asked_for_is_given_up_where_room_ends() -> None:
    """The newest stays, however large it is."""
    shelf: Shelf[str, int] = Shelf(float, room=10, queue=1)
    for name, size in (("a", 4), ("b", 4)):
        shelf.get(name, lambda size=size: size)  # type: ignore[misc]  # bound in the loop
    shelf.get("a", lambda: 0)
    shelf.get("c", lambda: 6)
    assert [shelf.get("a", lambda: -1), shelf.get("c", lambda: -1)] == [4, 6]
    assert shelf.get("b", lambda: 5) == 5
    assert shelf.get("huge", lambda: 99) == 99


def test_what_failed_is_tried_again() -> None:
    """An error is for those who waited, not for ever."""
    shelf: Shelf[str, int] = Shelf(lambda _: 1, room=2, queue=1)
    with pytest.raises(ZeroDivisionError):
        shelf.get("x", lambda: 1 // 0)
    assert shelf.get("x", lambda: 5) == 5
