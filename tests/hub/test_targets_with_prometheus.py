"""A hub that reads a Prometheus scrapes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.hub.hub import Hub
from foreshock_dashboard.settings.settings import HubError, load_settings


@pytest.mark.parametrize(("option", "value"), [("targets", "gpu-1"), ("targets_file", "targets.yml")])
def test_targets_that_nothing_would_read_are_refused(option: str, value: str, tmp_path: Path) -> None:
    """The message has the remedy."""
    flags = {option: value, "prometheus_url": "http://p:9090", "store_path": str(tmp_path / "store")}
    settings = load_settings({**flags, "otlp_grpc_port": "0", "otlp_http_port": "0"}, {})
    name = f"--{option.replace('_', '-')}"
    with pytest.raises(HubError, match=f"{name}: has no effect with --prometheus-url.*Let Prometheus scrape"):
        Hub(settings, Clock())
