"""The file of scrape targets: its keys are those of `scrape_configs` in Prometheus.

https://prometheus.io/docs/prometheus/latest/configuration/configuration/#scrape_config
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from foreshock_dashboard.common.reloading_file import FileError
from foreshock_dashboard.sources.discovery.relabel import RelabelConfig
from foreshock_dashboard.sources.http_config.reading import read_yaml
from foreshock_dashboard.sources.http_config.values import Block, FilePath, HttpConfig, ServerUrl
from foreshock_dashboard.sources.prometheus.target import TargetGroup
from foreshock_exporter.common.durations import parse_duration

Duration = Annotated[float, BeforeValidator(lambda text: parse_duration(str(text)))]
"""Seconds, written as `30s` or `5m`."""


class FileSd(Block):
    """Files with groups of targets, JSON or YAML, by glob patterns."""

    files: tuple[FilePath, ...]
    refresh_interval: Duration = 30.0


class HttpSd(HttpConfig):
    """An address that returns groups of targets as JSON."""

    url: ServerUrl
    refresh_interval: Duration = 60.0


class DnsSd(Block):
    """Names whose records are the targets."""

    names: tuple[str, ...]
    type: Literal["SRV", "A", "AAAA"] = "SRV"
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    refresh_interval: Duration = 30.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.type != "SRV" and self.port is None:
            raise ValueError(f"port is missing. {self.type} records do not contain one")
        return self


class KubernetesNamespaces(Block):
    """The namespaces to search; all without names."""

    own_namespace: bool = False
    names: tuple[str, ...] = ()


class KubernetesSelector(Block):
    """Restricts the pods by their labels or fields."""

    role: Literal["pod"] = "pod"
    label: str = ""
    field: str = ""


class KubernetesSd(HttpConfig):
    """Pods of the cluster that the hub runs in, or of that of an API server with the credentials for it."""

    role: Literal["pod"]
    api_server: ServerUrl | None = None
    namespaces: KubernetesNamespaces = KubernetesNamespaces()
    selectors: Annotated[tuple[KubernetesSelector, ...], Field(max_length=1)] = ()


class ScrapeConfig(HttpConfig):
    """The targets of one job, and how they are scraped."""

    job_name: Annotated[str, Field(min_length=1)]
    scheme: Literal["http", "https"] = "http"
    metrics_path: str = "/metrics"
    honor_labels: bool = False
    static_configs: tuple[TargetGroup, ...] = ()
    file_sd_configs: tuple[FileSd, ...] = ()
    http_sd_configs: tuple[HttpSd, ...] = ()
    dns_sd_configs: tuple[DnsSd, ...] = ()
    kubernetes_sd_configs: tuple[KubernetesSd, ...] = ()
    relabel_configs: tuple[RelabelConfig, ...] = ()

    def base_labels(self) -> dict[str, str]:
        """Labels of every target before relabeling."""
        parameters = {f"__param_{name}": values[0] for name, values in self.params.items() if values}
        return {"job": self.job_name, "__scheme__": self.scheme, "__metrics_path__": self.metrics_path, **parameters}


class ScrapeFile(Block):
    """The whole file."""

    scrape_configs: tuple[ScrapeConfig, ...]


def read_targets_file(path: Path) -> tuple[ScrapeConfig, ...]:
    """Read the file of `--targets-file`. Raises FileError, which names the place and the remedy."""
    configs = read_yaml(path, ScrapeFile).scrape_configs
    repeated = [name for name, count in Counter(config.job_name for config in configs).items() if count > 1]
    if repeated:
        raise FileError(f"{path}: two jobs are called {repeated[0]!r}. Rename one")
    return configs
