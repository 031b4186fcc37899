"""docs/guides/deploy.md: its files are accepted, its commands do what it says, its versions are those of the stack."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from foreshock_dashboard.cli.serving.serve import serve
from foreshock_dashboard.settings.settings import Settings, load_settings

Yaml = dict[str, Any]


@pytest.fixture(scope="module")
def doc(root: Path) -> str:
    """The document."""
    return (root / "docs/guides/deploy.md").read_text()


def blocks(doc: str, language: str) -> list[str]:
    """Its blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", doc, re.DOTALL | re.MULTILINE)


def test_prometheus_accepts_the_configuration(doc: str, root: Path, tmp_path: Path) -> None:
    """With copies of the rules beside it, and the token where it says."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed; `make setup-tests` installs it")
    (text,) = blocks(doc, "yaml")
    (tmp_path / "token").write_text("t")
    shutil.copytree(root / "alerts", tmp_path / "alerts")
    file = tmp_path / "prometheus.yml"
    file.write_text(text.replace("/etc/prometheus/foreshock-token", str(tmp_path / "token")))
    done = subprocess.run(
        ["promtool", "check", "config", file], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"{len(list(root.glob('alerts/*.rules.yml')))} rule files found" in done.stdout
    assert [job["job_name"] for job in yaml.safe_load(text)["scrape_configs"]] == [
        "foreshock-exporter",
        "foreshock-hub",
    ]


def test_commands_are_well_formed_and_name_what_is_there(doc: str, root: Path) -> None:
    """Files and folders of this repository exist; shells read every line."""
    for text in blocks(doc, "sh"):
        subprocess.run(["bash", "-n"], input=text.replace("…", ""), text=True, check=True, timeout=60)
        for path in re.findall(r"(?<![\w/.-])((?:compose|grafana|alerts|scripts)/[\w/.*-]+)", text):
            assert list(root.glob(path.rstrip("/"))), path
    assert len(blocks(doc, "sh")) >= 6


def hub_settings(text: str) -> Iterator[Settings]:
    """The settings of each hub that a block of commands configures: by options, or by variables in hub.env."""
    for line in re.findall(r"foreshock serve (.*)", text.replace("\\\n", "").replace("…", "")):
        yield load_settings(serve.make_context("serve", shlex.split(line, comments=True)).params, {})
    for body in re.findall(r"hub\.env <<'END'\n(.*?)^END$", text, re.DOTALL | re.MULTILINE):
        yield load_settings({}, dict(line.split("=", 1) for line in body.splitlines()))


def test_every_hub_of_the_guides_starts(root: Path) -> None:
    """Its options are accepted: with authentication where it is reachable, and for OTLP as well."""
    found = [
        settings
        for file in (*root.glob("docs/**/*.md"), root / "README.md")
        if file.name != "cli.md"  # its blocks are help texts
        for text in blocks(file.read_text(), "sh")
        for settings in hub_settings(text)
    ]
    assert len(found) >= 8
    assert sum(settings.host == "0.0.0.0" for settings in found) == 2  # noqa: S104


def linked(folder: Path) -> dict[Path, str]:
    """Files in which links may stand, and their texts."""
    found = (*folder.glob("alerts/*.rules.yml"), *folder.glob("grafana/**/*.*"))
    return {file.relative_to(folder): file.read_text() for file in found if file.suffix in (".json", ".yml", ".yaml")}


def test_the_commands_for_another_address_move_all_links(doc: str, root: Path, tmp_path: Path) -> None:
    """In rules, boards, data sources and the operator's rules; what they are stays whole."""
    commands = "".join(
        text for text in blocks(doc, "sh") if "--operator" in text or "foreshock generate dashboards" in text
    )
    commands = commands.replace("/etc/grafana/foreshock", "grafana").replace("/etc/grafana/", "read-by-grafana/")
    shutil.copytree(root / "grafana", tmp_path / "grafana", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "read-by-grafana/provisioning").mkdir(parents=True)
    subprocess.run(
        ["bash", "-eu", "-c", commands.replace("/etc/prometheus", ".")],
        cwd=tmp_path, check=True, timeout=60, env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
    )  # fmt: skip
    before, after = linked(root), linked(tmp_path)
    here, there = "http://127.0.0.1:8050", "https://foreshock.example"
    runbooks = "https://docs.foreshock.example/runbooks"
    assert {file.parts[0] for file, text in after.items() if there in text} == {"alerts", "grafana"}
    assert before.keys() - after.keys() == {Path("grafana/provisioning/datasources/tempo.yml")}  # of the next step
    for file, text in after.items():
        assert here not in text, file
        if file.suffix == ".json":
            assert json.loads(text) == json.loads(before[file].replace(here, there))
        elif "provisioning" not in file.parts:
            moved = before[file].replace(f"{here}/runbooks", runbooks).replace(here, there)
            assert list(yaml.safe_load_all(text)) == list(yaml.safe_load_all(moved))
    operator = yaml.safe_load((tmp_path / "monitoring/prometheusrule.yaml").read_text())
    files = (text for file, text in sorted(after.items()) if file.name.endswith(".rules.yml"))
    assert operator["spec"]["groups"] == [
        {**group, "rules": [rule for rule in group["rules"] if rule.get("alert") != "ForeshockEarlyWarning"]}
        for text in files
        for group in yaml.safe_load(text)["groups"]
    ]
    read = {file.name: file.read_text() for file in (tmp_path / "read-by-grafana").rglob("*.yml")}
    assert str(tmp_path / "grafana/dashboards") in read["foreshock.yml"]
    assert there in read["prometheus.yml"]


def test_what_was_not_tried_is_what_compose_would_start(doc: str, compose: Yaml) -> None:
    """By version."""
    (untried,) = re.findall(r"Not tested, because.*?\n\n|Not tested, because.*\Z", doc, re.DOTALL)
    for name in ("prometheus", "alertmanager", "grafana", "tempo", "collector"):
        version = compose["services"][name]["image"].rpartition(":")[2].removeprefix("v")
        assert version in untried, name
