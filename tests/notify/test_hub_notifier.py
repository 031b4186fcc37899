"""The notifier of a hub's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.hub.notifications import notifier
from foreshock_dashboard.notify.notifier import Hooks
from foreshock_dashboard.settings.settings import HubError, Settings
from foreshock_dashboard.store.outbox_file import OUTBOX_FILE, OutboxFile

HOOKS = Hooks("https://hub.example.com")


@pytest.mark.parametrize(
    "settings",
    [Settings(), Settings(alertmanager_url=("http://am:9093",), at=1.8e9)],
    ids=["no receiver", "a hub at a past time"],
)
def test_without_a_receiver_or_at_a_past_time_nothing_is_sent(settings: Settings, tmp_path: Path) -> None:
    """Nor is there an outbox."""
    assert notifier(settings, Clock(), lambda: OutboxFile(tmp_path), HOOKS) is None
    assert not (tmp_path / OUTBOX_FILE).exists()


def test_receivers_are_the_alertmanagers_and_the_channels_of_the_file(tmp_path: Path) -> None:
    """In this order."""
    file = tmp_path / "channels"
    file.write_text("json://hub.example.com/secret name=hook\n")
    settings = Settings(alertmanager_url=("http://am:9093/prefix",), notify_file=file)
    made = notifier(settings, Clock(), lambda: OutboxFile(tmp_path), HOOKS)
    assert made is not None
    assert [(item.name, item.kind) for item in made.stats()] == [
        ("http://am:9093/prefix", "alertmanager"),
        ("hook", "json"),
    ]
    made.close()


@pytest.mark.parametrize(
    ("lines", "credentials", "message"),
    [
        ("json://hub\nnonsense\n", "token", r"^--notify-file: .*channels: line 2: does not begin with a URL"),
        ("json://hub\n", "two\nlines", r"^--alertmanager-config: .*credentials: must contain exactly one line"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_option(
    lines: str, credentials: str, message: str, tmp_path: Path
) -> None:
    """The hub does not start: a missing channel is noticed too late otherwise."""
    (tmp_path / "channels").write_text(lines)
    (tmp_path / "credentials").write_text(credentials)
    (tmp_path / "am.yml").write_text("authorization: {credentials_file: credentials}")
    settings = Settings(
        alertmanager_url=("http://am:9093",),
        alertmanager_config=tmp_path / "am.yml",
        notify_file=tmp_path / "channels",
    )
    with pytest.raises(HubError, match=message):
        notifier(settings, Clock(), lambda: OutboxFile(tmp_path), HOOKS)
