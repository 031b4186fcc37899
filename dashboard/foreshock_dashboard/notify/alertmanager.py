"""Client of Alertmanager's API v2: alerts and silences.

https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from foreshock_dashboard.model.types import Json
from foreshock_dashboard.sources.http_client import ApiClient
from foreshock_dashboard.sources.http_config.values import HttpConfig

_Value = TypeVar("_Value")

TIMEOUT_SECONDS = 10.0
MAX_BODY_BYTES = 16 << 20


class Silence(NamedTuple):
    """A silence that is in force or will be. matchers: values by label, all equal. start, end: Unix seconds."""

    id: str
    matchers: Mapping[str, str]
    start: float
    end: float
    by: str
    comment: str


class Suppression(NamedTuple):
    """Why Alertmanager sends no notification about an incident: silenced until a time, Unix seconds, or inhibited."""

    silenced_until: float | None
    inhibited: bool


class _Matcher(BaseModel):
    name: str
    value: str
    isRegex: bool  # noqa: N815 - as the API names it
    isEqual: bool = True  # noqa: N815


class _SilenceStatus(BaseModel):
    state: str


class _Silence(BaseModel):
    id: str
    matchers: list[_Matcher]
    startsAt: datetime  # noqa: N815
    endsAt: datetime  # noqa: N815
    createdBy: str  # noqa: N815
    comment: str
    status: _SilenceStatus


class _AlertStatus(BaseModel):
    silencedBy: list[str]  # noqa: N815
    inhibitedBy: list[str]  # noqa: N815


class _Alert(BaseModel):
    labels: dict[str, str]
    status: _AlertStatus


class _Created(BaseModel):
    silenceID: str  # noqa: N815


_SILENCES, _ALERTS, _CREATED = TypeAdapter(list[_Silence]), TypeAdapter(list[_Alert]), TypeAdapter(_Created)


class Alertmanager:
    """One Alertmanager. Thread-safe. Its methods raise SourceError if it cannot be reached or refuses a request.

    Args:
        url: base URL, such as http://alertmanager:9093 or http://mimir/alertmanager.
        config: as in `ApiClient`, also for the errors.
    """

    def __init__(
        self,
        url: str,
        *,
        config: HttpConfig | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._client = ApiClient(
            "Alertmanager",
            url,
            smaller="remove old silences",
            config=config,
            config_option="--alertmanager-config",
            timeout=TIMEOUT_SECONDS,
            max_seconds=2 * TIMEOUT_SECONDS,
            max_body=MAX_BODY_BYTES,
            transport=transport,
        )
        self.name = self._client.name.removeprefix("Alertmanager ")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def post(self, alerts: Sequence[Json]) -> None:
        """Create or renew alerts; one whose `endsAt` has passed is resolved."""
        self._send("POST", "/api/v2/alerts", alerts)

    def silences(self) -> tuple[Silence, ...]:
        """The silences in force and to come whose matchers are all equalities."""
        return tuple(
            Silence(
                item.id,
                {matcher.name: matcher.value for matcher in item.matchers},
                item.startsAt.timestamp(),
                item.endsAt.timestamp(),
                item.createdBy,
                item.comment,
            )
            for item in self._silences()
            if all(matcher.isEqual and not matcher.isRegex for matcher in item.matchers)
        )

    def create_silence(self, matchers: Mapping[str, str], start: float, end: float, by: str, comment: str) -> str:
        """Silence alerts with these labels between two times (Unix seconds). Returns the id of the silence."""
        silence = {
            "matchers": [
                {"name": name, "value": value, "isRegex": False, "isEqual": True} for name, value in matchers.items()
            ],
            "startsAt": datetime.fromtimestamp(start, UTC).isoformat(),
            "endsAt": datetime.fromtimestamp(end, UTC).isoformat(),
            "createdBy": by,
            "comment": comment,
        }
        return self._parsed(_CREATED, self._send("POST", "/api/v2/silences", silence)).silenceID

    def expire_silence(self, silence_id: str) -> None:
        """End a silence now, if it is known."""
        response, body = self._client.send("DELETE", f"/api/v2/silence/{silence_id}")
        if response.status_code not in (200, 404):
            raise self._client.failed(response, body)

    def suppressions(self) -> Mapping[str, Suppression]:
        """The incidents whose alerts are silenced or inhibited, by id."""
        body = self._send("GET", "/api/v2/alerts?active=false&filter=incident%21%3D%22%22")
        alerts = [alert for alert in self._parsed(_ALERTS, body) if alert.status.silencedBy or alert.status.inhibitedBy]
        if not alerts:
            return {}
        ends = {item.id: item.endsAt.timestamp() for item in self._silences()}
        return {
            alert.labels["incident"]: Suppression(
                max((ends[silence] for silence in alert.status.silencedBy if silence in ends), default=None),
                bool(alert.status.inhibitedBy),
            )
            for alert in alerts
        }

    def _silences(self) -> list[_Silence]:
        found = self._parsed(_SILENCES, self._send("GET", "/api/v2/silences"))
        return [item for item in found if item.status.state != "expired"]

    def _send(self, method: str, path: str, json: object = None) -> bytes:
        response, body = self._client.send(method, path, json=json)
        if response.status_code != 200:
            raise self._client.failed(response, body)
        return body

    def _parsed(self, kind: TypeAdapter[_Value], body: bytes) -> _Value:
        try:
            return kind.validate_json(body)
        except ValidationError as error:
            raise self._client.unexpected(f"{error.error_count()} fields") from error
