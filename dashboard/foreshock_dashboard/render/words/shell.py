"""Words of the frame of all pages: the connection to the hub, responses, time ranges, and tables."""

from __future__ import annotations

from collections.abc import Mapping

CONNECTION_STATES: Mapping[str, str] = {
    "loading": "Loading",
    "no_page": "No page",
    "no_connection": "No connection",
    "paused": "Paused",
    "lost": "Connection lost",
    "past": "Past",
    "replay": "Replay",
    "simulated": "Replay of simulated data",
    "stale": "Stale",
    "live": "Live",
}
CONNECTION_TEXTS: Mapping[str, str] = {
    "age": "data is {age} old",
    "no_data": "no data yet",
    "reason": " Hub: {reason}.",
    "retrying": " Retrying.",
    "retrying_in": " Retrying in {seconds} s.",
    "no_response": "No response from the hub.",
    "retries": "No response from the hub. Retrying.",
    "try_again": "No response from the hub. Try again.",
    "reload": "No response from the hub. Check that it is running, then reload the page.",
    "timed_out": "The list timed out. Choose a shorter time range.",
    "script_lost": "This page's script could not be loaded. Reload the page.",
    "see_above": "No data: see the message above.",
    "unreadable": "Cannot read the source: {error}",
}
RESPONSE_TEXTS: Mapping[str, str] = {
    "acknowledged": "Acknowledged.",
    "not_acknowledged": "Not acknowledged",
    "saved": "Saved.",
    "read_only": "Past times are read-only. Go back to live to respond.",
    "needs_role": "You can view this incident. Responding requires the responder role.",
    "silencing": "Silencing requires the responder role and a live hub.",
    "silence": "Silences all incidents of a service, or only those caused by a noisy neighbor on its GPUs.",
}
SHELL_TEXTS: Mapping[str, str] = {
    "copied": "Copied.",
    "first_rows": "Showing the first {shown} of {count}.",
    "shorter_range": "Showing the first {shown} of {count}. Choose a shorter time range to see more.",
    "default": "{name}={value} {reason}. The default is used instead. ",
    "unknown_parameter": "Unknown parameter {names} (allowed: {known}). ",
    "dash": "A dash (–) means no data. Missing data is never shown as zero.",
}
QUALITY_MEANINGS: Mapping[str, str] = {
    "measured": "counted at the source",
    "sampled": "sampled every few seconds",
    "inferred": "derived from other signals",
}
RANGE_FAULTS: Mapping[str, str] = {
    "time": "is not a valid time. Use now-6h, now/d, 2026-11-26T03:00:00Z, or Unix milliseconds",
    "short": "is less than a minute before the end time. Use a longer range",
    "long": "is more than 360 days before the end time. Use a shorter range",
    "interval": "is not a valid interval. Use 5s, 1m, or off",
}
"""Why a time range or a refresh interval of an address is not used, after its value."""
