"""The command as a separate process, over loopback."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.exporter.kubernetes.kubelet import kubelet, pod

from foreshock_exporter.common.option_table import Option
from foreshock_exporter.options import OPTIONS, parse
from foreshock_exporter.web.connections import MAX_CLIENT_CONNECTIONS
from foreshock_exporter.web.server import serve

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.conftest import Eventually
    from tests.exporter.conftest import ScriptedGpu, ScriptedHost, Series, Tree

COMMAND = str(Path(sys.executable).with_name("foreshock-exporter"))
DOCS = Path(__file__).parents[2] / "docs" / "reference" / "exporter.md"
FAST = ("--sampling.period", "0.1")


def environment(**extra: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FORESHOCK_")}
    return {**inherited, "FORESHOCK_EXPORTER_COLLECTOR_HOST": "on", **extra}  # other tests run node_exporter


def once(*arguments: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([COMMAND, *arguments], capture_output=True, check=False, env=environment(**variables))


@contextmanager
def served(*arguments: str, **variables: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A running exporter and its port."""
    command = [COMMAND, *FAST, "--web.listen-address=127.0.0.1:0", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment(**variables)) as process:
        try:
            assert process.stderr is not None
            found = None
            for line in process.stderr:
                if found := re.search(r"listens on http://127\.0\.0\.1:(\d+)/", line):
                    break
            assert found, "it ended without saying where it listens"
            yield process, int(found[1])
        finally:
            process.terminate()
            process.communicate(timeout=30)


def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def promtool(text: bytes) -> tuple[int, bytes, bytes]:
    """Output of promtool, without its complaints about the kernel's names in `node_netstat_*`."""
    text = b"".join(line for line in text.splitlines(keepends=True) if b"node_netstat_" not in line)
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    return checked.returncode, checked.stdout, checked.stderr


def test_once_prints_this_host_and_promtool_accepts_it(series: Callable[[bytes], Series]) -> None:
    ran = once("--once", *FAST)
    assert (ran.returncode, promtool(ran.stdout)) == (0, (0, b"", b""))
    found = series(ran.stdout)
    assert found["foreshock_exporter_mock", frozenset()] == 0.0
    interfaces = {dict(labels)["device"] for name, labels in found if name == "node_network_receive_bytes_total"}
    assert "lo" in interfaces
    assert interfaces <= {name for _, name in socket.if_nameindex()}


def test_a_host_without_gpus_is_reported_and_logged_once(tree: Tree, series: Callable[[bytes], Series]) -> None:
    """The library folder is replaced, so that this also holds on a machine with GPUs."""
    ran = once("--once", *FAST, LD_LIBRARY_PATH=str(tree({"libnvidia-ml.so.1": "not a library"})))
    assert ran.returncode == 0
    assert series(ran.stdout)["gpus_present", frozenset()] == 0.0
    assert ran.stderr.count(b"no NVIDIA driver") == 1


def test_once_with_mock_prints_the_simulated_host(series: Callable[[bytes], Series]) -> None:
    found = series(once("--once", "--mock", *FAST).stdout)
    assert (found["foreshock_exporter_mock", frozenset()], found["gpus_present", frozenset()]) == (1.0, 4.0)


def test_once_samples_long_enough_for_busy_counters(series: Callable[[bytes], Series]) -> None:
    """Zero counters beside a utilization of 96% would be wrong."""
    found = series(once("--once", "--mock").stdout)
    busy = {dict(labels)["gpu"]: value for (name, labels), value in found.items() if name == "gpu_busy_seconds_total"}
    assert busy["0"] > 0.3
    assert busy["3"] == 0.0
    assert sum(value for (name, _), value in found.items() if name == "gpu_service_busy_seconds_total") > 0.5


def test_a_host_whose_driver_did_not_come_up_does_not_look_healthy(
    tree: Tree, eventually: Eventually, series: Callable[[bytes], Series]
) -> None:
    """Its PCI bus has a GPU, but no driver responds."""
    device = "sys/bus/pci/devices/0000:1b:00.0"
    root = tree({
        f"{device}/vendor": "0x10de\n", f"{device}/class": "0x030200\n", "libnvidia-ml.so.1": "not a library",
    })  # fmt: skip
    with served(f"--path.sysfs={root}/sys", LD_LIBRARY_PATH=str(root)) as (_, port):
        eventually(lambda: b"gpus_expected 1.0" in ask(port, "/metrics")[2], "the GPU on the bus")
        found = series(ask(port, "/metrics")[2])
        assert found["gpus_present", frozenset()] == 0.0
        assert found["foreshock_exporter_collector_success", frozenset({("collector", "gpu")})] == 0.0
        assert ask(port, "/readyz")[0] == 503


@pytest.mark.parametrize("option", ["--path.procfs", "--path.sysfs", "--path.rootfs"])
def test_a_folder_that_is_not_there_is_named(option: str) -> None:
    ran = once("--once", "--mock", f"{option}=/nowhere")
    assert (ran.returncode, f"{option}: '/nowhere' is not a folder".encode() in ran.stderr) == (2, True)


def test_unwritable_output_is_reported() -> None:
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run(
            [COMMAND, "--once", "--mock"], stdout=full, stderr=subprocess.PIPE, check=False, env=environment()
        )
    assert ran.returncode == 1
    assert b"cannot be written to standard output" in ran.stderr


def test_the_host_is_read_below_the_given_roots(tree: Tree, series: Callable[[bytes], Series]) -> None:
    root = tree({
        "proc/net/dev": "a\nb\n eth9: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n",
        "proc/pressure/cpu": "some avg10=0.00 avg60=0.00 avg300=0.00 total=5000000\n",
        "sys/class/net/eth9/speed": "1000\n",
        "etc/machine-id": "abc\n",
        "etc/hostname": "node-9\n",
    })  # fmt: skip
    ran = once(
        "--once", *FAST, f"--path.procfs={root}/proc", f"--path.sysfs={root}/sys",
        FORESHOCK_EXPORTER_PATH_ROOTFS=str(root),
    )  # fmt: skip
    found = series(ran.stdout)
    assert found["node_network_receive_bytes_total", frozenset({("device", "eth9")})] == 1.0
    assert found["node_network_speed_bytes", frozenset({("device", "eth9")})] == 125e6
    assert found["node_pressure_cpu_waiting_seconds_total", frozenset()] == 5.0
    assert found["target_info", frozenset({("host_id", "abc"), ("host_name", "node-9")})] == 1.0


def test_collectors_can_be_switched_off(series: Callable[[bytes], Series]) -> None:
    ran = once("--once", "--mock", *FAST, "--no-collector.network", FORESHOCK_EXPORTER_COLLECTOR_PRESSURE="false")
    assert not [name for name, _ in series(ran.stdout) if name.startswith("node_")]


@pytest.mark.parametrize(
    ("process", "mode", "has_host_metrics"),
    [
        ("node_exporter", "auto", False),
        ("prometheus-node", "auto", False),
        ("node_exporter", "on", True),
        ("bash", "auto", True),
        ("bash", "off", False),
    ],
)
def test_host_metrics_are_left_to_node_exporter_where_it_runs(
    process: str, mode: str, has_host_metrics: bool, tree: Tree, series: Callable[[bytes], Series]
) -> None:
    procfs = tree({
        "77/comm": f"{process}\n",
        "pressure/cpu": "some avg10=0.00 avg60=0.00 avg300=0.00 total=5000000\n",
    })  # fmt: skip
    ran = once("--once", *FAST, f"--path.procfs={procfs}", f"--collector.host={mode}")
    assert any(name.startswith("node_") for name, _ in series(ran.stdout)) == has_host_metrics
    assert (b"node_exporter runs on this host" in ran.stderr) == (process != "bash" and mode == "auto")


@pytest.mark.parametrize(
    ("mode", "folder", "success"),
    [("auto", "", 1.0), ("auto", "missing", None), ("on", "missing", 0.0), ("off", "", None)],
)
def test_the_kubelet_is_read_where_it_runs(
    mode: str, folder: str, success: float | None, tmp_path: Path, series: Callable[[bytes], Series]
) -> None:
    """A host without a kubelet has no failure, unless the option requires one."""
    listed = pod("ml", "chat-0", {"main": {"nvidia.com/gpu": ["GPU-1"]}})
    with kubelet(tmp_path / "kubelet.sock", listed):
        socket = tmp_path / folder / "kubelet.sock"
        ran = once("--once", *FAST, f"--collector.pod-resources={mode}", f"--path.pod-resources={socket}")
    found = series(ran.stdout)
    collector = frozenset({("collector", "pod_resources")})
    assert found.get(("foreshock_exporter_collector_success", collector)) == success
    assert any(name == "gpu_allocation_info" for name, _ in found) == (success == 1.0)


@pytest.mark.parametrize(
    ("mode", "exists", "success", "says"),
    [("auto", True, 1.0, ""), ("auto", False, None, "set --path.kmsg"), ("on", False, 0.0, "set --path.kmsg"),
     ("off", False, None, "")],
)  # fmt: skip
def test_the_kernel_log_is_read_where_it_is_readable(
    mode: str, exists: bool, success: float | None, says: str, tmp_path: Path, series: Callable[[bytes], Series]
) -> None:
    """One that is not readable is logged once, and is a failure only where the option requires it."""
    if exists:
        os.mkfifo(tmp_path / "kmsg")
    ran = once("--once", *FAST, f"--collector.kernel-log={mode}", f"--path.kmsg={tmp_path / 'kmsg'}")
    collector = frozenset({("collector", "kernel_log")})
    assert series(ran.stdout).get(("foreshock_exporter_collector_success", collector)) == success
    assert ran.stderr.decode().count("kmsg cannot be read") == bool(says)
    assert says in ran.stderr.decode()


def test_a_served_host_is_scraped_and_its_counters_grow(
    eventually: Eventually, series: Callable[[bytes], Series]
) -> None:
    def contended() -> float:
        found = series(ask(port, "/metrics")[2])
        return sum(value for (name, _), value in found.items() if name == "gpu_contended_seconds_total")

    with served("--mock") as (_, port):
        eventually(lambda: ask(port, "/readyz")[0] == 200, "ready")
        eventually(lambda: contended() > 0.2, "contended seconds")
        status, headers, body = ask(port, "/metrics", **{"Accept-Encoding": "gzip"})
        assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert headers["content-encoding"] == "gzip"
        assert promtool(gzip.decompress(body)) == (0, b"", b"")


@pytest.mark.parametrize(
    ("method", "path", "status", "says"),
    [
        ("GET", "/", 200, b'href="/metrics"'),
        ("GET", "/metrics?collect[]=gpu", 200, b"# HELP"),
        ("HEAD", "/metrics", 200, b""),
        ("GET", "/healthz", 200, b"ok"),
        ("GET", "/favicon.ico", 404, b"metrics are at /metrics"),
        ("GET", "/metrics/", 404, b"metrics are at /metrics"),
        ("POST", "/metrics", 405, b"Only GET"),
        ("DELETE", "/", 405, b"Only GET"),
    ],
)  # fmt: skip
def test_every_path_has_a_clear_answer(
    method: str, path: str, status: int, says: bytes, scripted: Callable[..., ScriptedHost]
) -> None:
    server = serve(scripted().exporter(), "127.0.0.1", 0)
    try:
        answered, headers, body = ask(server.port, path, method)
        assert (answered, says in body) == (status, True)
        assert ("allow" in headers) == (status == 405)
    finally:
        server.close()


def test_an_exporter_that_has_not_sampled_is_alive_but_not_ready(
    scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu]
) -> None:
    exporter = scripted(gpu()).exporter()
    server = serve(exporter, "", 0)
    try:
        assert (ask(server.port, "/healthz")[0], ask(server.port, "/readyz")[0]) == (200, 503)
        exporter.sample()
        assert ask(server.port, "/readyz")[0] == 200
    finally:
        server.close()


def test_silent_connections_are_closed_for_a_scrape_which_counts_them() -> None:
    with served("--mock") as (_, port), ExitStack() as opened:
        for _ in range(MAX_CLIENT_CONNECTIONS):
            opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
        status, _, body = ask(port, "/metrics")
    assert status == 200
    assert b'\nforeshock_exporter_connections_dropped_total{limit="client"} 1.0\n' in body


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_success(number: signal.Signals) -> None:
    with served("--mock") as (process, _):
        process.send_signal(number)
        assert process.wait(timeout=30) == 0


def test_a_port_in_use_is_named_and_ends_it_with_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ran = once("--mock", f"--web.listen-address={address}")
    assert ran.returncode == 1
    assert re.search(rf"cannot listen on {address}: .*in use.*--web\.listen-address".encode(), ran.stderr)
    assert b"Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "variables", "names"),
    [
        (["--nvlink"], {}, "--nvlink"),
        (["--web.listen-addres=:1"], {}, "Did you mean '--web.listen-address'?"),
        (["--web.listen-address=here"], {}, "--web.listen-address"),
        (["--web.listen-address=:70000"], {}, "--web.listen-address"),
        (["--web.telemetry-path=metrics"], {}, "--web.telemetry-path"),
        (["--sampling.period=0"], {}, "--sampling.period"),
        (["--sampling.period=nan"], {}, "--sampling.period"),
        (["--log.level=loud"], {}, "--log.level"),
        (["--collector.network.device-exclude=("], {}, "--collector.network.device-exclude"),
        ([], {"FORESHOCK_EXPORTER_SAMPLING_PERIOD": "soon"}, "FORESHOCK_EXPORTER_SAMPLING_PERIOD"),
        (["--log.format=xml"], {}, "--log.format"),
        (["--otlp.endpoint=localhost:4318"], {}, "--otlp.endpoint"),
        (["--otlp.interval=0.1"], {}, "--otlp.interval"),
        ([], {"FORESHOCK_EXPORTER_COLLECTOR_XID": "perhaps"}, "FORESHOCK_EXPORTER_COLLECTOR_XID"),
        (["--pool="], {}, "argument --pool: '' names no pool"),
        (["--pool=a", "--pool=b"], {}, "argument --pool: 'a' and 'b' both apply to all GPUs"),
        (["--pool=a=0", "--pool=b=0"], {}, "argument --pool: GPU 0 is listed twice"),
        ([], {"FORESHOCK_EXPORTER_POOL": "a=0;b=0"}, "variable FORESHOCK_EXPORTER_POOL: GPU 0 is listed twice"),
    ],
)
def test_a_wrong_option_is_named(
    arguments: list[str], variables: dict[str, str], names: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments, variables)
    assert ended.value.code == 2
    assert names in capsys.readouterr().err.splitlines()[-1]


def test_variables_of_a_kubernetes_service_are_no_options() -> None:
    """Kubernetes sets them for a Service `foreshock-exporter` unless enableServiceLinks is false."""
    links = {
        "FORESHOCK_EXPORTER_PORT": "tcp://10.0.0.1:10877",
        "FORESHOCK_EXPORTER_SERVICE_HOST": "10.0.0.1",
        "FORESHOCK_EXPORTER_PORT_10877_TCP": "tcp://10.0.0.1:10877",
    }
    assert parse([], links) == parse([], {})


def test_a_wrong_option_ends_the_command_with_two() -> None:
    ran = once("--sampling.period=0")
    assert (ran.returncode, b"--sampling.period" in ran.stderr, ran.stdout) == (2, True, b"")


@pytest.mark.parametrize(
    ("flag", "content"), [("--mock", "{}\n"), ("--web.config.file", "basic_auth_users: {ops: plain}\n")]
)
def test_a_file_that_cannot_be_used_is_named_and_ends_the_command_with_two(flag: str, content: str, tree: Tree) -> None:
    file = tree({"given": content}) / "given"
    ran = once(f"{flag}={file}", "--web.listen-address=127.0.0.1:0", *(() if flag == "--mock" else ("--mock",)))
    assert (ran.returncode, ran.stdout) == (2, b"")
    assert flag.encode() in ran.stderr
    assert str(file).encode() in ran.stderr
    assert b"Traceback" not in ran.stderr


def test_the_log_can_be_json_one_record_a_line() -> None:
    ran = once("--once", "--log.format=json", *FAST)
    records = [json.loads(line) for line in ran.stderr.splitlines()]
    assert all(record["time"].endswith("Z") and record["level"] and record["msg"] for record in records)
    assert records


def test_a_hung_call_is_reported_and_a_signal_ends_the_command_within_a_second(
    tree: Tree, eventually: Eventually, series: Callable[[bytes], Series]
) -> None:
    """The hung GPU goes dark, the other one stays, and nothing waits for the call."""
    lines = (
        {"foreshock_device_script": 1, "host": "h"},
        {"at": 0, "gpu": 0, "device": {"model": "M", "memory_bytes": 1000}},
        {"at": 0, "gpu": 1, "device": {"model": "M", "memory_bytes": 1000}},
        {"at": 1, "gpu": 0, "fault": "hang"},
    )
    script = tree({"hang.jsonl": "".join(json.dumps(line) + "\n" for line in lines)}) / "hang.jsonl"

    def value(name: str, **labels: str) -> float | None:
        return series(ask(port, "/metrics")[2]).get((name, frozenset(labels.items())))

    def age() -> float:
        found = [
            value("foreshock_exporter_driver_call_age_seconds", gpu="0", call=call) for call in ("sample", "state")
        ]
        return max(each or 0.0 for each in found)

    with served(f"--mock={script}") as (process, port):
        eventually(lambda: value("gpus_present") == 2.0, "both GPUs")
        eventually(lambda: age() > 3.5, "a call that has not returned")
        assert ask(port, "/readyz")[0] == 200, "the other GPU is well"
        eventually(lambda: value("gpus_present") == 1.0, "the hung GPU dropped")
        process.terminate()
        assert process.wait(timeout=10) == 0, "though the call lasts for ever"


def test_the_command_line_wins_over_variables_and_variables_over_defaults() -> None:
    given = {"FORESHOCK_EXPORTER_WEB_LISTEN_ADDRESS": "[::1]:9", "FORESHOCK_EXPORTER_MOCK": "true"}
    options = parse(["--mock=sick"], given)
    assert (options.listen, options.mock, options.metrics_path) == (("::1", 9), "sick", "/metrics")


@pytest.mark.parametrize(
    ("arguments", "variables", "script"),
    [
        ([], {}, None),
        (["--mock"], {}, "contended"),
        (["--mock=-"], {}, "-"),
        ([], {"FORESHOCK_EXPORTER_MOCK": "true"}, "contended"),
        ([], {"FORESHOCK_EXPORTER_MOCK": "healthy"}, "healthy"),
        (["--mock=false"], {"FORESHOCK_EXPORTER_MOCK": "true"}, None),
    ],
)
def test_mock_plays_a_script_and_a_built_in_one_where_none_is_named(
    arguments: list[str], variables: dict[str, str], script: str | None
) -> None:
    assert parse(arguments, variables).mock == script


def test_version_is_printed() -> None:
    ran = once("--version")
    assert (ran.returncode, ran.stdout.decode()) == (0, f"foreshock-exporter {metadata.version('foreshock')}\n")


def test_the_base_install_is_enough() -> None:
    """Neither the hub nor its dependencies are imported on a GPU host, nor what takes MiB for a line of code."""
    code = (
        "import sys, foreshock_exporter.cli; "
        "print([m for m in ('numpy', 'dash', 'duckdb', 'grpc', 'fastapi', 'foreshock_dashboard', 'foreshock_simulator',"
        " 'opentelemetry', 'yaml', 'bcrypt', 'ssl', 'asyncio', 'pynvml', 'prometheus_client', '_hashlib',"
        " 'importlib.metadata', 'email')"
        " if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.flag)
def test_every_option_is_documented_and_has_a_variable(option: Option) -> None:
    assert f"| `{option.flag}` |" in DOCS.read_text()
    assert option.variable == "FORESHOCK_EXPORTER_" + re.sub(r"[.-]", "_", option.flag[2:]).upper()


ROUNDING = 1e-12
"""node_exporter divides microseconds by a thousand twice, which differs in the last digit."""


def test_host_metrics_are_those_of_a_real_node_exporter(eventually: Eventually) -> None:
    """Same names, kinds and labels, and counters that lie between two readings of ours."""
    command = ["prometheus-node-exporter", "--web.listen-address=127.0.0.1:0", "--collector.disable-defaults",
               "--collector.netdev", "--collector.netclass", "--collector.pressure"]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as node:
        try:
            assert node.stderr is not None
            port = next(
                int(found[1]) for line in node.stderr if (found := re.search(r"address=127\.0\.0\.1:(\d+)", line))
            )
            eventually(lambda: ask(port, "/")[0] == 200, "an answer of node_exporter")
            ours_before = host_samples(once("--once", *FAST, "--collector.network.device-exclude=").stdout)
            theirs = host_samples(ask(port, "/metrics")[2])
            beside = host_samples(once("--once", *FAST, "--collector.host=auto").stdout)
            ours_after = host_samples(once("--once", *FAST, "--collector.network.device-exclude=").stdout)
        finally:
            node.terminate()
            node.communicate(timeout=30)
    assert not beside
    assert ours_before
    assert ours_before.keys() <= theirs.keys()
    assert not [
        key for key, value in ours_before.items()
        if key[1] == "counter" and not value * (1 - ROUNDING) <= theirs[key] <= ours_after[key] * (1 + ROUNDING)
    ]  # fmt: skip


def host_samples(text: bytes) -> dict[tuple[str, str, frozenset[tuple[str, str]]], float]:
    """The host's samples by name, kind and labels."""
    return {
        (sample.name, family.type, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name.startswith(("node_network_", "node_pressure_"))
    }
