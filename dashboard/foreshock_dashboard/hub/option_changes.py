"""Changes of the hub itself: its version, and the options that decide what it reports."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from foreshock_dashboard.changes.fields import cleaned
from foreshock_dashboard.changes.labels import change_labels
from foreshock_dashboard.changes.log import BY
from foreshock_dashboard.common.addresses import without_credentials
from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.journal import EntryLog
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.settings.settings import OPTIONS, Settings

_log = logging.getLogger(__name__)

URL = "prometheus_url"
WATCHED = ("scrape_interval", "evaluation_interval", "rate_window", "slo", "tiers", URL)
"""Fields of the settings whose change alters baselines, SLOs, or what is read: of no other option is a value kept."""
VERSION = "foreshock"
DEFAULT, SEPARATOR = "default", ", "
"""Text of an option that is not set, and between the items of a list."""


def watched_options(settings: Settings, version: str) -> Mapping[str, str]:
    """The version of the hub, and its options by flag, as whole texts without credentials."""
    flags = {option.name: option.flag for option in OPTIONS}
    values = {name: _text(getattr(settings, name)) for name in WATCHED}
    values[URL] = without_credentials(values[URL])
    return {VERSION: version, **{flags[name]: value for name, value in values.items()}}


def record_options(journal: EntryLog, options: Mapping[str, str], now: float) -> None:
    """Write the options that differ from those of the last start into the journal, each as a change, then all of them.

    now: Unix seconds. The first start is no change, and neither is an option that the last version did not have. A
    journal that fails costs only these changes.
    """
    try:
        entries = journal.read("options")
        last = {str(name): str(value) for name, value in entries[-1].data.items()} if entries else {}
        for name in [name for name in options if name in last and options[name] != last[name]]:
            before, after = (cleaned(text) for text in _difference(last[name], options[name]))
            change = Change(now, "configuration", setting=name, before=before, after=after, source="hub")
            journal.append("change", now, BY, change_labels(change))
        if options != last:
            journal.append("options", now, BY, options)
    except SourceError as error:
        _log.error("changes of options cannot be kept: %s", error)


def _difference(before: str, after: str) -> tuple[str, str]:
    """The items of each of two values that the other one lacks: the whole list may be too long to show."""
    first, second = before.split(SEPARATOR), after.split(SEPARATOR)
    removed = SEPARATOR.join(item for item in first if item not in second)
    added = SEPARATOR.join(item for item in second if item not in first)
    return removed or DEFAULT, added or DEFAULT


def _text(value: object) -> str:
    """`10`, `llm-chat=20:0.01, web=2`, or `default`."""
    if isinstance(value, tuple):
        return SEPARATOR.join(_item(item) for item in value) or DEFAULT
    return f"{value:g}" if isinstance(value, float) else str(value or DEFAULT)


def _item(value: object) -> str:
    if not isinstance(value, tuple):
        return str(value)
    name, *rest = (f"{part:g}" if isinstance(part, float) else str(part) for part in value)
    return f"{name}={':'.join(rest)}"
