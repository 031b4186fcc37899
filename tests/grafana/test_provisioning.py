"""What Grafana reads at its start: data sources that lead to each other, and the folder of the boards."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from tests.grafana.conftest import FOLDER, ROOT
from tests.web.caller import Caller
from tests.web.worlds import SCENES, FakeHub

from foreshock_dashboard.web.app import create_app

Yaml = dict[str, Any]


@pytest.fixture
def sources() -> dict[str, Yaml]:
    """The data sources by their type."""
    files = sorted((FOLDER / "provisioning/datasources").glob("*.yml"))
    listed = [source for file in files for source in yaml.safe_load(file.read_text())["datasources"]]
    return {source["type"]: source for source in listed}


def test_data_sources_have_fixed_names_by_which_they_refer_to_each_other(sources: dict[str, Yaml]) -> None:
    """The service map and the metrics of a trace come from Prometheus, the trace of an exemplar from Tempo."""
    assert {kind: source["uid"] for kind, source in sources.items()} == {"prometheus": "prometheus", "tempo": "tempo"}
    assert [source["isDefault"] for source in sources.values()] == [True, False]
    assert not any(source["editable"] for source in sources.values())
    tempo, prometheus = sources["tempo"]["jsonData"], sources["prometheus"]["jsonData"]
    assert tempo["serviceMap"]["datasourceUid"] == tempo["tracesToMetrics"]["datasourceUid"] == "prometheus"
    assert [each.get("datasourceUid") for each in prometheus["exemplarTraceIdDestinations"]] == ["tempo", None]


def test_exemplars_are_found_by_the_label_that_they_have(sources: dict[str, Yaml]) -> None:
    """The hub and the Collector write trace_id; a second link leads to the hub, which answers it with that trace."""
    destinations = sources["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert {each["name"] for each in destinations} == {"trace_id"}
    (url,) = (each["url"] for each in destinations if "url" in each)
    place, value = "http://127.0.0.1:8050", "0af7651916cd43dd8448eb211c80319c"
    assert url.startswith(place + "/")
    assert url.count("$${__value.raw}") == 1
    asked = urlsplit(url.removeprefix(place).replace("$${__value.raw}", value))
    hub = Caller(create_app(FakeHub(SCENES["contended"]()), version="0"))
    assert hub.get(asked.geturl()).status_code == 200, asked.geturl()
    ((name, values),) = parse_qs(asked.query).items()
    assert values == [value]
    assert f'param("{name}")' in hub.get(f"/assets{asked.path}.js").text  # the page's script opens it


def test_the_interval_is_that_of_the_scrapes(sources: dict[str, Yaml]) -> None:
    """Else a window for rates could hold one sample, or none."""
    scraped = yaml.safe_load((ROOT / "compose/prometheus.yml").read_text())["global"]["scrape_interval"]
    assert sources["prometheus"]["jsonData"]["timeInterval"] == scraped


def test_metrics_of_a_trace_are_asked_by_labels_that_they_have(sources: dict[str, Yaml]) -> None:
    """`$__tags` is what Grafana fills in; a single $ would be taken for a variable of the environment."""
    settings = sources["tempo"]["jsonData"]["tracesToMetrics"]
    assert {tag["value"] for tag in settings["tags"]} == {"service_name", "service_namespace"}
    for query in settings["queries"]:
        assert "$$__tags" in query["query"]
        assert not re.search(r"(?<!\$)\$(?!\$)__tags", query["query"])


def test_grafana_finds_the_boards() -> None:
    """In the folder into which compose mounts them."""
    (provider,) = yaml.safe_load((FOLDER / "provisioning/dashboards/foreshock.yml").read_text())["providers"]
    assert provider["type"] == "file"
    mounts = yaml.safe_load((ROOT / "compose/compose.yml").read_text())["services"]["grafana"]["volumes"]
    assert f"../grafana/dashboards:{provider['options']['path']}:ro" in mounts
    assert "../grafana/provisioning:/etc/grafana/provisioning:ro" in mounts
