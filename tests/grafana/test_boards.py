"""The boards: the committed JSON is what the code gives, and Grafana and Prometheus can use all of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "grafana"
UNITS = {"short", "percentunit", "bytes", "Bps", "pps", "s", "watt", "celsius"}
"""Grafana's names of units; a name that it does not know would be shown as text behind each number."""

Json = dict[str, Any]


@pytest.fixture(scope="session")
def boards() -> list[Json]:
    """The committed boards."""
    return [json.loads(file.read_text()) for file in sorted((FOLDER / "dashboards").glob("*.json"))]


def panels(boards: list[Json]) -> Iterator[Json]:
    """Every panel that shows data."""
    for board in boards:
        yield from (panel for panel in board["panels"] if panel["type"] != "row")


def queries(boards: list[Json]) -> Iterator[tuple[str, str]]:
    """Every query, with the panel that asks it and with Grafana's variables filled in."""
    for panel in panels(boards):
        for target in panel["targets"]:
            text = target["expr"].replace("$__rate_interval", "1m")
            yield panel["title"], re.sub(r"\$(instance|service)\b", ".+", text)


def test_golden_boards_are_what_the_code_gives(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """`make golden`, or `python -m grafana`, writes them."""
    folder = FOLDER / "dashboards" if request.config.getoption("--golden") else tmp_path
    subprocess.run([sys.executable, "-m", "grafana", str(folder)], check=True, cwd=ROOT, timeout=60)
    made = {file.name: file.read_text() for file in folder.glob("*.json")}
    assert made == {file.name: file.read_text() for file in (FOLDER / "dashboards").glob("*.json")}
    assert made


def test_prometheus_understands_every_query(boards: list[Json], tmp_path: Path) -> None:
    """Each is the expression of a recording rule, so that Prometheus' own parser and type checks read it."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed; `make setup-tests` installs it")
    rules = [{"record": f"q:{at}", "expr": text} for at, (_, text) in enumerate(queries(boards))]
    assert not [text for _, text in queries(boards) if "$" in text]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "boards", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{len(rules)} rules found" in done.stdout


def test_no_two_panels_share_a_place_or_a_number(boards: list[Json]) -> None:
    """And none reaches beyond the grid of 24 columns."""
    for board in boards:
        numbers = [panel["id"] for panel in board["panels"]]
        assert len(set(numbers)) == len(numbers)
        places = [panel["gridPos"] for panel in board["panels"]]
        assert all(place["x"] + place["w"] <= 24 for place in places)
        for a, b in combinations(places, 2):
            apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
            assert apart or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"], (a, b)


def test_every_panel_says_what_it_shows_and_in_which_unit(boards: list[Json]) -> None:
    """Title, description, a unit that Grafana knows, and at least one query."""
    for panel in panels(boards):
        assert panel["title"]
        assert re.fullmatch(r"[A-Z].*\.", panel["description"]), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["targets"], panel["title"]


def test_rates_use_the_interval_that_grafana_chooses_and_counters_stand_in_rates_only(boards: list[Json]) -> None:
    """A fixed window breaks on another scrape interval, and a raw counter shows nothing but its age."""
    for board in boards:
        for panel in panels([board]):
            for target in panel["targets"]:
                expression = target["expr"]
                for window in re.findall(r"\[([^\]]+)\]", expression):
                    assert window == "$__rate_interval", panel["title"]
                for counter in re.finditer(r"\w+_(?:total|bucket)\b", expression):
                    assert expression[: counter.start()].endswith("rate("), (panel["title"], counter[0])


def test_every_query_goes_to_the_data_source_that_was_chosen(boards: list[Json]) -> None:
    """No placeholder that only Grafana's import page would fill in, and every variable is declared."""
    for board in boards:
        assert "${DS_" not in json.dumps(board)
        declared = {variable["name"] for variable in board["templating"]["list"]}
        used = set(re.findall(r"\$\{?(?!__)(\w+)", json.dumps(board["panels"])))
        assert used == declared
        for panel in panels([board]):
            assert panel["datasource"]["uid"] == "${datasource}"
            assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])


def test_boards_can_be_told_apart_and_not_edited_by_chance(boards: list[Json]) -> None:
    """A uid and a title each; what is edited in the page would be lost when the file is loaded again."""
    assert boards
    assert len({board["uid"] for board in boards}) == len({board["title"] for board in boards}) == len(boards)
    assert not any(board["editable"] for board in boards)


def test_grafana_finds_the_boards_and_prometheus() -> None:
    """The provisioning files name a Prometheus by an explicit uid, and the folder into which the boards are mounted."""
    sources = yaml.safe_load((FOLDER / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    providers = yaml.safe_load((FOLDER / "provisioning/dashboards/foreshock.yml").read_text())["providers"]
    assert [(source["type"], source["uid"]) for source in sources] == [("prometheus", "prometheus")]
    assert [provider["type"] for provider in providers] == ["file"]
    mounts = yaml.safe_load((ROOT / "compose/compose.yml").read_text())["services"]["grafana"]["volumes"]
    assert f"../grafana/dashboards:{providers[0]['options']['path']}:ro" in mounts
    assert "../grafana/provisioning:/etc/grafana/provisioning:ro" in mounts
