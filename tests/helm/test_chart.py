"""The chart itself: accepted by Helm, documented in full, and packed whole."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conftest import Golden
from tests.helm.conftest import CHART, FLEETS, ROOT, TOOLS, Tool, Yaml, objects, tool

from foreshock_dashboard.settings.settings import OPTIONS

FIXED = {"host", "port", "otlp_host", "otlp_grpc_port", "otlp_http_port", "store_path"}
"""Options of the hub that the chart sets, since its Service and probes rely on them."""
REFERENCE = "docs/reference/helm-values.md"


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - any YAML
    """Each value that is not a mapping, and each mapping that a comment documents as a whole."""
    if isinstance(value, dict) and value and path not in documented():
        for key, child in value.items():
            yield from leaves(child, f"{path}.{key}".lstrip("."))
    else:
        yield path, value


def documented() -> dict[str, str]:
    """The comments of values.yaml that start with `--`, by the path of the value below."""
    found, comment, path = dict[str, str](), "", list[tuple[int, str]]()
    for line in (CHART / "values.yaml").read_text().splitlines():
        if match := re.fullmatch(r" *# -- (.*)", line):
            comment = match[1]
        elif match := re.match(r"( *)([\w./-]+):", line):
            path = [*((indent, key) for indent, key in path if indent < len(match[1])), (len(match[1]), match[2])]
            if comment:
                found[".".join(key for _, key in path)] = comment
            comment = ""
    return found


def test_golden_reference_of_the_values(request: pytest.FixtureRequest) -> None:
    """`make golden` writes the table from the comments, and the hub's options into the schema, which all tests use."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    comments = documented()
    paths = dict(leaves(values))
    assert paths.keys() == comments.keys()
    rows = [f"| `{path}` | `{json.dumps(value)}` | {comments[path]} |" for path, value in paths.items()]
    table = "\n".join(["| value | default | description |", "|---|---|---|", *rows])
    schema = json.loads((CHART / "values.schema.json").read_text())
    options = sorted(item.key for item in OPTIONS if item.key not in FIXED)
    if request.config.getoption("--golden"):
        file = ROOT / REFERENCE
        file.write_text(re.sub(r"\| value \|.*\|\n", lambda _: table + "\n", file.read_text(), flags=re.DOTALL))
        schema["properties"]["hub"]["properties"]["config"]["propertyNames"]["enum"] = options
        (CHART / "values.schema.json").write_text(json.dumps(schema, indent=2) + "\n")
    assert table in (ROOT / REFERENCE).read_text()
    assert schema["properties"]["hub"]["properties"]["config"]["propertyNames"]["enum"] == options


@pytest.mark.parametrize("fleet", FLEETS)
def test_helm_finds_no_fault(helm: Tool, fleet: str) -> None:
    done = helm("lint", "--strict", CHART, f"--values={CHART / 'fleets' / fleet}.yaml")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("fleet", FLEETS)
def test_golden_objects_of_a_fleet(rendered: dict[str, list[Yaml]], golden: Golden, fleet: str) -> None:
    """What `helm install` would make, without random secrets, and without what other tests compare with its source."""
    shown = []
    for each in rendered[fleet]:
        if each["kind"] == "Secret":
            each = {**each, "data": sorted(each["data"])}
        if each["kind"] == "PrometheusRule":
            each = {**each, "spec": "from alerts/"}
        if each["metadata"]["name"].endswith("-dashboard"):
            each = {**each, "data": sorted(each["data"])}
        shown.append(each)
    golden(f"helm/{fleet}.yaml", yaml.safe_dump_all(shown, sort_keys=False, width=120))


def test_the_schema_knows_every_value_and_no_other() -> None:
    """So that a misspelled value is refused."""

    def compare(value: Yaml, schema: Yaml, path: str) -> None:
        if "properties" not in schema:
            assert schema.get("type") != "object" or path in documented(), path
            return
        assert schema["additionalProperties"] is False, path
        assert schema["properties"].keys() - {"global"} == value.keys(), path
        for key, child in value.items():
            if isinstance(child, dict):
                compare(child, schema["properties"][key], f"{path}.{key}".lstrip("."))

    compare(
        yaml.safe_load((CHART / "values.yaml").read_text()),
        json.loads((CHART / "values.schema.json").read_text()),
        "",
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("hub.config.retenton_size=1GiB", "retenton_size"),
        ("hub.config.port=80", "port"),
        ("hub.replica=2", "replica"),
        ("exporter.image.digest=latest", "digest"),
        ("hub.replicas=2", "Set hub.config.prometheus_url, or one replica"),
        ("hub.replicas=2,hub.config.prometheus_url=http://p,hub.config.notify_file=/f", "Set hub.config.postgres_url"),
        ("hub.replicas=2,hub.config.prometheus_url=http://p,hub.persistence.existingClaim=c", "a store belongs to one"),
        ("hub.config.prometheus_url=http://p,hub.scrapeConfigs[0].job_name=x", "Let Prometheus scrape"),
        ("hub.files.hub\\.yaml=x", "Use another name"),
    ],
)
def test_values_that_cannot_work_are_refused_by_name(helm: Tool, values: str, message: str) -> None:
    done = helm("template", CHART, "--set", values)
    assert done.returncode == 1
    assert message in done.stderr


def test_the_package_has_the_rules_and_dashboards_of_the_repository(helm: Tool, tmp_path: Path) -> None:
    """Links in the source, files in the package; nothing else of their folders."""
    assert helm("package", CHART, "--destination", tmp_path).returncode == 0
    (archive,) = tmp_path.glob("*.tgz")
    with tarfile.open(archive) as opened:
        packed = {name: opened.extractfile(name) for name in opened.getnames() if "/files/" in name}
        texts = {name.removeprefix("foreshock/files/"): file.read().decode() for name, file in packed.items() if file}
    sources = [*ROOT.glob("alerts/*.rules.yml"), *ROOT.glob("grafana/dashboards/*.json")]
    assert texts == {f"{file.parent.name}/{file.name}": file.read_text() for file in sources}


def test_the_chart_has_the_version_of_the_package() -> None:
    """Both its own and that of the images."""
    (version,) = re.findall(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (version, version)


def test_kustomize_patches_the_rendered_chart(tmp_path: Path) -> None:
    """For those who change what a chart has no value for: the commands of the guide."""
    for name in ("helm", "kubectl"):
        tool(name)  # skips where it is missing
    guide = (ROOT / "docs/guides/kubernetes.md").read_text()
    (kustomization,) = re.findall(r"```yaml\n(# kustomization.yaml\n.*?)```", guide, re.DOTALL)
    (commands,) = re.findall(r"```sh\n(helm template .*?) && kubectl apply", guide, re.DOTALL)
    (tmp_path / "kustomization.yaml").write_text(kustomization)
    (images,) = re.findall(r"```yaml\n(# images.yaml\n.*?)```", guide, re.DOTALL)
    (tmp_path / "images.yaml").write_text(images)
    path = ":".join([str(TOOLS / "helm"), str(TOOLS / "kubectl"), os.environ["PATH"]])
    script = commands.replace("compose/helm", str(CHART.parent))
    subprocess.run(["bash", "-eu", "-c", script], cwd=tmp_path, env={"PATH": path}, check=True, timeout=120)
    (hub,) = (each for each in objects((tmp_path / "patched.yaml").read_text()) if each["kind"] == "StatefulSet")
    assert hub["spec"]["template"]["spec"]["dnsPolicy"] == "Default"
    assert hub["spec"]["template"]["spec"]["containers"][0]["image"].startswith("REGISTRY/foreshock/hub:")
