"""compose/k8s as kustomize renders it: confined, whole in itself, and with the rules of alerts/."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from foreshock_dashboard.access.tokens import Tokens, token_line
from foreshock_dashboard.settings.settings import OPTIONS

Yaml = dict[str, Any]
OVERLAYS = ("demo", "fleet", "fleet-attribution")
RULES = Path("compose/k8s/components/monitoring/prometheusrule.yaml")


@pytest.fixture(scope="session")
def rendered(root: Path) -> dict[str, list[Yaml]]:
    """Every overlay's objects."""
    if shutil.which("kustomize") is None:
        pytest.skip("kustomize is not installed; `make setup-tests` installs it")
    found = {}
    for name in OVERLAYS:
        command = ["kustomize", "build", str(root / "compose/k8s/overlays" / name)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        found[name] = list(yaml.safe_load_all(done.stdout))
    return found


def of(objects: list[Yaml], kind: str, name: str = "") -> Yaml:
    """The only object of a kind, or the one with this name."""
    (found,) = (each for each in objects if each["kind"] == kind and name in ("", each["metadata"]["name"]))
    return found


def workloads(objects: list[Yaml]) -> Iterator[tuple[Yaml, Yaml]]:
    """The pods that are made, each with its only container."""
    for each in objects:
        if each["kind"] in ("DaemonSet", "Deployment"):
            pod = each["spec"]["template"]["spec"]
            (container,) = pod["containers"]
            yield pod, container


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_brings_the_exporter_everywhere_and_one_hub(rendered: dict[str, list[Yaml]], name: str) -> None:
    """All of it in one namespace, which is made; kinds of the Prometheus operator only where it is expected."""
    objects = rendered[name]
    kinds = {each["kind"] for each in objects}
    assert {"Namespace", "DaemonSet", "Deployment", "PersistentVolumeClaim", "Service", "NetworkPolicy"} <= kinds
    assert ({"PodMonitor", "PrometheusRule"} <= kinds) == (name != "demo")
    assert {each["metadata"].get("namespace", "foreshock") for each in objects} == {"foreshock"}
    hub = of(objects, "Deployment")["spec"]
    assert (hub["replicas"], hub["strategy"]["type"]) == (1, "Recreate")


@pytest.mark.parametrize("name", OVERLAYS)
def test_containers_can_do_no_more_than_they_must(rendered: dict[str, list[Yaml]], name: str) -> None:
    """Not root, no capability, nothing to gain, nothing writable but volumes; limits; no token of the cluster's API."""
    for pod, container in workloads(rendered[name]):
        user, own = pod["securityContext"], container["securityContext"]
        assert user["runAsNonRoot"]
        assert user["runAsUser"] == 10001
        assert user["seccompProfile"] == {"type": "RuntimeDefault"}
        assert own == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert pod["automountServiceAccountToken"] is False
        assert set(container["resources"]["limits"]) == {"cpu", "memory"}
        assert not {"hostNetwork", "hostIPC"} & set(pod)
        assert not any("nvidia.com/gpu" in amounts for amounts in container["resources"].values())


@pytest.mark.parametrize("name", OVERLAYS)
def test_only_attribution_sees_the_node_and_its_namespace_says_so(rendered: dict[str, list[Yaml]], name: str) -> None:
    """Elsewhere the strictest of Kubernetes' standards holds: neither the host's processes nor its files."""
    sees = name == "fleet-attribution"
    labels = of(rendered[name], "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == ("privileged" if sees else "restricted")
    pod = of(rendered[name], "DaemonSet")["spec"]["template"]["spec"]
    assert pod.get("hostPID", False) == sees
    mounts = [mount for _, container in workloads(rendered[name]) for mount in container.get("volumeMounts", [])]
    for pod, _ in workloads(rendered[name]):
        for volume in pod.get("volumes", []):
            if "hostPath" in volume:
                assert sees
                assert all(mount["readOnly"] for mount in mounts if mount["name"] == volume["name"])


@pytest.mark.parametrize("name", OVERLAYS)
def test_what_refers_to_something_finds_it(rendered: dict[str, list[Yaml]], name: str) -> None:
    """Ports by name, volumes, claims, service accounts, configuration, and pods by their labels."""
    objects = rendered[name]
    names = {(each["kind"], each["metadata"]["name"]) for each in objects}
    ports, labelled = set[str](), set[str]()
    for pod, container in workloads(objects):
        ports |= {port["name"] for port in container["ports"]}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container.get(probe, {"httpGet": {"port": "metrics"}})["httpGet"]["port"] in ports
        assert ("ServiceAccount", pod["serviceAccountName"]) in names
        volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
        assert {mount["name"] for mount in container.get("volumeMounts", [])} == set(volumes)
        for volume in volumes.values():
            if claim := volume.get("persistentVolumeClaim"):
                assert ("PersistentVolumeClaim", claim["claimName"]) in names
        for source in container.get("envFrom", []):
            assert ("ConfigMap", source["configMapRef"]["name"]) in names
    for each in objects:
        if each["kind"] in ("DaemonSet", "Deployment"):
            made = each["spec"]["template"]["metadata"]["labels"]
            assert each["spec"]["selector"]["matchLabels"].items() <= made.items()
            labelled.add(made["app.kubernetes.io/name"])
        elif each["kind"] == "Service":
            assert {port["targetPort"] for port in each["spec"]["ports"]} <= ports
    text = yaml.safe_dump(
        [each["spec"] for each in objects if each["kind"] in ("Service", "PodMonitor", "NetworkPolicy")]
    )
    assert set(re.findall(r"app.kubernetes.io/name: (\S+)", text)) == labelled


@pytest.mark.parametrize("name", OVERLAYS)
def test_images_are_those_of_compose(rendered: dict[str, list[Yaml]], compose: Yaml, name: str) -> None:
    """With exact versions."""
    composed = {compose["services"][service]["image"] for service in ("exporter", "hub")}
    assert {container["image"] for _, container in workloads(rendered[name])} == composed


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_exporter_takes_its_arguments(rendered: dict[str, list[Yaml]], name: str, tmp_path: Path) -> None:
    """The real one, once. It names the configured node, and its machine where it may look."""
    container = of(rendered[name], "DaemonSet")["spec"]["template"]["spec"]["containers"][0]
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    words = [word.replace("$(NODE_NAME)", "node-7").replace("=/host", f"={tmp_path}") for word in container["args"]]
    command = [Path(sys.executable).with_name("foreshock-exporter"), *words, "--once"]
    done = subprocess.run([*command, "--sampling.period=0.1"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    host = "0123456789abcdef0123456789abcdef" if name == "fleet-attribution" else "node-7"
    assert f'target_info{{host_id="{host}",host_name="node-7"}} 1' in done.stdout
    assert "node_network_" not in done.stdout


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_hub_knows_its_options(rendered: dict[str, list[Yaml]], name: str) -> None:
    """Flags and variables are options of `foreshock serve`, it asks who looks, and keeps less than its disk holds."""
    container = of(rendered[name], "Deployment")["spec"]["template"]["spec"]["containers"][0]
    command, *flags = container["args"]
    assert command == "serve"
    given = {flag.partition("=")[0]: flag.partition("=")[2] for flag in flags}
    assert set(given) <= {item.flag for item in OPTIONS}
    assert {"--auth-basic-file", "--auth-token-file", "--otlp-token-file"} <= set(given)
    assert "--allow-unauthenticated" not in given
    (config,) = (each["data"] for each in rendered[name] if each["kind"] == "ConfigMap")
    assert set(config) <= {item.variable for item in OPTIONS}
    claimed = of(rendered[name], "PersistentVolumeClaim")["spec"]["resources"]["requests"]["storage"]
    assert float(given["--retention-size"].removesuffix("GiB")) < float(claimed.removesuffix("Gi"))
    assert given["--store-path"].startswith(container["volumeMounts"][0]["mountPath"])


def test_series_have_the_jobs_that_the_rules_ask_for_and_no_labels_of_pods(rendered: dict[str, list[Yaml]]) -> None:
    """A pod that is replaced would be a new series, and of two hubs each incident would be notified twice."""
    monitors = [each for each in rendered["fleet"] if each["kind"] == "PodMonitor"]
    assert [each["metadata"]["name"] for each in monitors] == ["foreshock-exporter", "foreshock-hub"]
    for monitor in monitors:
        assert monitor["spec"]["jobLabel"] == "app.kubernetes.io/name"
        assert monitor["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"] == monitor["metadata"]["name"]
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert {"action": "labeldrop", "regex": "namespace|pod|container|endpoint"} in endpoint["relabelings"]
        assert 4 * int(endpoint["interval"].removesuffix("s")) < 59


def test_prometheus_sends_a_separate_token_that_the_hub_knows(
    rendered: dict[str, list[Yaml]], root: Path, tmp_path: Path
) -> None:
    """Not the hub's list, which may hold more than one: made as docs/guides/deploy.md says, read by the hub."""
    doc = (root / "docs/guides/deploy.md").read_text()
    (command,) = re.findall(r"^foreshock token .*scrape-token.*$", doc, re.MULTILINE)
    (secret,) = re.findall(r"create secret generic foreshock-hub (.*?)\n[a-z]", doc, re.DOTALL)
    (tmp_path / "tokens").write_text(token_line("other", "b" * 64) + "\n")
    environ = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-eu", "-c", command], cwd=tmp_path, env=environ, check=True, timeout=60)
    for name in ("fleet", "fleet-attribution"):
        given = of(rendered[name], "PodMonitor", "foreshock-hub")["spec"]["podMetricsEndpoints"][0]["authorization"][
            "credentials"
        ]
        read = of(rendered[name], "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]
        lists = {Path(word).name for word in read if word.partition("=")[2].startswith("/etc/foreshock/")}
        assert given["name"] == "foreshock-hub"
        assert lists | {given["key"]} == set(re.findall(r"--from-file=(\S+)", secret))
        assert given["key"] not in lists
        token = (tmp_path / given["key"]).read_text()
        assert "\n" not in token
        assert Tokens(tmp_path / "tokens").allows(f"Bearer {token}")


def operator_rules(out: Path, *words: str) -> Path:
    """The file that `foreshock generate rules --operator` writes, without variables."""
    command: list[str | Path] = [
        Path(sys.executable).with_name("foreshock"),
        "generate",
        "rules",
        "--operator",
        "--output-dir",
        out,
        *words,
    ]
    subprocess.run(command, check=True, timeout=60, stdout=subprocess.DEVNULL, env={})
    return out / RULES.name


def test_golden_rules_for_the_operator_are_those_of_the_files(
    root: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """`make golden`, or `foreshock generate rules --operator`, writes them, and nothing else."""
    file = operator_rules((root / RULES).parent if request.config.getoption("--golden") else tmp_path)
    assert [each.name for each in tmp_path.iterdir()] in ([], [RULES.name])
    assert file.read_text() == (root / RULES).read_text()
    groups = [
        group
        for each in sorted(root.glob("alerts/*.rules.yml"))
        for group in yaml.safe_load(each.read_text())["groups"]
    ]
    assert yaml.safe_load(file.read_text())["spec"] == {"groups": groups}


def test_rules_for_the_operator_lead_to_the_hub_that_was_named_and_know_promises(root: Path, tmp_path: Path) -> None:
    """Every link, and nothing else is changed; promises are groups of their own."""
    hub = "https://hub.example.com/foreshock"
    file = operator_rules(tmp_path, "--hub-url", hub, "--slo", "serving/chat=20s:1%")
    *groups, promised = yaml.safe_load(file.read_text())["spec"]["groups"]
    text = yaml.safe_dump(groups)
    assert "127.0.0.1" not in text
    shipped = yaml.safe_load((root / RULES).read_text())["spec"]["groups"]
    assert yaml.safe_load(text.replace(hub, "http://127.0.0.1:8050")) == shipped
    assert promised["name"] == "foreshock-slo-serving/chat"


def test_prometheus_accepts_the_rules_of_the_operator(rendered: dict[str, list[Yaml]], tmp_path: Path) -> None:
    """What the operator hands on is the specification, as a file of rules."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed; `make setup-tests` installs it")
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump(of(rendered["fleet"], "PrometheusRule")["spec"]))
    done = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
