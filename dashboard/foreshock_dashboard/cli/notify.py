"""`foreshock notify`: checks the receivers of notifications."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import click

from foreshock_dashboard.cli.options import GroupedCommand, hub_settings
from foreshock_dashboard.settings.settings import HubError, Settings, SettingsError, load_settings

TEST_SECONDS = 60.0
"""Seconds until a test alert ends."""
TEXT = "This is a test by `foreshock notify test`. No incident is open."


@click.command(cls=GroupedCommand)
@click.option("--channel", metavar="NAME", help="channel to test (default: all)")
@hub_settings("alertmanager_url", "alertmanager_config", "notify_file")
def test(channel: str | None, **flags: Any) -> int:  # noqa: ANN401 - texts of flags
    """Send a test message to each channel, and a test alert to each Alertmanager.

    Accepts the options, environment variables, and config file of `foreshock serve`. Exits with 1 if delivery to a
    receiver fails.

    \b
    Examples:
      foreshock notify test --notify-file channels
      foreshock notify test --config /etc/foreshock/hub.yml --channel pager
    """
    settings = load_settings(flags)
    if not (settings.alertmanager_url or settings.notify_file):
        raise SettingsError("no receiver is configured. Set --notify-file, --alertmanager-url, or --config.")
    tests = dict(_tests(settings))
    if channel is not None and channel not in tests:
        raise SettingsError(f"--channel: {channel!r} is not configured. Configured channels: {', '.join(tests)}.")
    failed = False
    for name, send in tests.items():
        if channel in (None, name):
            error = send()
            failed = failed or bool(error)
            click.echo(f"{name}: {f'failed: {error}' if error else 'delivered'}")
    return 1 if failed else 0


def _tests(settings: Settings) -> Iterator[tuple[str, Callable[[], str]]]:
    """The receivers by name, each with a function that sends a test and returns the error; "" for none."""
    from foreshock_dashboard.common.reloading_file import FileError
    from foreshock_dashboard.hub.notifications import alertmanagers
    from foreshock_dashboard.model.query import SourceError
    from foreshock_dashboard.notify.alertmanager import Alertmanager
    from foreshock_dashboard.notify.apprise_sender import AppriseSender, DeliveryError
    from foreshock_dashboard.notify.channels import read_channels
    from foreshock_dashboard.render.notification import MessageText
    from foreshock_dashboard.web.documents.picture import sample_picture

    def post(peer: Alertmanager) -> str:
        end = datetime.fromtimestamp(time.time() + TEST_SECONDS, UTC).isoformat()
        labels = {"alertname": "ForeshockTest", "severity": "warning"}
        try:
            peer.post([{"labels": labels, "annotations": {"summary": TEXT}, "endsAt": end}])
        except SourceError as error:
            return str(error)
        finally:
            peer.close()
        return ""

    def send(sender: AppriseSender) -> str:
        try:
            sender.send(MessageText("[test] Notifications of foreshock", TEXT), "info", "", sample_picture)
        except DeliveryError as error:
            return str(error)
        return ""

    for peer in alertmanagers(settings):
        yield peer.name, partial(post, peer)
    if settings.notify_file:
        try:
            senders = [
                (item, AppriseSender(item, settings.notify_file)) for item in read_channels(settings.notify_file)
            ]
        except FileError as error:
            raise HubError(f"--notify-file: {error}") from None
        for item, sender in senders:
            yield item.name, partial(send, sender)
