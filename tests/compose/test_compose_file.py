"""The compose file: every service is confined, bounded, watched, and reachable from this machine alone."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

Yaml = dict[str, Any]
NAMES = ("exporter", "hub", "prometheus", "alertmanager", "grafana")


def test_the_stack_is_what_the_readme_says(compose: Yaml, root: Path) -> None:
    """Five services, each named in the README with its image."""
    readme = (root / "compose/README.md").read_text()
    assert tuple(compose["services"]) == NAMES
    for name, service in compose["services"].items():
        assert f"| {name} | `{service['image']}` |" in readme


@pytest.mark.parametrize("name", NAMES)
def test_a_service_can_do_no_more_than_it_must(compose: Yaml, name: str) -> None:
    """No privileges to gain, no capabilities, not root, nothing writable but its volumes."""
    service = compose["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert re.fullmatch(r"[1-9]\d*:\d+", service["user"])
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & set(service)


@pytest.mark.parametrize("name", NAMES)
def test_a_service_is_bounded_and_watched(compose: Yaml, name: str) -> None:
    """Processor, memory, processes and logs have limits; a health check tells whether it works."""
    service = compose["services"][name]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert service["logging"]["options"]["max-size"]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert {"interval", "timeout", "retries", "start_period"} <= set(service["healthcheck"])


@pytest.mark.parametrize("name", NAMES)
def test_a_service_has_an_exact_version_and_is_published_on_loopback(compose: Yaml, name: str) -> None:
    """No `latest`, and no port on an address that others can reach."""
    service = compose["services"][name]
    assert re.search(r":v?\d+\.\d+\.\d+$", service["image"])
    assert service["ports"]
    assert all(re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port) for port in service["ports"])


def test_everything_that_is_mounted_exists_and_is_read_only(compose: Yaml, root: Path) -> None:
    """A missing source would become an empty folder; volumes are declared."""
    for name, service in compose["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (root / "compose" / source).exists(), f"{name}: {source}"
                assert volume.endswith(":ro"), f"{name}: {volume}"
            else:
                assert source in compose["volumes"], f"{name}: {source}"


def test_prometheus_accepts_its_configuration_with_the_rules(root: Path, tmp_path: Path) -> None:
    """`promtool check config`, on the files as they are mounted."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed; `make setup-tests` installs it")
    text = (root / "compose/prometheus.yml").read_text().replace("/etc/foreshock/alerts", str(root / "alerts"))
    (tmp_path / "prometheus.yml").write_text(text)
    done = subprocess.run(
        ["promtool", "check", "config", "--lint=all", tmp_path / "prometheus.yml"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "1 rule files found" in done.stdout


def test_prometheus_scrapes_the_jobs_that_the_rules_expect_often_enough(root: Path) -> None:
    """The hub's window for rates is 59 s, and four scrapes must fit into it."""
    config = yaml.safe_load((root / "compose/prometheus.yml").read_text())
    assert [job["job_name"] for job in config["scrape_configs"]] == ["foreshock-exporter", "foreshock-hub"]
    assert 4 * int(config["global"]["scrape_interval"].removesuffix("s")) < 59


def test_compose_itself_accepts_the_file(root: Path) -> None:
    """`docker compose config`, which needs no engine, where Compose is installed."""
    for command in (["docker-compose"], ["docker", "compose"]):
        if (
            shutil.which(command[0])
            and not subprocess.run([*command, "version"], capture_output=True, check=False, timeout=60).returncode
        ):
            subprocess.run([*command, "-f", root / "compose/compose.yml", "config", "-q"], check=True, timeout=60)
            return
    pytest.skip("Compose is not installed")


def test_the_images_are_built_in_stages_and_do_not_run_as_root(compose: Yaml, root: Path) -> None:
    """Each target that compose builds ends as a numbered user, without the sources or the build's tools."""
    text = (root / "compose/Dockerfile").read_text()
    stages = {
        match[1]: match[0] for match in re.finditer(r"^FROM \S+ AS (\S+)\n(?:(?!^FROM ).*\n)*", text, re.MULTILINE)
    }
    targets = [service["build"]["target"] for service in compose["services"].values() if "build" in service]
    assert targets == ["exporter", "hub"]
    for target in targets:
        assert f"COPY --from=build-{target} /opt/foreshock /opt/foreshock" in stages[target]
        assert "USER 10001:10001" in stages[target]
        assert "COPY exporter" not in stages[target]
    assert all(re.search(r":\d+\.\d+\.\d+-", image) for image in re.findall(r"^FROM (python\S+)", text, re.MULTILINE))
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for path in source.split():
            assert (root / path).exists(), path
            assert f"!{path}" in (root / "compose/Dockerfile.dockerignore").read_text().splitlines()
