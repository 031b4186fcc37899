"""The images, built and run for real: confined, stopped by a signal, with nothing written outside the volume.

Needs root, podman, runc, and an index of packages; the base is made by mmdebstrap, without an image registry.
FORESHOCK_BASE_IMAGE names an image that is there already, for the base.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from bench.support.process import free_ports
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.conftest import Eventually
from tests.ports import free_port

ENVIRONMENT = {
    **os.environ,
    "STORAGE_DRIVER": "vfs",
    "BUILDAH_ISOLATION": "oci",
    "BUILDAH_RUNTIME": "runc",
    "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
}
IMAGES = ("exporter", "hub", "demo")
LOCKS = {"demo": "hub"}
"""Lock file of an image whose name it does not have."""
CONFINED = (
    "--runtime=runc", "--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL",
    "--security-opt=no-new-privileges", "--pids-limit=256",
)  # fmt: skip
"""As in compose.yml, except for the network."""

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(not all(map(shutil.which, ("podman", "runc", "mmdebstrap"))), reason="needs podman, mmdebstrap"),
]


def podman(*arguments: str | Path) -> str:
    """What a podman command prints."""
    done = subprocess.run(["podman", *arguments], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The base image: Debian with its Python."""
    if name := os.environ.get("FORESHOCK_BASE_IMAGE"):
        return name
    archive = tmp_path_factory.mktemp("base") / "base.tar"
    command = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=python3,python3-venv", "trixie", str(archive)]
    subprocess.run(command, check=True)
    podman("import", "--quiet", archive, "localhost/foreshock-base:test")
    return "localhost/foreshock-base:test"


def build(root: Path, base: str) -> dict[str, list[str]]:
    """Build the images; the digests of their layers. pip reaches its index as it does here."""
    here = [path for path in ("/etc/ssl/certs", "/etc/pip.conf") if Path(path).exists()]
    command = [
        str(root / "scripts/release/images"), "--build-arg", f"PYTHON={base}", "--network=host",
        "--ulimit=nofile=20000:20000", "--ulimit=nproc=20000:20000", *(f"--volume={path}:{path}:ro" for path in here),
    ]  # fmt: skip
    subprocess.run(command, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
    return {image: json.loads(podman("image", "inspect", name(image)))[0]["RootFS"]["Layers"] for image in IMAGES}


def name(image: str) -> str:
    """The tag that scripts/release/images gives."""
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    (version,) = re.findall(r'^version = "(.*)"', text, re.MULTILINE)
    return f"localhost/foreshock/{image}:{version}"


@pytest.fixture(scope="module")
def layers(root: Path, base: str) -> dict[str, list[str]]:
    """Digests of the layers of the images, which are built now."""
    return build(root, base)


@contextmanager
def container(image: str, *arguments: str, options: Sequence[str] = (), network: str = "host") -> Iterator[str]:
    """Run a container as compose.yml does, but on the host's network, which needs no bridge; its name."""
    running = f"foreshock-test-{secrets.token_hex(4)}"
    podman("run", "--detach", "--name", running, f"--network={network}", *CONFINED, *options, name(image), *arguments)
    try:
        yield running
    finally:
        podman("rm", "--force", "--time", "0", running)


def status(running: str) -> dict[str, str]:
    """The fields of /proc/PID/status of a container's first process."""
    pid = podman("inspect", "--format", "{{.State.Pid}}", running)
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: " ".join(value.split()) for key, _, value in (line.partition(":") for line in lines)}


def stop(running: str) -> int:
    """Stop a container by SIGTERM; its exit code."""
    podman("stop", "--time", "60", running)
    return int(podman("inspect", "--format", "{{.State.ExitCode}}", running))


def written(running: str) -> list[str]:
    """Files that differ from the image, without those that podman mounts."""
    changes = [line.split(" ", 1)[1] for line in podman("diff", running).splitlines()]
    mounts = ("/etc", "/run", "/dev", "/proc", "/sys", "/tmp", "/var/lib/foreshock")  # noqa: S108 - not used as a folder
    return [path for path in changes if not path.startswith(mounts) and path not in ("/var", "/var/lib")]


def answers(url: str) -> bool:
    """Whether a GET gives 200."""
    try:
        return httpx.get(url, trust_env=False, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_the_same_commit_gives_the_same_layers(layers: dict[str, list[str]], root: Path, base: str) -> None:
    assert build(root, base) == layers


@pytest.mark.usefixtures("layers")
@pytest.mark.parametrize("image", IMAGES)
def test_an_image_says_what_it_is(image: str) -> None:
    """By the labels of the OCI, a user without privileges, and a health check."""
    config = json.loads(podman("image", "inspect", name(image)))[0]
    labels = {key.rpartition(".")[2]: value for key, value in config["Labels"].items() if "opencontainers" in key}
    assert labels.keys() >= {"title", "description", "licenses", "version", "revision"}
    assert labels["title"] == f"foreshock {image}"
    assert config["User"] == "10001:10001"
    assert "readyz" in config["Healthcheck"]["Test"][-1]


@pytest.mark.usefixtures("layers")
@pytest.mark.parametrize(("image", "arguments"), [("exporter", ["--mock"]), ("hub", ["serve"])])
def test_a_container_reports_its_health(image: str, arguments: list[str], eventually: Eventually) -> None:
    """By the image's own check, on the default port, which other containers need not leave free."""
    with container(image, *arguments, options=("--env=HOME=/tmp", "--tmpfs=/tmp"), network="none") as running:
        command = ["podman", "healthcheck", "run", running]
        eventually(
            lambda: subprocess.run(command, env=ENVIRONMENT, capture_output=True, check=False).returncode == 0,
            f"{image} is healthy",
        )


@pytest.mark.usefixtures("layers")
@pytest.mark.parametrize("image", IMAGES)
def test_an_image_holds_the_locked_packages_and_no_installer(image: str, root: Path) -> None:
    """So the SBOM of `make sbom`, which is made of the same lock file, describes it."""
    script = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()))"
    found = podman(
        "run", "--rm", "--network=none", *CONFINED, "--entrypoint=python", name(image), "-I", "-c", script
    ).split()
    installed = {canonicalize_name(pair.partition("==")[0]): pair.partition("==")[2] for pair in found}
    lock = (root / f"compose/{LOCKS.get(image, image)}.lock").read_text().replace("\\\n", "")
    wanted = [Requirement(line.partition(" --hash")[0]) for line in lock.splitlines()]
    locked = {
        canonicalize_name(each.name): str(each.specifier).removeprefix("==")
        for each in wanted
        if each.marker is None or each.marker.evaluate({"python_version": "3.13", "python_full_version": "3.13.9"})
    }
    assert {key: value for key, value in installed.items() if key != "foreshock"} == locked


@pytest.mark.usefixtures("layers")
def test_the_exporter_runs_confined_and_writes_nothing(eventually: Eventually) -> None:
    port = free_port()
    with container("exporter", "--mock", f"--web.listen-address=127.0.0.1:{port}") as running:
        eventually(lambda: answers(f"http://127.0.0.1:{port}/readyz"), "the exporter is ready")
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
        assert "gpu_service_wait_by_aggressor_seconds_total{" in text
        found = status(running)
        assert (found["Uid"], found["CapEff"], found["NoNewPrivs"]) == (("10001 " * 4).strip(), "0" * 16, "1")
        assert stop(running) == 0
        assert written(running) == []


@pytest.mark.usefixtures("layers")
def test_the_demo_shows_its_incident_and_writes_nothing(eventually: Eventually) -> None:
    """With the options of one `docker run`: it has services on GPUs, and stops by a signal."""
    port = free_port()
    arguments = ("demo", "--host=0.0.0.0", f"--port={port}", "--allow-unauthenticated", "--no-browser")
    with container("demo", *arguments) as running:
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: answers(f"{url}/readyz"), "the demo is ready", 600)
        page = httpx.get(f"{url}/", trust_env=False, timeout=30)
        assert (page.status_code, "foreshock" in page.text) == (200, True)
        services = httpx.get(f"{url}/api/services", trust_env=False, timeout=30).json()
        assert len(services["services"]) >= 10
        assert "foreshock_gpu_wait_ratio{" in httpx.get(f"{url}/metrics", trust_env=False, timeout=30).text
        found = status(running)
        assert (found["Uid"], found["CapEff"], found["NoNewPrivs"]) == (("10001 " * 4).strip(), "0" * 16, "1")
        assert stop(running) == 0
        assert written(running) == []


@pytest.mark.usefixtures("layers")
def test_the_hub_keeps_spans_in_its_volume_and_writes_nothing_else(eventually: Eventually) -> None:
    """A second container with the volume has the spans of the first."""
    pages, otlp, grpc = free_ports(3)
    volume, trace = f"foreshock-test-{secrets.token_hex(4)}", secrets.token_hex(16)
    arguments = ("serve", f"--port={pages}", f"--otlp-http-port={otlp}", f"--otlp-grpc-port={grpc}")
    store = "--store-path=/var/lib/foreshock/store"
    options = (f"--volume={volume}:/var/lib/foreshock", "--tmpfs=/tmp:size=64m,mode=1777")
    now = time.time_ns()
    span = {
        "traceId": trace, "spanId": "01" * 8, "name": "GET /", "kind": 2, "startTimeUnixNano": str(now - 10**8),
        "endTimeUnixNano": str(now),
    }  # fmt: skip
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "gateway"}}]}
    body = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}
    try:
        for first in (True, False):
            with container("hub", *arguments, store, options=options) as running:
                url = f"http://127.0.0.1:{pages}"
                eventually(lambda: answers(f"http://127.0.0.1:{pages}/healthz"), "the hub answers")
                if first:
                    sent = httpx.post(f"http://127.0.0.1:{otlp}/v1/traces", json=body, trust_env=False, timeout=30)
                    assert sent.status_code == 200
                answer = httpx.get(f"{url}/api/traces/{trace}", trust_env=False, timeout=30)
                assert (answer.status_code, len(answer.json()["spans"])) == (200, 1)
                assert httpx.get(f"{url}/", trust_env=False, timeout=30).status_code == 200
                found = status(running)
                assert (found["Uid"], found["CapEff"], found["NoNewPrivs"]) == (("10001 " * 4).strip(), "0" * 16, "1")
                assert stop(running) == 0
                assert written(running) == []
    finally:
        podman("volume", "rm", "--force", volume)
