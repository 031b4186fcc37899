"""Query parameters and the time range of a page: untrusted text to values, or an error that names the remedy."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Self, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.settings.times import parse_time
from foreshock_exporter.common.durations import parse_duration

Item = TypeVar("Item")

DEFAULT_RANGE_SECONDS = 1800.0
MIN_RANGE_SECONDS = 60.0
MAX_RANGE_SECONDS = 360 * 86_400.0
"""A query looks back up to a day, and a chart has up to 360 points."""
MAX_SEARCH_LENGTH = 4000
"""Characters of a query string that are read."""
PAGE_TIME_PARAMETERS = ("from", "to", "refresh")
"""Parameters of every page; `refresh` is read by the browser alone."""
CLUSTER_PARAMETER = "cluster"
"""Parameter of every page and of every address of the API: only this cluster."""
MAX_VALUE_LENGTH = 200
"""Characters of a parameter's value, and of a name that an error repeats."""
TIME = "Unix seconds, ISO 8601 with a time zone, now, or now-15m"
SERVICE = "namespace/name, or name where it is unambiguous"
"""Accepted forms, for the description of a parameter."""


class BadParameterError(ValueError):
    """A parameter cannot be used. The message names it, its value and the remedy."""


def refused(problem: str) -> PydanticCustomError:
    """The error that a validator raises to have `problem` shown as it is."""
    return PydanticCustomError("parameter", "{problem}", {"problem": problem})


def problem_of(error: ErrorDetails) -> str:
    """The first thing wrong with some parameters, as a sentence: the name, the value and the remedy."""
    if error["type"] == "parameter":
        return error["msg"]
    name = next((str(part) for part in reversed(error["loc"]) if isinstance(part, str)), "parameter")
    reason = error.get("ctx", {}).get("error") or error["msg"]
    return f"{name}={str(error['input'])[:MAX_VALUE_LENGTH]!r}: {reason}"


class Parameters(BaseModel):
    """The query parameters of one address. Unknown names are refused; a blank value counts as absent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _clean(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        known = [field.alias or name for name, field in cls.model_fields.items()]
        cleaned: dict[str, Any] = {}
        for name, value in given.items():
            if name not in known:
                hint = f"allowed: {', '.join(known)}" if known else "none allowed"
                raise refused(f"unknown parameter {name[:MAX_VALUE_LENGTH]!r} ({hint})")
            texts = [text.strip() for text in (value if isinstance(value, list) else [value]) if text.strip()]
            if any(len(text) > MAX_VALUE_LENGTH for text in texts):
                raise refused(f"{name}: longer than {MAX_VALUE_LENGTH} characters")
            if texts:
                cleaned[name] = texts if isinstance(value, list) else texts[0]
        return cleaned

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Self:
        """The parameters of an address that no route has read.

        Raises:
            BadParameterError: one of them is unknown or malformed.
        """
        try:
            return cls.model_validate(dict(given))
        except ValidationError as error:
            raise BadParameterError(problem_of(error.errors()[0])) from None


class NoParameters(Parameters):
    """An address without parameters."""


class AsOf(Parameters):
    """Parameters of an address with time travel."""

    at: str = Field("", description=f"time travel: {TIME}; hours ago may take seconds")


def _duration(text: str) -> float:
    return 0.0 if re.fullmatch(r"0+(\.0+)?(ms|s|m|h|d)?", text) else parse_duration(text)


DurationText = Annotated[float | None, BeforeValidator(_duration), WithJsonSchema({"type": "string"})]
"""Seconds, written as 250ms, 1.5s or plain seconds; 0 is no bound."""


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError("not a boolean. Use true or false")
    return text.lower() in ("true", "1")


Flag = Annotated[bool, BeforeValidator(_flag)]


def one_of(names: Collection[str], problem: str) -> Callable[[str], str]:
    """A validator of names. problem: the remedy for any other text."""

    def check(text: str) -> str:
        if text not in names:
            raise ValueError(problem)
        return text

    return check


def whole(least: int, most: int) -> Callable[[str], int]:
    """A parser of whole numbers within bounds."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise ValueError(f"not an integer from {least} to {most}")
        return int(text)

    return parse


def decimal(least: float, most: float) -> Callable[[str], float]:
    """A parser of decimal numbers within bounds."""

    def parse(text: str) -> float:
        if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?", str(text)) or not least <= float(text) <= most:
            raise ValueError(f"not a number from {least:g} to {most:g}")
        return float(text)

    return parse


def time_parameter(name: str, text: str, now: float, default: float, up: bool = False) -> float:
    """The time that a parameter holds, Unix seconds; `default` where it is blank.

    Raises:
        BadParameterError: it cannot be read.
    """
    text = text.strip()
    if not text:
        return default
    if len(text) > MAX_VALUE_LENGTH:
        raise BadParameterError(f"{name}: longer than {MAX_VALUE_LENGTH} characters")
    try:
        return parse_time(text, now, up)
    except ValueError as error:
        raise BadParameterError(f"{name}={text!r}: {error}") from None


def service_named(text: str, known: Collection[Service]) -> Service | None:
    """The service with a name; None where it has no namespace and no known service has the name.

    Raises:
        ValueError: several services have the name.
    """
    named = Service.parse(text)
    if "/" in text and (named.cluster or named in known):
        return named
    matches = sorted(service for service in known if text == service.name or named == service.local)
    if len(matches) > 1 and named not in matches:
        raise ValueError(f"ambiguous name. Use one of {', '.join(map(str, matches))}")
    return matches[0] if matches else named if "/" in text else None


def incident_named(text: str, incidents: Iterable[Item], read: Callable[[Item, str], Any] = getattr) -> Item:
    """The incident with an ID or a unique prefix of one; for `latest`, the newest, preferably one that paged.

    read: a field of an incident; `operator.getitem` for incidents as JSON.

    Raises:
        LookupError: no incident matches, or several do. The message lists the known ones.
    """
    by_id = {read(item, "id"): item for item in incidents}
    if text == "latest" and by_id:
        return max(
            by_id.values(), key=lambda item: (read(item, "paged") is not None, read(item, "opened"), read(item, "id"))
        )
    matches = [text] if text in by_id else [known for known in by_id if known.startswith(text)]
    if len(matches) == 1:
        return by_id[matches[0]]
    problem = "several incidents match" if matches else "no incident"
    raise LookupError(f"{problem} {text!r}. Known: {', '.join(sorted(matches or by_id)) or 'none'}.")


@dataclass(frozen=True, slots=True)
class View:
    """start, end: Unix seconds. live: the range ends now. parameters: the other parameters, as text from anyone.

    rest: the part of the address below the page's own, such as a service's name.
    """

    start: float
    end: float
    live: bool = True
    parameters: Mapping[str, str] = field(default_factory=dict)
    rest: str = ""

    def get(self, name: str) -> str:
        """A parameter of the page; "" without it."""
        return self.parameters.get(name, "").strip()


def view(given: Mapping[str, str], now: float) -> View:
    """The view of a query's parameters. now: the hub's time, Unix seconds.

    Raises:
        BadParameterError: a time cannot be read, or the range is upside down, too short or too long.
    """
    end = time_parameter("to", given.get("to", ""), now, now, up=True)
    start = time_parameter("from", given.get("from", ""), now, end - DEFAULT_RANGE_SECONDS)
    if end > now:
        end = now
    if end - start < MIN_RANGE_SECONDS:
        raise BadParameterError(
            f"from={given.get('from', '')!r} is less than a minute before the end time. Use a longer range"
        )
    if end - start > MAX_RANGE_SECONDS:
        raise BadParameterError(
            f"from={given.get('from', '')!r} is more than 360 days before the end time. Use a shorter range"
        )
    rest = _own(given)
    return View(start, end, given.get("to", "now").strip() in ("", "now"), rest)


def view_of(search: object, now: float, rest: str = "") -> View:
    """The view of a page's address; the default range where it cannot be read, since the page shows the error."""
    if not isinstance(search, str) or len(search) > MAX_SEARCH_LENGTH:
        return View(now - DEFAULT_RANGE_SECONDS, now, rest=rest)
    given = dict(parse_qsl(search.lstrip("?")))
    try:
        return replace(view(given, now), rest=rest)
    except BadParameterError:
        return View(now - DEFAULT_RANGE_SECONDS, now, True, _own(given), rest)


def _own(given: Mapping[str, str]) -> dict[str, str]:
    """The parameters that are those of a page alone."""
    return {name: value for name, value in given.items() if name not in (*PAGE_TIME_PARAMETERS, CLUSTER_PARAMETER)}


def cluster_of(search: str) -> str:
    """The cluster that a query string names, the first if it has several; "" for all."""
    return next((value.strip() for name, value in parse_qsl(search.lstrip("?")) if name == CLUSTER_PARAMETER), "")
