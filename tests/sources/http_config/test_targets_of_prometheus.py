"""The targets of a file, beside those that a real Prometheus makes of the same file."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from tests.conftest import Eventually
from tests.ports import free_port
from tests.sources.http_config.conftest import answers, process

from foreshock_dashboard.sources.discovery.relabel import relabeled
from foreshock_dashboard.sources.discovery.scrape_config import ScrapeConfig, read_targets_file
from foreshock_dashboard.sources.prometheus.target import ScrapeTarget, scrape_target

TARGETS = """
scrape_configs:
- job_name: texts
  static_configs:
  - targets: [a:1, b:2]
    labels: {scrape: true, rack: 1, zone: 010, day: 2026-01-01, price: 1.50, agreed: yes, size: 0x1F, gone: x}
  relabel_configs:
  - {source_labels: [scrape], action: keep, regex: true}
  - {source_labels: [rack], action: drop, regex: 2}
  - {source_labels: [rack], target_label: port, replacement: 8080}
  - {source_labels: [missing], regex: , target_label: no_regex, replacement: yes}
  - {source_labels: [scrape], regex: , target_label: no_match, replacement: yes}
  - {source_labels: [missing], regex: null, target_label: null_regex, replacement: on}
  - {target_label: gone, replacement: }
  - {source_labels: [rack, zone], separator: , target_label: joined}
- job_name: addresses
  static_configs: [{targets: [a:1, b:2, c:3]}]
  relabel_configs: [{source_labels: [__address__], regex: 'b:2', target_label: __address__, replacement: b:2/metrics}]
- job_name: federate
  metrics_path: federate
  params: {"match[]": ['{job="a"}', '{job="b"}'], dedup: [true, 7], none: []}
  basic_auth:
  static_configs: [{targets: [a:1]}]
  relabel_configs:
  - {target_label: __param_dedup, replacement: changed}
- job_name: without_parameter
  params: {x: [1, 2]}
  static_configs: [{targets: [a:1]}]
  relabel_configs: [{target_label: __param_x, replacement: }]
"""

Described = dict[str, object]


def described(url: str, labels: dict[str, str]) -> Described:
    """A target in a form that can be compared: the order of parameters has no meaning."""
    parts = urlsplit(url)
    return {"place": (parts.scheme, parts.netloc, parts.path), "query": parse_qs(parts.query), "labels": labels}


def found(config: ScrapeConfig) -> list[Described]:
    """The valid targets of a job."""
    targets: list[ScrapeTarget] = []
    for labels in (labels for group in config.static_configs for labels in group.labels_by_target()):
        kept = relabeled({**config.base_labels(), **labels}, config.relabel_configs)
        try:
            targets += [scrape_target(kept, config.job_name, config.params)] if kept else []
        except ValueError:
            assert labels["__address__"] == "b:2"
    return [described(target.url, dict(target.target_labels)) for target in targets]


def test_targets_are_those_of_prometheus(tmp_path: Path, wait: Eventually) -> None:
    """YAML without quotes, keys without values, all values of a parameter, and an invalid address."""
    (tmp_path / "targets.yml").write_text(TARGETS)
    (tmp_path / "prometheus.yml").write_text("scrape_config_files: [targets.yml]\n")
    url = f"http://127.0.0.1:{(port := free_port())}"
    command: list[str | Path] = [
        "prometheus",
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    ours = {config.job_name: found(config) for config in read_targets_file(tmp_path / "targets.yml")}
    theirs: dict[str, list[Described]] = {}

    def discovered() -> bool:
        theirs.clear()
        answer = httpx.get(f"{url}/api/v1/targets", params={"state": "active"}, trust_env=False)
        for target in answer.json()["data"]["activeTargets"] if answer.is_success else ():  # 503 before it is ready
            theirs.setdefault(target["scrapePool"], []).append(described(target["scrapeUrl"], target["labels"]))
        for targets in theirs.values():
            targets.sort(key=lambda target: str(target["place"]))
        return theirs.keys() == ours.keys()

    with process(command, lambda: answers(url), wait):
        wait(discovered, "it has found its targets")
    assert ours == theirs


@pytest.mark.parametrize("address", ["bad:port", "ada:secret@h:1", "h:1?x", "h 1", ""])
def test_an_address_is_a_host_and_a_port(address: str) -> None:
    """The message has the remedy, and no password."""
    with pytest.raises(ValueError, match=r"use (http://)?HOST:PORT") as refused:
        scrape_target({"__address__": address}, "job")
    assert "secret" not in str(refused.value)
