"""`foreshock generate dashboards`: the boards and their data sources for a Grafana, with the addresses of a fleet."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.grafana.conftest import FOLDER

from foreshock_dashboard.cli.main import main
from foreshock_dashboard.render.rules.rule_files import HUB_URL

Yaml = dict[str, Any]
THERE = "https://hub.example.com/$foreshock"
PROMETHEUS = ("--prometheus-url", "http://prometheus.example:9090", "--scrape-interval", "1m")
TEMPO = ("--tempo-url", "http://tempo.example:3200")
SOURCES = "provisioning/datasources"


def written(out: Path, *words: str) -> dict[str, str]:
    """What the command writes, by name below the folder."""
    assert main(["generate", "dashboards", "--output-dir", str(out), *words]) == 0
    return {str(file.relative_to(out)): file.read_text() for file in out.rglob("*") if file.is_file()}


def source(files: dict[str, str], name: str) -> Yaml:
    """The one data source in a file."""
    (found,) = yaml.safe_load(files[f"{SOURCES}/{name}.yml"])["datasources"]
    made: Yaml = found
    return made


def test_dashboards_of_several_clusters_name_and_link_to_the_cluster_of_a_row_or_series(tmp_path: Path) -> None:
    """Equal names of services and hosts are in each."""
    files = written(tmp_path, "--by-cluster", "cluster")
    text = "".join(text for name, text in files.items() if name.endswith(".json"))
    links = re.findall(r'"url": "(.*(?:/services/|victim=|gpu=).*)"', text)
    assert len(links) > 15
    assert all("?cluster=${__" in link for link in links if "fields.id:" not in link)
    assert "{{cluster}} {{service}}" in text
    assert '"cluster": "Cluster"' in text


def test_the_service_map_has_a_node_of_each_cluster_named_as_the_hub_names_it(tmp_path: Path) -> None:
    """Two clusters and no cluster have the same services: their nodes and edges have no ID in common."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed; `make setup-tests` installs it")
    text = written(tmp_path / "out", "--by-cluster", "cluster")["dashboards/foreshock-cascade.json"]
    targets = [target for panel in json.loads(text)["panels"] for target in panel.get("targets", ())]
    by_name = {target["refId"]: target["expr"].replace("$__rate_interval", "5m") for target in targets}
    names = 'client="web",client_service_namespace="shop",server="llm"'
    series = [
        {"series": f'traces_service_graph_request_total{{cluster="{cluster}",{names}}}', "values": "0+60x20"}
        for cluster in ("eu", "us")
    ] + [{"series": f"traces_service_graph_request_total{{{names}}}", "values": "0+60x20"}]
    nodes = [
        f'{{cluster="{cluster}",id="{cluster}//{name}",title="{title}",subtitle="{subtitle}"}}'
        for cluster in ("eu", "us")
        for name, title, subtitle in (("llm", "llm", cluster), ("shop/web", "web", f"{cluster}//shop"))
    ] + ['{id="llm",title="llm"}', '{id="shop/web",title="web",subtitle="shop"}']
    edges = [
        f'{{cluster="{cluster}",{names},source="{cluster}//shop/web",target="{cluster}//llm",'
        f'id="{cluster}//shop/web to {cluster}//llm"}}'
        for cluster in ("eu", "us")
    ] + [f'{{{names},source="shop/web",target="llm",id="shop/web to llm"}}']
    expected = {
        "nodes_rate": [{"labels": labels, "value": 1 if "llm" in labels else 0} for labels in nodes],
        "edges_rate": [{"labels": labels, "value": 1} for labels in edges],
    }
    tests = [{"expr": by_name[name], "eval_time": "10m", "exp_samples": found} for name, found in expected.items()]
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump({"tests": [{"interval": "1m", "input_series": series, "promql_expr_test": tests}]}))
    done = subprocess.run(["promtool", "test", "rules", file], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_board_leads_to_the_hub_that_was_named(tmp_path: Path) -> None:
    """And is the one that comes along but for that."""
    files = written(tmp_path / "new" / "folder", "--hub-url", THERE + "/")
    boards = {name: text for name, text in files.items() if name.endswith(".json")}
    shipped = {f"dashboards/{file.name}": file.read_text() for file in FOLDER.glob("dashboards/*.json")}
    assert {name: text.replace(THERE, HUB_URL) for name, text in boards.items()} == shipped
    assert all(json.loads(text) and THERE in text for text in boards.values())


@pytest.mark.parametrize(
    ("words", "path"),
    [((), "{here}/out/dashboards"), (("--mounted-at", "/in/container"), "/in/container/dashboards")],
)
def test_grafana_is_provisioned_with_the_boards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], path: str
) -> None:
    """By a path that holds wherever it is started, also where the folder was named by another one."""
    monkeypatch.chdir(tmp_path)
    (provider,) = yaml.safe_load(written(Path("out"), *words)["provisioning/dashboards/foreshock.yml"])["providers"]
    assert provider["options"]["path"] == path.format(here=tmp_path)
    assert provider["name"] == "foreshock"


def test_data_sources_that_were_named_lead_to_each_other_and_to_the_hub(tmp_path: Path) -> None:
    """They are those that come along but for addresses and interval; a dollar is not taken for a variable."""
    files = written(tmp_path, "--hub-url", THERE, *PROMETHEUS, *TEMPO)
    found, tempo = source(files, "prometheus"), source(files, "tempo")
    to_tempo, to_hub = found["jsonData"]["exemplarTraceIdDestinations"]
    assert (found["url"], found["jsonData"]["timeInterval"]) == ("http://prometheus.example:9090", "60s")
    assert (to_tempo["datasourceUid"], tempo["url"]) == (tempo["uid"], "http://tempo.example:3200")
    assert to_hub["url"] == "https://hub.example.com/$$foreshock/traces?trace=$${__value.raw}"
    for name, made in (("prometheus", found), ("tempo", tempo)):
        (shipped,) = yaml.safe_load((FOLDER / SOURCES / f"{name}.yml").read_text())["datasources"]
        assert made.keys() == shipped.keys()
        assert made["jsonData"].keys() == shipped["jsonData"].keys()


def test_what_was_not_named_is_no_data_source_and_nothing_leads_there(tmp_path: Path) -> None:
    """Not even one of an earlier call; a file that was added by hand stays."""
    written(tmp_path, *PROMETHEUS, *TEMPO)
    (tmp_path / SOURCES / "own.yml").write_text("apiVersion: 1\n")
    files = written(tmp_path, *PROMETHEUS)
    assert {name for name in files if SOURCES in name} == {f"{SOURCES}/prometheus.yml", f"{SOURCES}/own.yml"}
    (to_hub,) = source(files, "prometheus")["jsonData"]["exemplarTraceIdDestinations"]
    assert to_hub["url"].startswith(HUB_URL)
    assert {name for name in written(tmp_path) if SOURCES in name} == {f"{SOURCES}/own.yml"}


def test_addresses_come_from_where_the_hub_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its variables and its file."""
    (tmp_path / "hub.yaml").write_text("prometheus_url: http://from-file:9090\nport: 0\n")
    monkeypatch.setenv("FORESHOCK_TEMPO_URL", "http://from-variable:3200")
    files = written(tmp_path / "out", "--config", str(tmp_path / "hub.yaml"))
    assert source(files, "prometheus")["url"] == "http://from-file:9090"
    assert source(files, "tempo")["url"] == "http://from-variable:3200"


def test_the_default_tempo_is_left_out_without_a_prometheus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A hub with its own store reads traces from it all the same; its file is none that boards refuse."""
    (tmp_path / "hub.yaml").write_text("tempo_url: http://tempo.example:3200\n")
    files = written(tmp_path / "out", "--config", str(tmp_path / "hub.yaml"))
    assert [name for name in files if SOURCES in name] == []
    assert "no Tempo data source" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--hub-url", "nowhere"], "--hub-url: 'nowhere'"),
        (["--prometheus-url", "prometheus:9090"], "is not a valid URL; use http://127.0.0.1:9090"),
        (["--tempo-url", "http://tempo:3200"], "Set --prometheus-url."),
        (
            ["--prometheus-url", "http://me:s3cret@p"],
            "contains credentials, which the process list would expose; move them to",
        ),
        (["--mounted-at", "here"], "--mounted-at: 'here' is not a valid path; use an absolute path"),
    ],
)
def test_a_bad_option_is_refused_with_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    """Exit code 2, and nothing is written."""
    assert main(["generate", "dashboards", "--output-dir", str(tmp_path / "out"), *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1."""
    (tmp_path / "file").write_text("")
    assert main(["generate", "dashboards", "--output-dir", str(tmp_path / "file")]) == 1
    assert f"{tmp_path / 'file'}" in capsys.readouterr().err
