"""What the chart makes: confined, whole in itself, accepted by the real programs, with the rules of alerts/."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from tests.helm.conftest import CHART, FLEETS, ROOT, Template, Tool, Yaml, hub_settings, of, tool, workloads

from foreshock_dashboard.access.tokens import Tokens
from foreshock_dashboard.access.users import Users
from foreshock_dashboard.cli.serving.demo import demo
from foreshock_dashboard.settings.settings import Settings
from foreshock_dashboard.sources.http_config.reading import read_http_config
from foreshock_exporter.options import parse

SHIPPED_URL = "http://127.0.0.1:8050"


def test_the_kernel_log_is_read_by_a_privileged_container_only_on_request(template: Template) -> None:
    """Kubernetes refuses a privileged container that sets allowPrivilegeEscalation to false."""
    values = {"exporter": {"kernelLog": {"enabled": True}}, "hub": {"enabled": False}}
    pod, container = next(workloads(template(values=values)))
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "kmsg"]
    assert volume["hostPath"] == {"path": "/dev/kmsg", "type": "CharDevice"}
    assert {"name": "kmsg", "mountPath": "/dev/kmsg", "readOnly": True} in container["volumeMounts"]
    assert container["securityContext"] == {
        "runAsUser": 0,
        "runAsNonRoot": False,
        "privileged": True,
        "readOnlyRootFilesystem": True,
    }
    options = parse([str(word) for word in container["args"] if not word.startswith(("--host", "--path"))], {})
    assert options.kernel_log == "on"


def test_the_exporter_runs_on_nodes_with_amd_gpus_by_the_values_of_the_guide(template: Template) -> None:
    """Without the runtime class of NVIDIA, and with access to device files, without which amdkfd hides processes."""
    guide = (ROOT / "docs/guides/kubernetes.md").read_text().partition("### AMD and Intel GPUs")[2]
    values = yaml.safe_load(guide.partition("```yaml\n")[2].partition("```")[0])
    pod, container = next(workloads(template(values=values)))
    assert "runtimeClassName" not in pod
    assert pod["nodeSelector"] == {"feature.node.kubernetes.io/amd-gpu": "true"}
    assert container["securityContext"]["privileged"] is True
    assert "allowPrivilegeEscalation" not in container["securityContext"]


@pytest.mark.parametrize("fleet", FLEETS)
def test_containers_can_do_no_more_than_they_must(rendered: dict[str, list[Yaml]], fleet: str) -> None:
    """Not root, no capability, no gain, nothing writable but volumes; limits; an API token only to find pods."""
    for pod, container in workloads(rendered[fleet]):
        user, own = pod["securityContext"], container["securityContext"]
        assert (user["runAsNonRoot"], user["runAsUser"]) == (True, 10001)
        assert user["seccompProfile"] == {"type": "RuntimeDefault"}
        assert own == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert pod["automountServiceAccountToken"] is any(each["kind"] == "Role" for each in rendered[fleet]) & (
            container["name"] == "hub"
        )
        assert set(container["resources"]["limits"]) == {"cpu", "memory"}
        assert not {"hostNetwork", "hostIPC"} & set(pod)
        assert not any("nvidia.com/gpu" in amounts for amounts in container["resources"].values())


def test_who_is_not_root_can_read_the_secrets_of_the_pod(template: Template) -> None:
    """Their files belong to root and to the group of the pod."""
    auth = {"exporter": {"webConfigSecret": "web"}, "hub": {"secrets": ["a.b", "c"]}}
    for pod, container in workloads(template(values=auth)):
        secrets = [volume for volume in pod["volumes"] if "secret" in volume]
        assert {volume["secret"]["defaultMode"] for volume in secrets} == {0o440}
        assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["fsGroup"]) == (10001, 10001)
        assert all(re.fullmatch("[a-z0-9]([-a-z0-9]{,61}[a-z0-9])?", volume["name"]) for volume in secrets)
        assert len({mount["mountPath"] for mount in container["volumeMounts"]}) == len(container["volumeMounts"])


def test_no_fleet_needs_a_priority_class_that_a_cluster_may_refuse(rendered: dict[str, list[Yaml]]) -> None:
    """Some admit system-node-critical outside of kube-system only with a quota, and make no pod otherwise."""
    assert [
        pod["priorityClassName"]
        for each in rendered.values()
        for pod, _ in workloads(each)
        if "priorityClassName" in pod
    ] == []


def test_an_exporter_whose_driver_hangs_is_not_restarted_and_not_ready(
    rendered: dict[str, list[Yaml]], tmp_path: Path
) -> None:
    """The real one, asked at the paths of the probes: it has to report what hangs."""
    container = of(rendered["simulated-gpus"], "DaemonSet")["spec"]["template"]["spec"]["containers"][0]
    script = tmp_path / "hang.jsonl"
    lines: list[Yaml] = [
        {"foreshock_device_script": 1, "host": "h"},
        {"at": 0, "gpu": 0, "device": {"model": "M", "memory_bytes": 1000}},
        {"at": 0, "gpu": 0, "fault": "hang"},
    ]
    script.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    command = [
        str(Path(sys.executable).with_name("foreshock-exporter")),
        f"--mock={script}",
        "--web.listen-address=127.0.0.1:0",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = (re.search(r"listens on (http://127.0.0.1:\d+)/", line) for line in process.stderr)
            address = next(match[1] for match in said if match)
            status = {
                name: httpx.get(address + container[f"{name}Probe"]["httpGet"]["path"]).status_code
                for name in ("startup", "liveness", "readiness")
            }
        finally:
            process.terminate()
            process.communicate(timeout=30)
    assert status == {"startup": 200, "liveness": 200, "readiness": 503}


PODS, MACHINE, RESOURCES = "/var/log/pods", "/etc/machine-id", "/var/lib/kubelet/pod-resources"
CGROUPS = "/sys/fs/cgroup"


@pytest.mark.parametrize(
    ("exporter", "host_paths", "user", "capabilities"),
    [
        ({"attribution": {"enabled": False, "environment": True}}, set(), 10001, []),
        ({}, {PODS, MACHINE, CGROUPS}, 10001, []),
        ({"attribution": {"environment": True}}, {PODS, MACHINE, CGROUPS}, 0, ["SYS_PTRACE"]),
        ({"attribution": {"enabled": False}, "podResources": {"enabled": True}}, {RESOURCES}, 0, []),
        (
            {"attribution": {"environment": True}, "podResources": {"enabled": True}},
            {PODS, MACHINE, CGROUPS, RESOURCES},
            0,
            ["SYS_PTRACE"],
        ),
    ],
)
def test_the_exporter_sees_no_more_of_its_node_than_it_must(
    template: Template, exporter: Yaml, host_paths: set[str], user: int, capabilities: list[str]
) -> None:
    """Without attribution, the strictest of Kubernetes' standards holds. The node's files are read-only."""
    pod, container = next(workloads(template(values={"exporter": exporter, "hub": {"enabled": False}})))
    assert pod.get("hostPID", False) == (PODS in host_paths)
    assert {volume["hostPath"]["path"] for volume in pod.get("volumes", [])} == host_paths
    assert all(mount["readOnly"] for mount in container.get("volumeMounts", []))
    own = container["securityContext"]
    assert own.get("runAsUser", pod["securityContext"]["runAsUser"]) == user
    assert own.get("runAsNonRoot", True) == (user != 0)
    assert own["capabilities"] == {"drop": ["ALL"]} | ({"add": capabilities} if capabilities else {})
    assert (own["readOnlyRootFilesystem"], own["allowPrivilegeEscalation"]) == (True, False)


def test_the_kubelets_socket_is_read_by_root_without_capabilities(template: Template) -> None:
    """Its folder is mounted, because a restarted kubelet makes a new socket, and belongs to root."""
    values = {
        "exporter": {"attribution": {"enabled": False}, "podResources": {"enabled": True}},
        "hub": {"enabled": False},
    }
    pod, container = next(workloads(template(values=values)))
    (volume,) = pod["volumes"]
    (mount,) = container["volumeMounts"]
    assert volume["hostPath"] == {"path": "/var/lib/kubelet/pod-resources", "type": "Directory"}
    assert mount == {"name": volume["name"], "mountPath": "/var/lib/kubelet/pod-resources", "readOnly": True}
    own = container["securityContext"]
    assert (own["runAsUser"], own["runAsNonRoot"], own["capabilities"]) == (0, False, {"drop": ["ALL"]})
    assert not pod.get("hostPID")
    parse([str(word) for word in container["args"] if not word.startswith("--host.name")], {})


@pytest.mark.parametrize("fleet", FLEETS)
def test_what_refers_to_something_finds_it(rendered: dict[str, list[Yaml]], fleet: str) -> None:
    """Ports by name, volumes, secrets, service accounts, configuration, and pods by their labels."""
    found = rendered[fleet]
    names = {(each["kind"], each["metadata"]["name"]) for each in found}
    external = {"mimir-credentials"}
    ports, pod_labels = set[str](), []
    for each in found:
        if each["kind"] in ("DaemonSet", "StatefulSet"):
            made = each["spec"]["template"]["metadata"]["labels"]
            assert each["spec"]["selector"]["matchLabels"].items() <= made.items()
            pod_labels.append(made)
            if each["kind"] == "StatefulSet":
                pod_labels[-1] = made | {"statefulset.kubernetes.io/pod-name": f"{each['metadata']['name']}-0"}
            pod = each["spec"]["template"]["spec"]
            (container,) = pod["containers"]
            ports |= {port["name"] for port in container["ports"]}
            probes = [container[name] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
            assert {probe["httpGet"]["port"] for probe in probes} <= {port["name"] for port in container["ports"]}
            assert ("ServiceAccount", pod["serviceAccountName"]) in names
            claims = {claim["metadata"]["name"] for claim in each["spec"].get("volumeClaimTemplates", [])}
            volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
            assert {mount["name"] for mount in container.get("volumeMounts", [])} == set(volumes) | claims
            for volume in volumes.values():
                if config := volume.get("configMap"):
                    assert ("ConfigMap", config["name"]) in names
                if secret := volume.get("secret"):
                    assert ("Secret", secret["secretName"]) in names or secret["secretName"] in external
    for each in found:
        if each["kind"] == "Service":
            assert {port["targetPort"] for port in each["spec"]["ports"]} <= ports
            assert any(each["spec"]["selector"].items() <= labels.items() for labels in pod_labels)
        if each["kind"] in ("PodMonitor", "PodDisruptionBudget"):
            selected = each["spec"]["selector"]["matchLabels"]
            assert sum(selected.items() <= labels.items() for labels in pod_labels) == 1
    text = yaml.safe_dump([each["spec"] for each in found if each["kind"] == "NetworkPolicy"])
    assert set(re.findall(r"port: (\S+)", text)) <= ports


def test_images_are_those_of_compose_unless_a_digest_names_them(
    rendered: dict[str, list[Yaml]], template: Template
) -> None:
    compose = yaml.safe_load((ROOT / "compose/compose.yml").read_text())
    composed = {compose["services"][service]["image"] for service in ("exporter", "hub")}
    assert {container["image"] for _, container in workloads(rendered["single-host"])} == composed
    digest = f"sha256:{'0' * 64}"
    pinned = template(values={"hub": {"image": {"repository": "registry.example/hub", "digest": digest}}})
    assert f"registry.example/hub@{digest}" in {container["image"] for _, container in workloads(pinned)}


@pytest.mark.parametrize(
    ("fleet", "expected"),
    [
        ("single-host", 'target_info{host_id="0123456789abcdef0123456789abcdef",host_name="node-7"} 1'),
        ("simulated-gpus", "gpu_service_wait_by_aggressor_seconds_total{"),
    ],
)
def test_the_exporter_takes_its_arguments(
    rendered: dict[str, list[Yaml]], fleet: str, expected: str, tmp_path: Path
) -> None:
    """The real one, once: it names the configured node, and its machine where it may look."""
    container = of(rendered[fleet], "DaemonSet")["spec"]["template"]["spec"]["containers"][0]
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    words = [word.replace("$(NODE_NAME)", "node-7").replace("=/host", f"={tmp_path}") for word in container["args"]]
    command = [Path(sys.executable).with_name("foreshock-exporter"), *words, "--once", "--sampling.period=0.1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
    assert "node_network_" not in done.stdout


@pytest.mark.parametrize("fleet", [name for name in FLEETS if name != "demo"])
def test_the_hub_takes_its_options(rendered: dict[str, list[Yaml]], fleet: str, tmp_path: Path) -> None:
    """It asks who looks, and keeps less than its memory and its disk hold; each file that it reads is mounted."""
    settings = hub_settings(rendered[fleet], tmp_path)
    assert (settings.host, settings.allow_unauthenticated) == ("0.0.0.0", False)  # noqa: S104 - in a pod
    assert bool(settings.prometheus_url) != bool(settings.targets_file)
    assert settings.scrape_interval == {"kube-prometheus-stack": 30.0, "mimir": 60.0}.get(fleet, 10.0)
    spec = of(rendered[fleet], "StatefulSet")["spec"]
    container = spec["template"]["spec"]["containers"][0]
    assert settings.memory_limit < int(container["resources"]["limits"]["memory"].removesuffix("Gi")) << 30
    for claim in spec.get("volumeClaimTemplates", []):
        claimed = int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi")) << 30
        assert settings.retention_size < claimed
    mounts = tuple(mount["mountPath"] for mount in container["volumeMounts"])
    paths = [value for name in Settings.__slots__ if isinstance(value := getattr(settings, name), Path)]
    assert len(paths) >= 4
    assert all(str(path).startswith(mounts) for path in paths)


def test_the_hub_presents_credentials_and_tenant(rendered: dict[str, list[Yaml]], tmp_path: Path) -> None:
    """To metrics, traces, and Alertmanager of Mimir's fleet, from a mounted secret."""
    found = rendered["mimir"]
    settings = hub_settings(found, tmp_path)
    for path in (settings.prometheus_config, settings.traces_config, settings.alertmanager_config):
        assert path is not None
        file = tmp_path / path.name
        file.write_text(of(found, "ConfigMap", "foreshock-hub")["data"][path.name])
        config = read_http_config(file)
        assert config.http_headers["X-Scope-OrgID"].values == ("gpu-platform",)
        assert config.basic_auth is not None
        password = str(config.basic_auth.password_file)
        mounts = of(found, "StatefulSet")["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
        assert any(password.startswith(f"{mount['mountPath']}/") for mount in mounts)


def test_the_demo_takes_its_arguments(rendered: dict[str, list[Yaml]]) -> None:
    """With a password, since others in the cluster reach it."""
    command, *words = of(rendered["demo"], "StatefulSet")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert command == "demo"
    flags = demo.make_context("demo", words).params
    assert (flags["host"], flags["auth_basic_file"]) == ("0.0.0.0", "/etc/foreshock/auth/users")  # noqa: S104


def test_the_secret_that_the_chart_makes_lets_in_who_knows_it(rendered: dict[str, list[Yaml]], tmp_path: Path) -> None:
    """Read by the hub: the password of admin, the token of Prometheus, and that of services."""
    data = of(rendered["single-host"], "Secret")["data"]
    secret = {key: base64.b64decode(text).decode() for key, text in data.items()}
    settings = hub_settings(rendered["single-host"], tmp_path)
    for key, text in secret.items():
        (tmp_path / key).write_text(text)
    assert Tokens(tmp_path / "tokens").name_of(f"Bearer {secret['scrape-token']}") == "prometheus"
    assert Tokens(tmp_path / "otlp-tokens").name_of(f"Bearer {secret['otlp-token']}") == "services"
    basic = base64.b64encode(f"admin:{secret['admin-password']}".encode()).decode()
    assert Users(tmp_path / "users").check(f"Basic {basic}", "10.0.0.1") == "right"
    assert [(name, role.name) for name, role in settings.roles] == [("admin", "ADMIN")]


def test_prometheus_sends_a_token_that_the_hub_knows(root_guide: str, template: Template, tmp_path: Path) -> None:
    """Not the hub's list, which may hold more than one: made as the guide says, read by the hub."""
    (commands,) = re.findall(r"^(foreshock token create prometheus .*?)^kubectl", root_guide, re.MULTILINE | re.DOTALL)
    environ = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-eu", "-c", commands], cwd=tmp_path, env=environ, check=True, timeout=60)
    (created,) = re.findall(r"create secret generic foreshock-auth (.*?)\n[a-z#`]", root_guide, re.DOTALL)
    values = {"hub": {"auth": {"existingSecret": "foreshock-auth"}}, "podMonitor": {"enabled": True}}
    found = template(values=values)
    assert [each for each in found if each["kind"] == "Secret"] == []
    given = of(found, "PodMonitor", "foreshock-hub")["spec"]["podMetricsEndpoints"][0]["authorization"]["credentials"]
    assert given["name"] == "foreshock-auth"
    settings = hub_settings(found, tmp_path)
    files = (settings.auth_basic_file, settings.auth_token_file, settings.otlp_token_file)
    lists = {file.name for file in files if file}
    assert lists | {given["key"]} == set(re.findall(r"--from-file=(\S+)", created))
    token = (tmp_path / given["key"]).read_text()
    assert "\n" not in token
    assert Tokens(tmp_path / "tokens").allows(f"Bearer {token}")


@pytest.fixture
def root_guide() -> str:
    """The guide to Kubernetes."""
    return (ROOT / "docs/guides/kubernetes.md").read_text()


def shipped_groups() -> list[Yaml]:
    """The groups of alerts/."""
    files = sorted(ROOT.glob("alerts/*.rules.yml"))
    return [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]


def without_alerts(*names: str) -> list[Yaml]:
    """The groups of alerts/ without some alerts."""
    return [
        {**group, "rules": [rule for rule in group["rules"] if rule.get("alert") not in names]}
        for group in shipped_groups()
    ]


def test_rules_are_those_of_the_files_and_lead_to_the_hub(template: Template) -> None:
    """Every link; of the rules only that of early warnings is left out, since a cluster has no route for them."""
    alone = template(values={"prometheusRule": {"enabled": True}})
    assert of(alone, "PrometheusRule")["spec"]["groups"] == without_alerts("ForeshockEarlyWarning")
    ingress = {"enabled": True, "host": "gpus.example", "tlsSecret": "gpus-tls"}
    rule = {"enabled": True, "disabledAlerts": [], "runbookUrl": "https://docs.example/runbooks/"}
    moved = of(template(values={"hub": {"ingress": ingress}, "prometheusRule": rule}), "PrometheusRule")["spec"][
        "groups"
    ]
    text = json.dumps(moved)
    assert SHIPPED_URL not in text
    assert "https://gpus.example/services/" in text
    back = text.replace("https://docs.example/runbooks", f"{SHIPPED_URL}/runbooks").replace(
        "https://gpus.example", SHIPPED_URL
    )
    assert json.loads(back) == shipped_groups()


def test_rules_can_be_left_out_and_added(template: Template) -> None:
    """By name; the others stay as they are."""
    added = {"name": "foreshock-slo-serving/chat", "rules": [{"alert": "Slow", "expr": "vector(1)"}]}
    rule = {
        "enabled": True, "disabledGroups": ["foreshock-network", "hardware"], "disabledAlerts": ["ForeshockHubDown"],
        "additionalGroups": [added],
    }  # fmt: skip
    groups = of(template(values={"prometheusRule": rule}), "PrometheusRule")["spec"]["groups"]
    expected = [
        group for group in without_alerts("ForeshockHubDown") if not re.search("network|hardware", group["name"])
    ]
    assert groups == [*expected, added]
    assert sum(len(group["rules"]) for group in shipped_groups()) > sum(len(group["rules"]) for group in expected)


def commands(*files: str) -> Iterator[str]:
    """Each kubectl command in the code of these documents, on one line, without what follows it."""
    for file in sorted(path for pattern in files for path in ROOT.glob(pattern)):
        text = file.read_text().replace("\\\n", " ")
        for block, inline in re.findall(r"```(?:sh|console)\n(.*?)```|`(kubectl [^`]+)`", text, re.DOTALL):
            for found in re.findall(r"\bkubectl [^\n;|>#]+", block or inline.replace("\n", " ")):
                yield " ".join(found.split("&&")[0].split())


def test_commands_of_runbooks_and_guides_are_accepted_by_kubectl() -> None:
    """It knows each subcommand and flag, and fails only because there is no cluster."""
    kubectl = tool("kubectl")
    checked = set[str]()
    for command in commands("alerts/runbooks/*.md", "docs/guides/kubernetes.md"):
        if re.search(r"kubectl (kustomize|apply)\b", command) or command in checked:
            continue  # they read a file first
        command = re.sub(r"--from-file=(\w+)\S*", r"--from-literal=\1=x", command.replace("replicas=N", "replicas=3"))
        words = shlex.split(re.sub(r"\$(\w+)", r"\1", command))[1:]
        checked.add(command)
        at = words.index("--") if "--" in words else len(words)
        done = kubectl(*words[:at], "--server=http://127.0.0.1:1", *words[at:])
        assert "refused" in done.stderr or done.returncode == 0, f"{command}: {done.stderr}"
    assert len(checked) > 12


def test_every_reset_of_a_gpu_first_drains_the_node_and_stops_what_holds_the_gpu(template: Template) -> None:
    """By one procedure, which labels the node with a label that the exporter's DaemonSet obeys."""
    texts = {file.stem: file.read_text() for file in (ROOT / "alerts/runbooks").glob("*.md")}
    parts = re.compile(r"1\. Drain the host: .*\n2\. Stop .*?\n3\. .*?--gpu-reset.*?\n4\. .*?```.*?```\n", re.DOTALL)
    procedures = {name: parts.findall(text) for name, text in texts.items() if "nvidia-smi --gpu-reset" in text}
    assert len(procedures) > 5
    ((procedure,),) = {tuple(found) for found in procedures.values()}
    assert all("kubectl uncordon $NODE" in texts[name] for name in procedures)
    drains = {drain for text in texts.values() for drain in re.findall(r"kubectl drain[^`]*", text)}
    assert drains == {"kubectl drain $NODE --ignore-daemonsets --delete-emptydir-data"}
    (label,) = re.findall(r"(foreshock/\w+)=false", procedure)
    (pod, _), *_ = (found for found in workloads(template()) if "affinity" in found[0])
    (term,) = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": label, "operator": "NotIn", "values": ["false"]}]


@pytest.mark.parametrize(
    ("key", "name", "message"),
    [
        ("disabledGroups", "incident", 'disabledGroups: "incident" is not a rule group. Use capacity, cascade'),
        ("disabledAlerts", "HubDown", 'disabledAlerts: "HubDown" is not an alert.'),
    ],
)
def test_an_unknown_group_or_alert_is_refused(helm: Tool, key: str, name: str, message: str) -> None:
    """A typing error would otherwise leave the alert in place."""
    done = helm(
        "template", "foreshock", CHART, "--set=prometheusRule.enabled=true", f"--set=prometheusRule.{key}={{{name}}}"
    )
    assert done.returncode != 0
    assert f"prometheusRule.{message}" in done.stderr


def test_dashboards_are_those_of_the_files_and_lead_to_the_hub(template: Template) -> None:
    values = {"dashboards": {"enabled": True}, "hub": {"config": {"external_url": "https://gpus.example/"}}}
    found = {
        name: json.loads(text)
        for each in template(values=values)
        if each["metadata"]["labels"].get("grafana_dashboard") == "1"
        for name, text in each["data"].items()
    }
    files = sorted((ROOT / "grafana/dashboards").glob("*.json"))
    assert found == {
        file.name: json.loads(file.read_text().replace(SHIPPED_URL, "https://gpus.example")) for file in files
    }


def test_prometheus_accepts_the_rules(rendered: dict[str, list[Yaml]], tmp_path: Path) -> None:
    """What the operator hands on is the specification, as a file of rules."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed; `make setup-tests` installs it")
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump(of(rendered["kube-prometheus-stack"], "PrometheusRule")["spec"]))
    done = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_each_pool_of_nodes_has_its_exporters(template: Template) -> None:
    """Named, on its nodes that have GPUs, and with selectors that do not overlap."""
    pools = [{"name": name, "nodeSelector": {"pool": name}} for name in ("chat", "batch")]
    sets = [each for each in template(values={"exporter": {"pools": pools}}) if each["kind"] == "DaemonSet"]
    assert [each["metadata"]["name"] for each in sets] == ["foreshock-exporter-chat", "foreshock-exporter-batch"]
    for each, pool in zip(sets, pools, strict=True):
        pod = each["spec"]["template"]["spec"]
        assert f"--pool={pool['name']}" in pod["containers"][0]["args"]
        assert pod["nodeSelector"] == {"nvidia.com/gpu.present": "true", "pool": pool["name"]}
        assert each["spec"]["selector"]["matchLabels"]["foreshock/pool"] == pool["name"]
