"""Names and addresses that mean this machine alone."""

from __future__ import annotations

import pytest

from foreshock_dashboard.common.addresses import is_loopback, without_credentials


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True), ("127.0.0.1", True), ("127.8.0.1", True), ("::1", True), ("::1%lo", True),
        ("", False), ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("localhost.", False),  # noqa: S104
        ("localhost.example", False), ("127.0.0.1.example", False), ("127.1", False), ("[::1]", False),
    ],
)  # fmt: skip
def test_only_localhost_and_loopback_addresses_are_loopback(host: str, *, loopback: bool) -> None:
    """Other names are not, whatever they resolve to."""
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://ada:secret@h:9090/x", "http://h:9090/x"),
        ("http://ada:sec//ret@p@h", "http://h"),
        ("ada:secret@h:9090", "h:9090"),
        ("http:/ada:secret@h", "h"),
        ("ada:sec//ret@h", "ada:sec//h"),
        ("http://h/x", "http://h/x"),
        ("h:9090", "h:9090"),
        ("--targets: 'http://ada:secret@[::1' is not a valid URL", "--targets: 'http://[::1' is not a valid URL"),
        ("--targets: 'ada:secret@h' is no URL; use http://h", "--targets: 'h' is no URL; use http://h"),
        ('--targets: "ada:sec\'ret@h" is no URL; use http://h', '--targets: "h" is no URL; use http://h'),
    ],
)
def test_a_message_shows_a_url_without_credentials(text: str, shown: str) -> None:
    assert without_credentials(text) == shown
