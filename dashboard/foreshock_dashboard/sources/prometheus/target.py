"""Scrape targets and their labels, from an address or from Prometheus' groups of targets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated
from urllib.parse import urlencode, urlsplit

from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter, ValidationError

from foreshock_dashboard.common.addresses import without_credentials

_PARAMETER = "__param_"
_NOT_IN_ADDRESS = re.compile(r"[/?#@\s]")


@dataclass(frozen=True, slots=True)
class ScrapeTarget:
    """A metrics page. Its label `instance` is the host and port of the URL unless `labels` has one.

    Raises ValueError if the URL is not http or https with a host, or its port is not a number.
    """

    url: str
    job: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            is_valid = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
        except ValueError:
            is_valid = False
        if not is_valid:
            raise ValueError(f"target {self.address!r}: not a valid URL; use http://HOST:PORT/metrics")

    @property
    def address(self) -> str:
        """The URL without user and password."""
        return without_credentials(self.url)

    @property
    def instance(self) -> str:
        """The label `instance`: `host:port`, with the default port of the scheme if the URL has none."""
        parts = urlsplit(self.url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return self.labels.get("instance") or f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"

    @property
    def target_labels(self) -> Mapping[str, str]:
        """Labels of every sample of the target."""
        return {**self.labels, "job": self.job, "instance": self.instance}


class TargetGroup(BaseModel):
    """Addresses with the same labels: an element of Prometheus' `static_configs`, file_sd, and http_sd."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    targets: list[Annotated[str, StringConstraints(min_length=1)]]
    labels: dict[Annotated[str, StringConstraints(pattern="^[a-zA-Z_][a-zA-Z0-9_]*$")], str] = {}

    def labels_by_target(self) -> tuple[dict[str, str], ...]:
        """Labels of each target before relabeling: those of the group and `__address__`."""
        return tuple({**self.labels, "__address__": address} for address in self.targets)


_GROUPS = TypeAdapter(list[TargetGroup])


def target_groups(groups: object) -> tuple[TargetGroup, ...]:
    """The groups of a parsed JSON or YAML list of `{"targets": [ADDRESS, ...], "labels": {NAME: VALUE}}`.

    Raises:
        ValueError: an element has another form; the message names it.
    """
    try:
        return tuple(_GROUPS.validate_python(groups))
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        example = '[{"targets": ["host:port"], "labels": {"service_name": "llm-chat"}}]'
        raise ValueError(f"groups{place}: {first['msg']}; write {example}") from error


def scrape_target(
    labels: Mapping[str, str], job: str, params: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> ScrapeTarget:
    """The target of labels after relabeling.

    `__address__`, `__scheme__`, `__metrics_path__`, and `__param_NAME` make the URL, as in Prometheus; other labels
    that start with `__` are dropped. A label `job` wins over the argument.

    Args:
        labels: after relabeling.
        job: label `job`, if the labels have none.
        params: values of the parameters, of which `__param_NAME` replaces the first.

    Raises:
        ValueError: the labels make no URL.
    """
    kept = {name: value for name, value in labels.items() if value and not name.startswith("__")}
    path = (labels.get("__metrics_path__") or "/metrics").removeprefix("/")
    first = {name.removeprefix(_PARAMETER): text for name, text in labels.items() if name.startswith(_PARAMETER)}
    values = {**params, **{name: [text, *params.get(name, ())[1:]] for name, text in first.items() if text}}
    query = f"?{urlencode(values, doseq=True)}" if any(values.values()) else ""
    address = labels.get("__address__", "")
    if _NOT_IN_ADDRESS.search(address):
        raise ValueError(f"target {without_credentials(address)!r}: use HOST:PORT, and set credentials in basic_auth")
    return ScrapeTarget(f"{labels.get('__scheme__') or 'http'}://{address}/{path}{query}", kept.pop("job", job), kept)
