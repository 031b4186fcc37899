"""Password checks: results, cache, and cost of guessing."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import Eventually

from foreshock_exporter.web.auth import DELAY_RATIO, MAX_DELAY_SECONDS, PasswordChecker, basic_credentials


class Slow:
    """Replacement of bcrypt that counts checks."""

    def __init__(self) -> None:
        self.tried: list[tuple[bytes, bytes]] = []
        self.at_once = self.most = 0
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self, password: bytes, stored: bytes) -> bool:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        self.tried.append((password, stored))
        self.go_on.wait(30)
        self.at_once -= 1
        return stored.endswith(b":" + password)


USERS = {"alice": b"$2y$04$:apple", "bob": b"$2y$10$:pear"}


@pytest.fixture
def slow() -> Slow:
    return Slow()


def test_a_real_hash_lets_its_password_in_and_no_other(hashed: Callable[[str], str]) -> None:
    passwords = PasswordChecker(sleep=lambda seconds: None)
    users = {"alice": hashed("apple").encode()}
    assert passwords.check(users, "alice", b"apple", "a") == "right"
    assert passwords.check(users, "alice", b"apples", "a") == "wrong"
    assert passwords.check(users, "alice", b"", "a") == "wrong"
    assert passwords.check(users, "alice", b"x" * 100, "a") == "wrong"
    assert passwords.check(users, "mallory", b"apple", "a") == "wrong"


def test_bcrypt_runs_once_for_a_password_that_is_right(slow: Slow) -> None:
    passwords = PasswordChecker(sleep=lambda seconds: None, matches=slow)
    assert [passwords.check(USERS, "alice", b"apple", "a") for _ in range(100)] == ["right"] * 100
    assert len(slow.tried) == 1


def test_a_wrong_password_is_never_cached_and_evicts_no_user(slow: Slow) -> None:
    passwords = PasswordChecker(sleep=lambda seconds: None, matches=slow)
    passwords.check(USERS, "alice", b"apple", "a")
    assert [passwords.check(USERS, "alice", b"plum", "a") for _ in range(3)] == ["wrong"] * 3
    assert len(slow.tried) == 4
    assert passwords.check(USERS, "alice", b"apple", "a") == "right"
    assert len(slow.tried) == 4


def test_a_changed_hash_ends_the_old_password_at_once(slow: Slow) -> None:
    passwords = PasswordChecker(sleep=lambda seconds: None, matches=slow)
    passwords.check(USERS, "alice", b"apple", "a")
    assert passwords.check({"alice": b"$2y$04$:plum"}, "alice", b"apple", "a") == "wrong"
    assert passwords.check({"bob": USERS["bob"]}, "alice", b"apple", "a") == "wrong"


def test_the_cache_is_bounded_by_the_users_and_holds_no_password(slow: Slow) -> None:
    passwords = PasswordChecker(sleep=lambda seconds: None, matches=slow)
    for user, password in (("alice", b"apple"), ("bob", b"pear"), ("mallory", b"apple"), ("eve", b"pear")):
        passwords.check(USERS, user, password, "a")
    assert set(passwords._verified) == {"alice", "bob"}
    assert b"apple" not in passwords._verified["alice"]
    passwords.forget({"bob": USERS["bob"]})
    assert set(passwords._verified) == {"bob"}
    assert len(passwords._address_locks) == 0


def test_a_name_that_is_not_there_costs_as_much_as_the_dearest_that_is(slow: Slow) -> None:
    passwords = PasswordChecker(sleep=lambda seconds: None, matches=slow)
    assert passwords.check(USERS, "mallory", b"pear", "a") == "wrong"
    assert slow.tried == [(b"pear", USERS["bob"])]


def test_a_wrong_password_costs_a_wait_in_proportion(slow: Slow) -> None:
    rested: list[float] = []
    ticks = iter([0.0, 0.25, 10.0, 19.0])
    passwords = PasswordChecker(sleep=rested.append, matches=slow, timer=lambda: next(ticks))
    passwords.check(USERS, "alice", b"plum", "a")
    passwords.check(USERS, "alice", b"plum", "a")
    assert rested == [DELAY_RATIO * 0.25, MAX_DELAY_SECONDS]


def test_passwords_are_tried_one_at_a_time(slow: Slow) -> None:
    passwords = PasswordChecker(sleep=lambda seconds: None, matches=slow)
    threads = [
        threading.Thread(target=passwords.check, args=(USERS, "alice", b"plum", f"host-{number}"))
        for number in range(8)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (slow.most, len(slow.tried)) == (1, 8)


def test_many_that_send_the_same_right_password_at_once_cost_one_bcrypt(slow: Slow) -> None:
    passwords, verdicts = PasswordChecker(matches=slow, max_address_checks=8), []
    slow.go_on.clear()
    threads = [
        threading.Thread(target=lambda: verdicts.append(passwords.check(USERS, "bob", b"pear", "a"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    slow.go_on.set()
    for thread in threads:
        thread.join()
    assert (verdicts, len(slow.tried)) == (["right"] * 8, 1)


def test_a_delayed_guesser_delays_no_other_address(slow: Slow) -> None:
    resting, over = threading.Event(), threading.Event()

    def rest(_: float) -> None:
        resting.set()
        over.wait(30)

    passwords = PasswordChecker(sleep=rest, matches=slow)
    guesser = threading.Thread(target=passwords.check, args=(USERS, "alice", b"plum", "guesser"))
    guesser.start()
    assert resting.wait(30)
    assert passwords.check(USERS, "alice", b"apple", "scraper") == "right"
    over.set()
    guesser.join()


def test_guessers_at_many_addresses_leave_places_to_first_attempts(slow: Slow, eventually: Eventually) -> None:
    """More addresses than there are places, which guess again at once: half of the places stay free of them."""
    over = threading.Event()
    passwords = PasswordChecker(sleep=lambda _: over.wait(30), matches=slow, max_checks=4)
    addresses = [f"guesser-{number}" for number in range(20)]
    threads = [threading.Thread(target=passwords.check, args=(USERS, "alice", b"plum", one)) for one in addresses]
    for thread in threads:
        thread.start()
        eventually(lambda: passwords._attempts.total() <= 2, "two are delayed at most")
    assert [passwords.check(USERS, "alice", b"plum", one) for one in addresses] == ["busy"] * 20
    assert passwords.check(USERS, "alice", b"apple", "scraper") == "right"
    over.set()
    for thread in threads:
        thread.join()
    assert passwords.check(USERS, "bob", b"pear", "guesser-0") == "right"
    assert "guesser-0" not in passwords._guessers


def test_the_addresses_of_guessers_are_bounded(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foreshock_exporter.web.auth.MAX_GUESSERS", 2)
    passwords = PasswordChecker(sleep=lambda seconds: None, matches=slow)
    for address in ("a", "b", "a", "c"):
        passwords.check(USERS, "alice", b"plum", address)
    assert list(passwords._guessers) == ["a", "c"]


def test_an_attempt_that_waits_too_long_is_busy(slow: Slow) -> None:
    passwords = PasswordChecker(matches=slow, max_wait=0.01)
    slow.go_on.clear()
    first = threading.Thread(target=passwords.check, args=(USERS, "alice", b"apple", "one"))
    first.start()
    assert passwords.check(USERS, "bob", b"pear", "one") == "busy"
    assert passwords.check(USERS, "bob", b"pear", "two") == "busy"
    slow.go_on.set()
    first.join()
    assert passwords.check(USERS, "bob", b"pear", "two") == "right"


@pytest.mark.parametrize(
    ("addresses", "max_checks", "max_address_checks"), [(["one"] * 3, 9, 2), (["one", "two", "three"], 2, 9)]
)
def test_attempts_beyond_a_limit_are_busy_at_once_and_a_verified_password_never_is(
    slow: Slow, eventually: Eventually, addresses: list[str], max_checks: int, max_address_checks: int
) -> None:
    """Refusal takes no time, so it holds no connection; the places are free again after the checks."""
    passwords = PasswordChecker(
        sleep=lambda seconds: None, matches=slow, max_checks=max_checks, max_address_checks=max_address_checks
    )
    assert passwords.check(USERS, "alice", b"apple", "scraper") == "right"
    slow.go_on.clear()
    *waiting, refused = addresses
    threads = [threading.Thread(target=passwords.check, args=(USERS, "bob", b"plum", address)) for address in waiting]
    for thread in threads:
        thread.start()
    eventually(lambda: passwords._attempts.total() == 2, "both are in a check")
    assert passwords.check(USERS, "bob", b"plum", refused) == "busy"
    assert passwords.check(USERS, "alice", b"apple", refused) == "right"
    slow.go_on.set()
    for thread in threads:
        thread.join()
    assert passwords.check(USERS, "bob", b"pear", refused) == "right"
    assert not passwords._attempts


@pytest.mark.parametrize(
    "header",
    ["", "Basic", "Basic ", "Bearer YTpi", "Basic !!!", "Basic YQ==", "Basic YTpi, Basic YTpi", "Basic /zo=", "YTpi"],
)
def test_a_header_without_user_and_password_has_none(header: str) -> None:
    assert basic_credentials(header) is None


@given(st.text().filter(lambda user: ":" not in user), st.binary())
def test_every_user_and_password_arrive_as_they_were_sent(user: str, password: bytes) -> None:
    sent = base64.b64encode(user.encode() + b":" + password).decode()
    assert basic_credentials(f"bAsIc {sent}") == (user, password)


@given(st.text(max_size=40))
def test_no_header_breaks_the_reading_of_it(header: str) -> None:
    found = basic_credentials(f"Basic {header}")
    assert found is None or ":" not in found[0]
