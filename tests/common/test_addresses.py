"""Names and addresses that mean this machine alone."""

from __future__ import annotations

import pytest

from foreshock_dashboard.common.addresses import is_loopback


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
