"""The chart's objects against the schemas of Kubernetes, the Prometheus Operator, and KEDA."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from tests.helm.conftest import ROOT, Template, Yaml

MODULES = {
    "monitoring.coreos.com": "@kubernetes-models/prometheus-operator",
    "keda.sh": "@kubernetes-models/keda",
}
"""npm package with the schemas of an API group; the others are Kubernetes' own."""
EVERYTHING: Yaml = {
    "imagePullSecrets": ["registry"],
    "exporter": {
        "attribution": {"environment": True},
        "podResources": {"enabled": True},
        "kernelLog": {"enabled": True},
        "pools": [{"name": "chat", "nodeSelector": {"pool": "chat"}}],
        "webConfigSecret": "exporter-web",
        "affinity": {"nodeAffinity": {}},
        "extraVolumes": [{"name": "more", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    },
    "hub": {
        "replicas": 2,
        "config": {"prometheus_url": "http://prometheus:9090", "tls_cert": "/tls/crt", "tls_key": "/tls/key"},
        "files": {"services.yaml": "services: {}\n"},
        "secrets": ["prometheus-credentials"],
        "nodeSelector": {"pool": "system"},
        "tolerations": [{"operator": "Exists"}],
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {}}
        ],
        "priorityClassName": "high",
        "persistence": {"storageClassName": "fast", "annotations": {"a": "b"}},
        "service": {"annotations": {"a": "b"}},
        "otlpService": {"type": "LoadBalancer", "annotations": {"a": "b"}},
        "ingress": {"enabled": True, "className": "nginx", "host": "gpus.example", "tlsSecret": "gpus-tls"},
        "extraEnv": [{"name": "TZ", "value": "UTC"}],
        "serviceAccount": {"annotations": {"a": "b"}},
    },
    "podMonitor": {"enabled": True, "exporter": {"scheme": "https", "tlsConfig": {"insecureSkipVerify": True}}},
    "prometheusRule": {"enabled": True},
    "dashboards": {"enabled": True, "namespace": "monitoring", "annotations": {"grafana_folder": "GPUs"}},
    "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-more"}}],
}
"""Values that make every object and every optional field."""


def examples() -> list[Yaml]:
    """The autoscalers and the PodMonitor of the guides."""
    guides = "".join((ROOT / f"docs/guides/{name}.md").read_text() for name in ("autoscaling", "prometheus"))
    found = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(apiVersion: .*?)```", guides, re.DOTALL)]
    assert [each["kind"] for each in found] == ["HorizontalPodAutoscaler", "ScaledObject", "PodMonitor"]
    return found


def quota() -> Yaml:
    """The values of the guide that make a ResourceQuota."""
    guide = (ROOT / "docs/guides/kubernetes.md").read_text()
    (text,) = re.findall(r"```yaml\n(extraObjects:.*?)```", guide, re.DOTALL)
    values: Yaml = yaml.safe_load(text)
    return values


def faults(found: Sequence[Yaml], folder: Path) -> list[str]:
    """What is wrong with objects: unknown fields by TypeScript, missing and wrong ones by JSON Schema."""
    if not (ROOT / "node_modules/kubernetes-models").exists():
        pytest.skip("npm packages are not installed; `make setup-tests` installs them")
    modules = {}
    for each in found:
        package = MODULES.get(each["apiVersion"].partition("/")[0], "kubernetes-models")
        modules[each["kind"]] = f"{package}/{each['apiVersion']}/{each['kind']}"
    (folder / "node_modules").symlink_to(ROOT / "node_modules")
    types = [f'import type {{ I{kind} }} from "{module}";' for kind, module in modules.items()]
    types += [f"export const _{i}: I{each['kind']} = {json.dumps(each)};" for i, each in enumerate(found)]
    (folder / "objects.ts").write_text("\n".join(types))
    checks = [f'import {{ {kind} }} from "{module}";' for kind, module in modules.items()]
    checks += [
        f"try {{ new {each['kind']}({json.dumps(each)}).validate() }} catch (error) {{ console.log(error.message) }}"
        for each in found
    ]
    (folder / "objects.mjs").write_text("\n".join(checks))
    said = []
    for command in (
        ["node_modules/.bin/tsc", "--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "objects.ts"],
        ["node", "objects.mjs"],
    ):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
        assert done.stderr == ""
        said += done.stdout.splitlines()
    return said


def test_every_object_fits_its_schema(rendered: dict[str, list[Yaml]], template: Template, tmp_path: Path) -> None:
    """Of each fleet, of all that the chart can make, and of the guides."""
    every = [
        *template(values=EVERYTHING),
        *template(values={"hub": {"rbac": {"namespaces": ["serving"]}}}),
        *template(values={"hub": {"rbac": {"clusterWide": True}}} | quota()),
    ]
    assert len({each["kind"] for each in every}) >= 16
    fleets = [each for found in rendered.values() for each in found]
    assert faults([*fleets, *every, *examples()], tmp_path) == []


def test_the_schemas_find_faults(template: Template, tmp_path: Path) -> None:
    """An unknown field, a missing one, and a wrong one."""
    hub = next(each for each in template() if each["kind"] == "StatefulSet")
    unknown, missing, wrong = (json.loads(json.dumps(hub)) for _ in range(3))
    unknown["spec"]["replica"] = 2
    del missing["spec"]["selector"]
    wrong["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"] = "http"
    said = "\n".join(faults([unknown, missing, wrong], tmp_path))
    for text in ("'\"replica\"' does not exist", "have required property selector", "containerPort must be integer"):
        assert text in said
