"""The compose file: every service is confined, bounded, watched, and reachable from this machine alone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from foreshock_dashboard.cli.serving.serve import serve
from foreshock_dashboard.common.addresses import is_loopback
from foreshock_dashboard.settings.settings import load_settings
from foreshock_dashboard.web.http.security import host_name

Yaml = dict[str, Any]
ALWAYS = ("collector", "tempo", "hub", "prometheus", "alertmanager", "grafana")
PROFILES = {"demo": ("exporter", "platform"), "gpu": ("gpu-exporter",)}
NAMES = (*ALWAYS, *PROFILES["demo"], *PROFILES["gpu"])
MAY = {"gpu-exporter": {"pid"}}
"""What a service may have beyond its container: the driver reports pids of the host."""


@pytest.fixture(scope="session")
def composed(root: Path) -> Callable[..., Yaml]:
    """What Compose makes of the file, needing no engine: anchors, defaults and `.env` resolved."""
    command = next((name for name in ("docker-compose",) if shutil.which(name)), None)
    if command is None:
        pytest.skip("docker-compose is not installed; `make setup-tests` installs it")

    def config(*flags: str) -> Yaml:
        done = subprocess.run(
            [command, "-f", root / "compose/compose.yml", *flags, "config", "--format", "json"],
            capture_output=True, text=True, timeout=60, check=False, env={"PATH": "/usr/bin:/bin", "HOME": "/"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        loaded: Yaml = json.loads(done.stdout)
        return loaded

    return config


def test_the_stack_is_what_the_readme_says(compose: Yaml, root: Path) -> None:
    """Each service named in the README with its image."""
    readme = (root / "compose/README.md").read_text()
    assert set(compose["services"]) == set(NAMES)
    for name, service in compose["services"].items():
        assert f"| {name} | `{service['image']}` |" in readme


@pytest.mark.parametrize(("flags", "more"), [((), "demo"), (("--profile", "gpu"), "gpu")])
def test_compose_starts_the_demo_unless_real_cards_are_configured(
    composed: Callable[..., Yaml], flags: tuple[str, ...], more: str
) -> None:
    """Never both: simulated readings beside real ones would be taken for real."""
    assert set(composed(*flags)["services"]) == {*ALWAYS, *PROFILES[more]}


def test_real_cards_are_only_looked_at(composed: Callable[..., Yaml]) -> None:
    """The driver's tools on all cards, and no card taken from others."""
    service = composed("--profile", "gpu")["services"]["gpu-exporter"]
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["count"], device["capabilities"]) == ("nvidia", -1, ["utility"])
    assert "--mock" not in service["command"]


@pytest.mark.parametrize("name", NAMES)
def test_a_service_can_do_no_more_than_it_must(compose: Yaml, name: str) -> None:
    """No privileges to gain, no capabilities, not root, nothing writable but its volumes."""
    service = compose["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert re.fullmatch(r"[1-9]\d*:\d+", service["user"])
    assert {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & set(service) == MAY.get(name, set())


@pytest.mark.parametrize("name", NAMES)
def test_a_service_is_bounded_and_watched(compose: Yaml, name: str) -> None:
    """Processor, memory, processes and logs have limits; a health check says whether it works."""
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


@pytest.mark.parametrize("name", NAMES)
def test_go_gives_memory_back_before_the_limit_ends_it(compose: Yaml, name: str) -> None:
    """Where it has its own limit, that is 75% to 85% of the container's."""
    service = compose["services"][name]
    if soft := service.get("environment", {}).get("GOMEMLIMIT"):
        limit = service["deploy"]["resources"]["limits"]["memory"]
        megabytes = float(limit[:-1]) * {"M": 1, "G": 1024}[limit[-1]]
        assert 0.75 <= float(soft.removesuffix("MiB")) / megabytes <= 0.85


def test_no_port_is_published_twice_in_a_profile(compose: Yaml) -> None:
    """The second service would not start."""
    for more in PROFILES.values():
        ports = [port for name in (*ALWAYS, *more) for port in compose["services"][name]["ports"]]
        assert len(set(ports)) == len(ports)


def test_everything_that_is_mounted_exists_and_is_read_only(compose: Yaml, root: Path) -> None:
    """A missing source would become an empty folder; volumes are declared."""
    for name, service in compose["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (root / "compose" / source).exists(), f"{name}: {source}"
            if source.startswith((".", "/")):
                assert volume.endswith(":ro"), f"{name}: {volume}"
            else:
                assert source in compose["volumes"], f"{name}: {source}"


def test_what_a_service_waits_for_starts_in_every_profile_that_it_is_in(compose: Yaml) -> None:
    """A dependency in another profile would keep it from starting."""
    for name, service in compose["services"].items():
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}, name
            assert other in ALWAYS, f"{name} waits for {other}"


def test_passwords_are_files_and_never_committed(compose: Yaml, root: Path) -> None:
    """Passed by file, from a folder that git leaves out; no value in the environment."""
    (secret,) = compose["secrets"].values()
    folder = (root / "compose" / secret["file"]).parent
    assert (folder / ".gitignore").read_text().splitlines()[-2:] == ["*", "!.gitignore"]
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            secretive = re.search(r"PASSWORD|SECRET|TOKEN", name)
            assert not secretive or (name.endswith("__FILE") and value.startswith("/run/secrets/"))
    assert compose["services"]["grafana"]["secrets"] == list(compose["secrets"])
    listed = subprocess.run(["git", "ls-files", folder], capture_output=True, text=True, check=True, cwd=root).stdout
    assert listed.split() in ([], ["compose/secrets/.gitignore"])


def test_everyone_reaches_everyone_by_the_names_and_ports_that_they_have(compose: Yaml, root: Path) -> None:
    """Addresses in arguments and configurations are services of the file, at ports on which they listen."""
    listening = {
        "collector": {4317, 4318, 8889, 13133}, "tempo": {3200, 4317}, "hub": {8050, 4317}, "prometheus": {9090},
        "alertmanager": {9093}, "grafana": {3000}, "exporter": {10877}, "gpu-exporter": {10877}, "platform": {9400},
    }  # fmt: skip
    texts = [word for service in compose["services"].values() for word in service.get("command", [])]
    texts += [(root / f"compose/{name}").read_text() for name in ("prometheus.yml", "collector.yaml", "tempo.yaml")]
    texts += [file.read_text() for file in root.glob("grafana/provisioning/datasources/*.yml")]
    found = [(name, int(port)) for text in texts for name, port in re.findall(r"\b([a-z][a-z-]+):(\d{4,5})\b", text)]
    assert {name for name, _ in found} >= {"collector", "tempo", "hub", "prometheus", "alertmanager", "platform"}
    assert [(name, port) for name, port in found if port not in listening[name]] == []


def test_the_hub_answers_only_to_its_own_names(compose: Yaml, root: Path) -> None:
    """It has no authentication: else any page in a browser on this machine could read it by its own name."""
    settings = load_settings(serve.make_context("serve", compose["services"]["hub"]["command"][1:]).params)
    assert settings.allow_unauthenticated
    assert not is_loopback(settings.host)
    scraped = yaml.safe_load((root / "compose/prometheus.yml").read_text())["scrape_configs"]
    targets = [each for job in scraped for found in job.get("static_configs", []) for each in found["targets"]]
    assert set(settings.allowed_hosts) == {"hub"} == {host_name(each) for each in targets if each.endswith(":8050")}


def test_the_collector_and_tempo_are_the_releases_that_their_tags_say(compose: Yaml, root: Path) -> None:
    """They are built here, only for what their health checks need."""
    text = (root / "compose/Dockerfile").read_text()
    for name, source in (("collector", "otel/opentelemetry-collector-contrib"), ("tempo", "grafana/tempo")):
        version = compose["services"][name]["image"].rpartition(":")[2]
        assert f"FROM {source}:{version} AS {name}\n" in text


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
    assert f"{len(list(root.glob('alerts/*.rules.yml')))} rule files found" in done.stdout


def test_prometheus_scrapes_the_jobs_that_the_rules_expect_often_enough(root: Path) -> None:
    """The hub's window for rates is 59 s, and four scrapes must fit into it."""
    config = yaml.safe_load((root / "compose/prometheus.yml").read_text())
    jobs = [job["job_name"] for job in config["scrape_configs"]]
    assert jobs == ["foreshock-exporter", "foreshock-platform", "foreshock-hub", "collector"]
    assert 4 * int(config["global"]["scrape_interval"].removesuffix("s")) < 59


def test_prometheus_keeps_the_exemplars_that_the_boards_show(compose: Yaml) -> None:
    """It drops them unless configured otherwise."""
    assert "--enable-feature=exemplar-storage" in compose["services"]["prometheus"]["command"]


def test_tempo_writes_below_its_volume_alone(compose: Yaml, root: Path) -> None:
    """Its root is read-only; and it sends no reports of its use."""
    config = yaml.safe_load((root / "compose/tempo.yaml").read_text())
    assert "tempo:/var/tempo" in compose["services"]["tempo"]["volumes"]
    paths = [config["storage"]["trace"][part]["path"] for part in ("local", "wal")]
    assert all(path.startswith("/var/tempo/") for path in paths)
    assert config["usage_report"] == {"reporting_enabled": False}
    assert not {"ingester", "compactor", "ingester_client", "metrics_generator"} & set(config), "of Tempo 2"


def test_the_images_are_built_in_stages_and_do_not_run_as_root(compose: Yaml, root: Path) -> None:
    """Each target that compose builds ends as a numbered user; ours without the sources or the build's tools."""
    text = (root / "compose/Dockerfile").read_text()
    for name, value in re.findall(r"^ARG (\w+)=(\S+)", text, re.MULTILINE):
        text = text.replace(f"${{{name}}}", value)
    stages = {
        match[1]: match[0] for match in re.finditer(r"^FROM \S+ AS (\S+)\n(?:(?!^FROM ).*\n)*", text, re.MULTILINE)
    }
    targets = {service["build"]["target"] for service in compose["services"].values() if "build" in service}
    assert targets == {"exporter", "hub", "collector", "tempo"}
    for target in targets:
        assert "USER 10001:10001" in stages[target]
        assert "COPY exporter" not in stages[target]
    for target in ("exporter", "hub"):
        assert f"COPY --from=build-{target} /opt/foreshock /opt/foreshock" in stages[target]
    pulled = [image for image in re.findall(r"^FROM (\S+)", text, re.MULTILINE) if image not in stages]
    assert pulled
    assert all(re.search(r":\d+\.\d+\.\d+", image) for image in pulled)
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for path in source.split():
            assert (root / path).exists(), path
            assert f"!{path}" in (root / "compose/Dockerfile.dockerignore").read_text().splitlines()
