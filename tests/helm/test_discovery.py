"""How a hub of the chart finds what it scrapes, and what the Kubernetes API allows it for that."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.helm.conftest import Template, Yaml, hub_settings, of

from foreshock_dashboard.sources.discovery.kubernetes import pod_targets
from foreshock_dashboard.sources.discovery.relabel import relabeled
from foreshock_dashboard.sources.discovery.scrape_config import ScrapeConfig, read_targets_file


def scrape_jobs(found: list[Yaml], folder: Path) -> tuple[ScrapeConfig, ...]:
    """The scrape jobs of the hub of these objects, as it reads them."""
    (folder / "targets.yaml").write_text(of(found, "ConfigMap", "foreshock-hub")["data"]["targets.yaml"])
    return read_targets_file(folder / "targets.yaml")


def test_a_hub_without_prometheus_finds_the_exporters(template: Template, tmp_path: Path) -> None:
    """By the labels of their pods, which it may list; elsewhere, those of other jobs. One series per node."""
    job: Yaml = {"job_name": "vllm", "kubernetes_sd_configs": [{"role": "pod", "namespaces": {"names": ["serving"]}}]}
    keys = {"scheme": "https"}
    hub = {"scrapeConfigs": [job], "exporterScrapeConfig": keys, "rbac": {"namespaces": ["serving"]}}
    found = template(values={"hub": hub})
    assert hub_settings(found, tmp_path).targets_file == Path("/etc/foreshock/config/targets.yaml")
    exporters, servers = scrape_jobs(found, tmp_path)
    assert (exporters.job_name, exporters.scheme, servers.job_name) == ("foreshock-exporter", "https", "vllm")
    (discovery,) = exporters.kubernetes_sd_configs
    labels = of(found, "DaemonSet")["spec"]["template"]["metadata"]["labels"]
    assert dict(word.split("=") for word in discovery.selectors[0].label.split(",")) == labels
    roles = [each for each in found if each["kind"] == "Role"]
    assert [each["metadata"]["namespace"] for each in roles] == ["foreshock", "serving"]
    assert all(
        each["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]
        for each in roles
    )
    account = of(found, "StatefulSet")["spec"]["template"]["spec"]["serviceAccountName"]
    subjects = [each["subjects"] for each in found if each["kind"] == "RoleBinding"]
    assert subjects == [[{"kind": "ServiceAccount", "name": account, "namespace": "foreshock"}]] * 2


def test_the_exporter_of_each_node_is_one_target(template: Template, tmp_path: Path) -> None:
    """Named after its node; the evicted pod that it replaced is none."""
    found = template()
    container = of(found, "DaemonSet")["spec"]["template"]["spec"]["containers"][0]
    (job,) = scrape_jobs(found, tmp_path)
    targets = []
    for node, address, phase in (
        ("gpu-1", "10.0.0.1", "Running"),
        ("gpu-2", "10.0.0.2", "Running"),
        ("gpu-2", "10.0.0.9", "Failed"),
    ):
        pod: Yaml = {
            "metadata": {"name": f"exporter-{address}", "uid": address},
            "spec": {"nodeName": node, "containers": [container]},
            "status": {"podIP": address, "phase": phase},
        }
        targets += [relabeled(labels, job.relabel_configs) for labels in pod_targets(pod)]
    kept = [(labels["instance"], labels["__address__"]) for labels in targets if labels]
    assert kept == [("gpu-1", "10.0.0.1:10877"), ("gpu-2", "10.0.0.2:10877")]


PROMETHEUS = {"prometheus_url": "http://prometheus:9090"}
OWN_TARGETS = {"targets_file": "/etc/foreshock/config/own.yaml"}


@pytest.mark.parametrize(
    ("hub", "token", "kinds"),
    [
        ({}, True, {"Role", "RoleBinding"}),
        ({"rbac": {"create": False}}, True, set()),
        ({"rbac": {"clusterWide": True}}, True, {"ClusterRole", "ClusterRoleBinding"}),
        ({"config": PROMETHEUS}, False, set()),
        ({"config": PROMETHEUS, "serviceAccount": {"automount": True}}, True, set()),
        ({"config": OWN_TARGETS}, False, set()),
        ({"config": OWN_TARGETS, "serviceAccount": {"automount": True}}, True, {"Role", "RoleBinding"}),
    ],
)
def test_the_hub_may_list_pods_where_it_finds_them_by_the_api(
    template: Template, hub: Yaml, token: bool, kinds: set[str]
) -> None:
    """And has a token also where your file, or OpenShift's Prometheus, needs one."""
    found = template(values={"hub": hub})
    assert of(found, "StatefulSet")["spec"]["template"]["spec"]["automountServiceAccountToken"] is token
    roles = [each for each in found if "Role" in each["kind"]]
    assert {each["kind"] for each in roles} == kinds
    for each in roles:
        assert ("namespace" in each["metadata"]) != each["kind"].startswith("Cluster")
