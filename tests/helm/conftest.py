"""The chart as Helm renders it for each fleet of compose/helm/foreshock/fleets."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest
import yaml

from foreshock_dashboard.settings.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
CHART = ROOT / "compose/helm/foreshock"
TOOLS = ROOT / "node_modules/.kubernetes"
FLEETS = sorted(file.stem for file in (CHART / "fleets").glob("*.yaml"))

Yaml = dict[str, Any]


class Tool(Protocol):
    """Runs a program of Kubernetes."""

    def __call__(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Its exit code and what it printed."""
        ...


def tool(name: str) -> Tool:
    """Helm, or kubectl."""
    program = TOOLS / name / name
    if not program.exists():
        pytest.skip(f"{name} is not installed; `make setup-tests` installs it")

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([program, *words], capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)

    return run


@pytest.fixture(scope="session")
def helm() -> Tool:
    """Helm."""
    return tool("helm")


def objects(text: str) -> list[Yaml]:
    """The objects of a YAML stream."""
    return [each for each in yaml.safe_load_all(text) if each]


class Template(Protocol):
    """Renders the chart."""

    def __call__(self, *words: str, values: Mapping[str, Any] | None = None) -> list[Yaml]:
        """The objects with these flags and values."""
        ...


@pytest.fixture(scope="session")
def template(helm: Tool, tmp_path_factory: pytest.TempPathFactory) -> Template:
    """Render the chart as the release `foreshock` in a namespace of that name."""

    def render(*words: str, values: Mapping[str, Any] | None = None) -> list[Yaml]:
        file = tmp_path_factory.mktemp("values") / "values.json"
        file.write_text(json.dumps(values or {}))
        done = helm("template", "foreshock", CHART, "--namespace=foreshock", f"--values={file}", *words)
        assert done.returncode == 0, done.stderr
        return objects(done.stdout)

    return render


@pytest.fixture(scope="session")
def rendered(template: Template) -> dict[str, list[Yaml]]:
    """Every fleet's objects."""
    return {fleet: template(f"--values={CHART / 'fleets' / fleet}.yaml") for fleet in FLEETS}


def of(found: Sequence[Yaml], kind: str, name: str = "") -> Yaml:
    """The only object of a kind, or the one with this name."""
    (match,) = (each for each in found if each["kind"] == kind and name in ("", each["metadata"]["name"]))
    return match


def workloads(found: Sequence[Yaml]) -> Iterator[tuple[Yaml, Yaml]]:
    """The pods that are made, each with its only container."""
    for each in found:
        if each["kind"] in ("DaemonSet", "StatefulSet"):
            pod = each["spec"]["template"]["spec"]
            (container,) = pod["containers"]
            yield pod, container


def hub_settings(found: list[Yaml], folder: Path) -> Settings:
    """The settings of the hub of these objects, as it reads them."""
    config = of(found, "ConfigMap", "foreshock-hub")["data"]["hub.yaml"]
    (folder / "hub.yaml").write_text(config)
    (word,) = (word for word in of(found, "StatefulSet")["spec"]["template"]["spec"]["containers"][0]["args"][1:])
    assert word == "--config=/etc/foreshock/config/hub.yaml"
    return load_settings({"config": str(folder / "hub.yaml")}, {})
