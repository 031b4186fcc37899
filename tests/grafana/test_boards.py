"""The boards: the committed JSON is what the code gives, and Grafana and Prometheus can use all of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from tests.grafana.conftest import FOLDER, ROOT, Json, panels, queries
from tests.grafana.promql import selectors

UNITS = {"short", "none", "percentunit", "bytes", "Bps", "pps", "cps", "s", "watt", "celsius"}
"""Grafana's names of units; a name that it does not know would be shown as text behind each number."""


def test_golden_boards_are_what_the_code_gives(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """`make golden`, or `python -m grafana`, writes them."""
    folder = FOLDER / "dashboards" if request.config.getoption("--golden") else tmp_path
    subprocess.run([sys.executable, "-m", "grafana", str(folder)], check=True, cwd=ROOT, timeout=60)
    made = {file.name: file.read_text() for file in folder.glob("*.json")}
    assert made == {file.name: file.read_text() for file in (FOLDER / "dashboards").glob("*.json")}
    assert made


def test_prometheus_understands_every_query(boards: list[Json], tmp_path: Path) -> None:
    """Each is the expression of a recording rule, so that Prometheus' own parser and type checks read it.

    A parser of PromQL of today, 3.x, reads them as well: `selectors`.
    """
    asked = list(queries(boards).values())
    assert all(selectors(text) for text in asked)
    assert not [text for text in asked if re.search(r"\$[a-z_{]", text)]
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed; `make setup-tests` installs it")
    rules = [{"record": f"q:{at}", "expr": text} for at, text in enumerate(asked)]
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
                for counter in re.finditer(r"[\w:]+_(?:total|bucket|sum|count)\b(?!\s*\()", expression):
                    assert expression[: counter.start()].endswith("rate("), (panel["title"], counter[0])


def test_every_query_goes_to_the_data_source_that_was_chosen(boards: list[Json]) -> None:
    """No placeholder that only Grafana's import page would fill in, and every variable is declared."""
    for board in boards:
        assert "${DS_" not in json.dumps(board)
        declared = {variable["name"] for variable in board["templating"]["list"]}
        used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps([board["panels"], board["links"]])))
        assert used == declared
        for panel in panels([board]):
            assert panel["datasource"]["uid"] == "${datasource}"
            assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])


def test_boards_are_distinct_and_not_edited_by_chance(boards: list[Json]) -> None:
    """A uid and a title each; what is edited in the page would be lost when the file is loaded again."""
    assert [board["uid"] for board in boards] == ["foreshock-cascade", "foreshock-contention", "foreshock-fleet"]
    assert len({board["title"] for board in boards}) == len(boards)
    assert not any(board["editable"] for board in boards)


def clickable(panel: Json) -> list[Json]:
    """The links of a panel's series, rows and nodes."""
    found = list(panel["fieldConfig"]["defaults"].get("links", []))
    for override in panel["fieldConfig"]["overrides"]:
        found += [link for each in override["properties"] if each["id"] == "links" for link in each["value"]]
    return found


PAGES = r"/(capacity|contention|cascade|fleet|traces|status)?(\?.*)?|/services/\S+"
"""Addresses of the hub's pages."""


def test_every_board_leads_to_the_hub_and_to_traces_and_takes_the_time_along(boards: list[Json]) -> None:
    """The hub's pages take `from` and `to` as Grafana writes them."""
    for board in boards:
        urls = [link["url"] for link in board["links"] if link["type"] == "link"]
        assert urls == ["${hub:raw}" + board["uid"].replace("foreshock-", "/"), "${hub:raw}/traces"]
        assert all(link["keepTime"] for link in board["links"])
        clicks = [link["url"] for panel in panels([board]) for link in clickable(panel)]
        assert any("/traces?service=" in url for url in clicks)
        for url in clicks:
            assert re.fullmatch(PAGES, url.removeprefix("${hub:raw}")), url
            assert url.endswith("${__url_time_range}"), url


def test_links_of_rows_and_series_name_fields_that_are_there(boards: list[Json]) -> None:
    """Columns by what they are called, and labels that the panel's queries make."""
    for panel in panels(boards):
        columns = [name for each in panel.get("transformations", []) if each["id"] == "organize"
                   for name in each["options"]["renameByName"].values()]  # fmt: skip
        for link in clickable(panel):
            assert set(re.findall(r"__data\.fields\.(\w+)", link["url"])) <= set(columns), panel["title"]
            for label in re.findall(r"__field\.labels\.(\w+)", link["url"]):
                assert any(f'"{label}"' in target["expr"] for target in panel["targets"]), panel["title"]


def test_histograms_show_their_traces(boards: list[Json]) -> None:
    """Every quantile has exemplars, and nothing else does: only buckets have them."""
    asking = [target for panel in panels(boards) for target in panel["targets"] if target["exemplar"]]
    assert len(asking) >= 5
    for panel in panels(boards):
        for target in panel["targets"]:
            assert target["exemplar"] == ("histogram_quantile(" in target["expr"]), panel["title"]


def test_columns_of_tables_are_fields_that_their_queries_give(boards: list[Json]) -> None:
    """Grafana calls a query's values `Value`, and `Value #NAME` where there are several."""
    for panel in panels(boards):
        if panel["type"] in ("table", "nodeGraph"):
            (shown,) = (each["options"] for each in panel["transformations"] if each["id"] == "organize")
            values = {name for name in shown["renameByName"] if name.startswith("Value")}
            several = {f"Value #{target['refId']}" for target in panel["targets"]}
            assert values <= ({"Value"} if len(several) == 1 else several), panel["title"]
            assert len(several) == 1 or values == several, panel["title"]
            assert all(target["format"] == "table" and target["instant"] for target in panel["targets"])


def test_a_corrected_cause_does_not_start_another_mark(boards: list[Json]) -> None:
    """Marks come from the series whose labels stay as they are."""
    for board in boards:
        notes = [note["expr"] for note in board["annotations"]["list"] if "expr" in note]
        assert any("foreshock_incident_open{" in expr for expr in notes), board["uid"]
        assert not any("foreshock_incident_info" in expr for expr in notes), board["uid"]
