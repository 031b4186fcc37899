"""Changes in what is scraped: versions, images, replicas, autoscalers, nodes, drivers, and settings of GPUs."""

from __future__ import annotations

from pathlib import Path
from time import thread_time

import pytest
from tests.world.scraped import START, world_scraped

from foreshock_dashboard.changes.timelines import ABSENT_SECONDS, CANARY_SECONDS, Subject, Timelines
from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.service import Service

LLM = Service("serving", "llm")
VERSION = Subject("deployment", "traces", LLM)
Runs = list[tuple[str, float, float]]


def shown(change: Change) -> str:
    """A change in short: seconds after the start, kind, subject, values, and stage."""
    subject = change.service or change.host
    values = " → ".join(filter(None, (change.before, change.after)))
    revision = f"after revision {change.revision}" if change.revision else ""
    text = f"{change.at - START:.0f} {change.kind} {subject} {change.setting} {values} {change.stage} {revision}"
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        pytest.param([("1.4.1", 0, 900)], [], id="the first version is no change"),
        pytest.param([("1.4.1", 0, 900), ("1.4.0", 0, 900)], [], id="nor are two versions from the start"),
        pytest.param(
            [("1.4.1", 0, 330), ("1.4.2", 300, 900)],
            ["300 deployment serving/llm 1.4.1 → 1.4.2"],
            id="a rolling update",
        ),
        pytest.param(
            [("1.4.1", 0, 2000), ("1.4.2", 300, 2000)],
            ["300 deployment serving/llm 1.4.1 → 1.4.2 canary"],
            id="two versions at once are a canary",
        ),
        pytest.param(
            [("1.4.1", 0, 330), ("1.4.2", 300, 900), ("1.4.1", 880, 2000)],
            ["300 deployment serving/llm 1.4.1 → 1.4.2", "880 deployment serving/llm 1.4.2 → 1.4.1 rollback"],
            id="a rollback",
        ),
        pytest.param(
            [("1.4.1", 0, 2000), ("1.4.2", 300, 700)],
            ["300 deployment serving/llm 1.4.1 → 1.4.2", "700 deployment serving/llm 1.4.2 → 1.4.1 rollback"],
            id="a canary that is withdrawn is a rollback",
        ),
        pytest.param(
            [("1.4.1", 0, 20), ("1.4.1", 20 + ABSENT_SECONDS, 900)],
            [],
            id="a service with few requests keeps its version",
        ),
        pytest.param(
            [("1.4.1", 0, 20), ("1.4.1", 900, 1000)], [], id="a service that was away keeps its version"
        ),
        pytest.param(
            [("1.4.1", 0, 330), ("1.4.2", 300, 700), ("1.4.2", 1300, 1400), ("1.4.2", 1900, 2000)],
            ["300 deployment serving/llm 1.4.1 → 1.4.2"],
            id="a deployment is none again after each gap",
        ),
        pytest.param(
            [("1.4.1", 0, 2000), ("1.4.2", 300, 400), ("1.4.2", 1000, 1100), ("1.4.2", 1900, 2000)],
            ["300 deployment serving/llm 1.4.1 → 1.4.2"],
            id="a canary with few requests stays one",
        ),
        pytest.param(
            [("1.4.1", 0, 2000), ("1.4.0", 0, 100), ("1.4.0", 900, 1000)],
            [],
            id="nor do two versions from the start change",
        ),
        pytest.param(
            [("1.4.1", 0, 900), ("1.4.2", 300, 500), ("1.4.1", 1300, 2000)],
            ["300 deployment serving/llm 1.4.1 → 1.4.2", "500 deployment serving/llm 1.4.2 → 1.4.1 rollback"],
            id="a withdrawn canary is rolled back once",
        ),
        pytest.param(
            [("1.4.1", 0, 2000), ("1.4.2", 300, 500), ("1.4.3", 1300, 2000)],
            [
                "300 deployment serving/llm 1.4.1 → 1.4.2",
                "500 deployment serving/llm 1.4.2 → 1.4.1 rollback",
                "1300 deployment serving/llm 1.4.1 → 1.4.3 canary",
            ],
            id="a second canary follows the version that stayed",
        ),
    ],
)  # fmt: skip
def test_versions_of_a_service_become_deployments(runs: Runs, expected: list[str]) -> None:
    timelines = Timelines()
    for value, start, end in runs:
        timelines.observe(VERSION, value, START + start, START + end)
    changes = sorted((change for _, change in timelines.changes(START + 2000)), key=lambda change: change.at)
    assert [shown(change) for change in changes] == expected


REPLICAS = Subject("scaling", "kubernetes", LLM, setting="replicas")
NODE = Subject("node", "kubernetes")


@pytest.mark.parametrize(
    ("subject", "runs", "expected"),
    [
        pytest.param(
            REPLICAS,
            [("3", 0, 280), ("5", 300, 600), ("5", 1000, 1300), ("5", 1900, 2000)],
            ["300 scaling serving/llm replicas 3 → 5"],
            id="replicas",
        ),
        pytest.param(
            NODE,
            [(node, start, start + 300) for start in (0, 900, 1700) for node in "abcd"] + [("e", 1800, 2000)],
            ["1800 node e e"],
            id="nodes that were known before an outage of kube-state-metrics",
        ),
        pytest.param(
            NODE, [("a", 0, 300), ("a", 900, 2000), ("b", 900, 2000)], [], id="a node that may have joined during it"
        ),
    ],
)  # fmt: skip
def test_a_gap_repeats_no_change(subject: Subject, runs: Runs, expected: list[str]) -> None:
    timelines = Timelines()
    for value, start, end in runs:
        timelines.observe(subject, value, START + start, START + end, exclusive=subject == REPLICAS)
    assert [shown(change) for _, change in timelines.changes(START + 2000)] == expected


def seconds_of_changes(nodes: int) -> float:
    """Shortest time of five to find the changes of nodes that join one after another."""
    timelines = Timelines()
    for node in range(nodes):
        timelines.observe(NODE, f"node-{node}", float(node), 1e6)
    seconds = []
    for _ in range(5):
        begun = thread_time()
        assert sum(1 for _ in timelines.changes(1e6)) == nodes - 1
        seconds.append(thread_time() - begun)
    return min(seconds)


def test_changes_are_found_in_linear_time() -> None:
    few, many = seconds_of_changes(500), seconds_of_changes(4000)
    assert many < 32 * few, "8 times as many nodes; quadratic time would be 64 times as long"


def test_a_running_canary_is_called_one_after_ten_minutes() -> None:
    timelines = Timelines()
    timelines.observe(VERSION, "1", 0, 100)
    for until, stage in ((90.0, ""), (CANARY_SECONDS + 100, "canary")):
        timelines.observe(VERSION, "1", 0, until)
        timelines.observe(VERSION, "2", 50, until)
        assert [change.stage for _, change in timelines.changes(until)] == [stage]


def test_what_ended_before_the_history_is_forgotten() -> None:
    timelines = Timelines()
    timelines.observe(VERSION, "1", 0, 100)
    timelines.observe(VERSION, "2", 100, 900)
    timelines.trim(200)
    assert [*timelines.changes(900)] == []


POD = 'kube_pod_container_info{{namespace="serving",pod="llm-{0}",container="app",image="registry/llm:{1}"}} 1\n'
GPU = 'gpu_info{{gpu="0",uuid="a",model="H100",driver_version="{0}",cuda_version="{1}",sharing="{2}"}} 1\n'
REVISION = (
    'kube_deployment_annotations{{namespace="serving",deployment="{}",'
    'annotation_deployment_kubernetes_io_revision="{}"}} 1\n'
)
LABELS = 'namespace="serving",{}="{}"'


def workload(name: str, replicas: int, generation: int) -> str:
    """The metrics of a Deployment."""
    labels = LABELS.format("deployment", name)
    return (
        f"kube_deployment_spec_replicas{{{labels}}} {replicas}\n"
        f"kube_deployment_metadata_generation{{{labels}}} {generation}\n"
    )


def autoscaled(name: str, replicas: int, most: int) -> str:
    """The metrics of a Deployment with an autoscaler of another name."""
    labels = LABELS.format("horizontalpodautoscaler", f"{name}-hpa")
    return (
        f'kube_horizontalpodautoscaler_info{{{labels},scaletargetref_name="{name}"}} 1\n'
        f"kube_horizontalpodautoscaler_spec_max_replicas{{{labels}}} {most}\n"
    ) + workload(name, replicas, replicas)


def goal(name: str, least: int, target: int) -> str:
    """The metrics of an autoscaler."""
    labels = LABELS.format("horizontalpodautoscaler", f"{name}-hpa")
    return (
        f'kube_horizontalpodautoscaler_info{{{labels},scaletargetref_name="{name}"}} 1\n'
        f"kube_horizontalpodautoscaler_spec_min_replicas{{{labels}}} {least}\n"
        f"kube_horizontalpodautoscaler_spec_target_metric{{{labels},"
        f'metric_name="cpu",metric_target_type="utilization"}} {target}\n'
    )


GOALS = ("min_replicas 2 → 3", "target cpu 70 → 50")
SCRAPED: list[tuple[str, str, list[str]]] = [
    # Two pods with a new image are one deployment.
    (
        "".join(POD.format(f"6f7b8c9d4-{pod}", "v1") for pod in ("x7k2p", "b5n8q")),
        "".join(POD.format(f"5c6d7f8b9-{pod}", "v2") for pod in ("x7k2p", "b5n8q")),
        ["deployment serving/llm v1 → v2"],
    ),
    # A Deployment that is scaled by hand; its new generation is that.
    (workload("by-hand", 4, 7), workload("by-hand", 6, 8), ["scaling serving/by-hand replicas 4 → 6"]),
    # A Deployment with a new specification.
    (workload("spec", 4, 7), workload("spec", 4, 8), ["configuration serving/spec generation 7 → 8"]),
    # A Deployment whose new specification is another revision: one change.
    (
        workload("env", 4, 7) + REVISION.format("env", 12),
        workload("env", 4, 8) + REVISION.format("env", 13),
        ["configuration serving/env generation 7 → 8 after revision 12"],
    ),
    # The limit of an autoscaler; the replicas that it sets are no change.
    (autoscaled("web", 4, 8), autoscaled("web", 6, 6), ["scaling serving/web max_replicas 8 → 6"]),
    # The least replicas and the target of an autoscaler.
    (goal("api", 2, 70), goal("api", 3, 50), [f"scaling serving/api {text}" for text in GOALS]),
    # A new node.
    ('kube_node_info{node="a"} 1\n', 'kube_node_info{node="a"} 1\nkube_node_info{node="b"} 1\n', ["node b b"]),
    # Driver, CUDA, and sharing of a host.
    (
        GPU.format("550.54", "12.4", "time-slicing"),
        GPU.format("560.28", "12.6", "mps"),
        [
            "driver gpu-host driver 550.54 → 560.28",
            "driver gpu-host cuda 12.4 → 12.6",
            "gpu_configuration gpu-host sharing time-slicing → mps",
        ],
    ),
    # The power limit of eight GPUs of a host is one change.
    (
        "".join(f'gpu_power_limit_watts{{gpu="{i}",uuid="{i}"}} 700\n' for i in range(8)),
        "".join(f'gpu_power_limit_watts{{gpu="{i}",uuid="{i}"}} 500\n' for i in range(8)),
        ["gpu_configuration gpu-host power_limit 700 → 500"],
    ),
    # The application clock of dcgm-exporter.
    (
        "".join(f'DCGM_FI_DEV_APP_SM_CLOCK{{gpu="{i}",UUID="GPU-{i}"}} 1980\n' for i in range(8)),
        "".join(f'DCGM_FI_DEV_APP_SM_CLOCK{{gpu="{i}",UUID="GPU-{i}"}} 1410\n' for i in range(8)),
        ["gpu_configuration gpu-host application_clock 1980 → 1410"],
    ),
    # The MIG layout.
    (
        'gpu_mig_info{gpu="0",uuid="a",mig_uuid="m",profile="7g.80gb"} 1\n',
        'gpu_mig_info{gpu="0",uuid="a",mig_uuid="n",profile="3g.40gb"} 1\n',
        ["gpu_configuration gpu-host mig_layout 7g.80gb → 3g.40gb"],
    ),
    # The resource of OTLP metrics in Prometheus.
    (
        'target_info{exported_job="data/store",service_version="1.4.1"} 1\n',
        'target_info{exported_job="data/store",service_version="1.4.2"} 1\n',
        ["deployment data/store 1.4.1 → 1.4.2"],
    ),
]
"""What a page has first and after a minute, and the changes in short."""


def test_a_sharing_mode_that_cannot_be_read_for_a_while_is_no_change(tmp_path: Path) -> None:
    known, unknown = (GPU.format("560.28", "12.6", sharing) for sharing in ("mps", "unknown"))
    page = {("metrics", "gpu-host:10877"): lambda seconds: unknown if 60 <= seconds < 120 else known}
    assert [shown(change) for change in world_scraped(tmp_path, page).changes] == []


def test_scraped_changes_are_collected(tmp_path: Path) -> None:
    first, later = "".join(case[0] for case in SCRAPED), "".join(case[1] for case in SCRAPED)
    page = {("metrics", "gpu-host:10877"): lambda seconds: first if seconds < 60 else later}
    found = [shown(change) for change in world_scraped(tmp_path, page).changes]
    assert sorted(found) == sorted(f"60 {change}" for case in SCRAPED for change in case[2])


@pytest.mark.parametrize(
    ("revised", "expected"),
    [
        pytest.param((60, 120), ["60 v1 → v2 after 5", "120 v2 → v3 after 6"], id="each has its own"),
        pytest.param((30, 90), ["60 v1 → v2 after ", "120 v2 → v3 after 6"], id="two are as near: neither"),
    ],
)
def test_a_rollout_soon_after_another_has_its_own_revision(
    tmp_path: Path, revised: tuple[int, int], expected: list[str]
) -> None:
    """A bad deployment, and a hotfix a minute later: the bad revision is never that to go back to."""

    def page(seconds: float) -> str:
        image, revision = 1 + (seconds >= 60) + (seconds >= 120), 5 + sum(seconds >= at for at in revised)
        return POD.format("6f7b8c9d4-x7k2p", f"v{image}") + REVISION.format("llm", revision)

    changes = world_scraped(tmp_path, {("metrics", "cluster"): page}, seconds=240.0).changes
    found = [f"{item.at - START:.0f} {item.before} → {item.after} after {item.revision}" for item in changes]
    assert found == expected


def test_the_application_clock_of_the_exporter_is_a_change_of_its_host(tmp_path: Path) -> None:
    """In MHz, as dcgm-exporter reports it."""
    line = 'gpu_clock_application_hertz{{gpu="0",uuid="a",clock="{}"}} {}\n'
    page = {
        ("metrics", "gpu-host:10877"): lambda seconds: (
            line.format("sm", 1.98e9 if seconds < 60 else 1.41e9) + line.format("memory", 2.619e9)
        )
    }
    found = [shown(change) for change in world_scraped(tmp_path, page).changes]
    assert found == ["60 gpu_configuration gpu-host application_clock 1980 → 1410"]
