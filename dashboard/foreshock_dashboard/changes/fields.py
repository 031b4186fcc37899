"""Fields of reported changes: texts, links, times, and services of JSON that anyone may have written."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

from foreshock_dashboard.model.service import Service

MAX_TEXT_CHARS = 200
"""Characters of each text of a change."""
MAX_LINK_CHARS = 1000
MAX_AGE_SECONDS = 30 * 86_400.0
"""How long ago a change may have been."""
MAX_AHEAD_SECONDS = 300.0
"""How far in the future a change may be, for clocks that differ."""
MIN_MILLISECONDS = 1e11
"""Numbers from here on are Unix milliseconds: as seconds, the year 5138."""
SHORT_SHA_CHARS = 12
VERSION = re.compile(r"v?\d+\.\d[\w.+-]*")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")
"""Controls, line breaks, and characters that reverse the direction of text."""
_LINK = re.compile(r"https?://[!#-;=?-\[\]_a-z~]+", re.IGNORECASE)
"""The characters of RFC 3986, of which none ends an attribute of HTML or an autolink of Markdown."""
_TIME_FORM = "Use Unix seconds, Unix milliseconds, or a time such as 2026-11-25T10:00:00Z"

Object = Mapping[str, Any]
"""A JSON object of a sender."""
Option = TypeVar("Option", bound=str)


class InvalidChangeError(ValueError):
    """A reported change is invalid. The message names the field and the remedy."""


def json_object(value: object, field: str) -> Object:
    """The value of a field as an object; without a value, an empty one.

    Raises:
        InvalidChangeError: it is another type.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidChangeError(f"{field}: not a JSON object")
    return value


def cleaned(text: str) -> str:
    """A text that the sender cannot correct, such as a commit message: one printable line of bounded length."""
    return _UNPRINTABLE.sub(" ", text).strip()[:MAX_TEXT_CHARS].strip()


def text_of(values: Object, field: str) -> str:
    """The cleaned text of a field; "" if it is absent or no text."""
    value = values.get(field)
    return cleaned(value) if isinstance(value, str) else ""


def checked_text(values: Object, field: str) -> str:
    """The text of a field; "" if it is absent.

    Raises:
        InvalidChangeError: it is no text, is too long, or has unprintable characters.
    """
    value = values.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidChangeError(f"{field}: not a text")
    if len(value) > MAX_TEXT_CHARS:
        raise InvalidChangeError(f"{field}: {len(value)} characters (limit {MAX_TEXT_CHARS}). Shorten it")
    if _UNPRINTABLE.search(value):
        raise InvalidChangeError(f"{field}: has control characters. Use one line of text")
    return value.strip()


def checked_choice(values: Object, field: str, options: tuple[Option, ...], otherwise: Option) -> Option:
    """The value of a field that is one of `options`, or `otherwise` if it is absent.

    Raises:
        InvalidChangeError: it is none of them.
    """
    text = checked_text(values, field)
    if not text:
        return otherwise
    if text not in options:
        raise InvalidChangeError(f"{field}: {text[:40]!r} is unknown. Use {', '.join(filter(None, options))}")
    return next(option for option in options if option == text)


def checked_service(values: Object) -> Service | None:
    """The service in the field `service`; None if it is absent.

    Raises:
        InvalidChangeError: it is no `name` or `namespace/name`.
    """
    text = checked_text(values, "service")
    try:
        return Service.parse(text) if text else None
    except ValueError as error:
        raise InvalidChangeError(f"service: {error}") from None


def named_service(text: str, namespace: str = "") -> Service | None:
    """The service of a name that the sender did not write for the hub; None if it is no name."""
    try:
        return Service.parse(f"{namespace}/{text}" if namespace and "/" not in text else text) if text else None
    except ValueError:
        return None


def checked_link(values: Object) -> str:
    """The address in the field `link`; "" if it is absent.

    Raises:
        InvalidChangeError: it is no `http` or `https` address.
    """
    value = values.get("link")
    link = link_of(value)
    if value not in (None, "") and not link:
        raise InvalidChangeError(f"link: not an http or https address of up to {MAX_LINK_CHARS} characters")
    return link


def link_of(value: object) -> str:
    """An address that a page may link to; "" for anything else."""
    if not isinstance(value, str) or len(value) > MAX_LINK_CHARS or not _LINK.fullmatch(value):
        return ""
    try:
        return value if urlsplit(value).hostname else ""
    except ValueError:  # such as an unclosed [
        return ""


def checked_time(value: object, now: float, field: str) -> float:
    """Unix seconds of a number or an RFC 3339 text; `now` if it is absent.

    Raises:
        InvalidChangeError: it is no time, or not a recent one.
    """
    if value is None or value == "":
        return now
    try:
        seconds = _seconds(value)
    except (ValueError, OverflowError):
        raise InvalidChangeError(f"{field}: not a time. {_TIME_FORM}") from None
    if not now - MAX_AGE_SECONDS <= seconds <= now + MAX_AHEAD_SECONDS:
        days = MAX_AGE_SECONDS / 86_400
        raise InvalidChangeError(f"{field}: not within the last {days:.0f} days. {_TIME_FORM}")
    return round(seconds, 3)


def _seconds(value: object) -> float:
    if isinstance(value, str):
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return value / 1000 if abs(value) >= MIN_MILLISECONDS else float(value)
