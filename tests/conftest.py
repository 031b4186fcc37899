"""What all tests share: the flag that rewrites golden files, recorded incidents, and waiting instead of sleeping."""

from __future__ import annotations

import fcntl
import gc
import logging
import os
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Protocol

import pytest
from _pytest.mark import ParameterSet
from hypothesis import settings
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]
from xdist.workermanage import WorkerController  # type: ignore[import-untyped]

from foreshock_dashboard.cli.main import main

# `make test` tries the same cases each time, so that a change is judged by what it changes; to look for
# others, in numbers that find some, is for `make soak`.
settings.register_profile("repeatable", max_examples=50, derandomize=True, deadline=None)
settings.register_profile("searching", max_examples=1000, deadline=None)
settings.load_profile(os.environ.get("FORESHOCK_TEST_CASES", "repeatable"))


# Collecting makes millions of objects, nearly all of which stay; Python's defaults visit them ten times as often.
gc.set_threshold(100_000, 20, 50)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--golden`."""
    parser.addoption("--golden", action="store_true", help="rewrite the expected outputs in tests/golden")


def pytest_collection_finish() -> None:
    """Leave what collecting made and keeps until the end out of each search for garbage."""
    gc.freeze()


def soak(*cases: object) -> list[ParameterSet]:
    """Values of a parameter, or tuples of several, with which only `make soak` runs a test."""
    return [pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.soak) for case in cases]


SHARING = ("alerts", "browser", "compose", "grafana", "helm", "recording")
"""Folders whose files share a server, a rendered chart, a long recording, or a browser, of which two are too many."""
LONGEST = (
    "browser",
    "simulator/scenarios/test_cascades.py",
    "hub/demo/test_demo.py",
    "recording",
    "alerts",
    "hub/hostile/test_hub_hostile.py",
    "grafana",
    "evaluation/test_evaluate_command.py",
    "sources/prometheus/test_sources_agree.py",
    "exporter/whole/test_whole_prometheus.py",
    "hub/test_serve.py",
    "hub/hostile/test_hub_kill.py",
    "shared/test_two_shards.py",
    "shared/test_two_hubs.py",
    "hub/hostile/test_hub_disk.py",
    "web/api/test_web_openapi.py",
)
"""What takes longest, in this order, though some of it is few tests."""


SLOW = (
    "alerts",
    "browser",
    "compose",
    "gpu",
    "grafana",
    "helm",
    "hub",
    "nvml",
    "recording",
    "shared",
    "sources/prometheus",
    "exporter/whole",
    "simulator/calls",
    "simulator/traffic",
    "sources/traces",
)
"""Folders whose tests start servers, browsers, or simulations; elsewhere, such a file has `pytest.mark.slow`.

`make test-fast` leaves them out."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of slow folders."""
    places = tuple(Path(__file__).parent / name for name in SLOW)
    slow = cache(lambda path: any(path.is_relative_to(place) for place in places))
    for item in items:
        if slow(item.path):
            item.add_marker("slow")


class ByPlace(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Where tests run in several processes, a file stays in one of them; so do the files that share what is costly.

    What takes longest goes first, lest one process be left with it at the end while the others have nothing to do.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0].removeprefix("tests/")
        folder = file.partition("/")[0]
        return folder if folder in SHARING else file

    def _assign_work_unit(self, node: WorkerController) -> None:
        if first := next((scope for scope in LONGEST if scope in self.workqueue), None):
            self.workqueue.move_to_end(first, last=False)
        super()._assign_work_unit(node)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByPlace:
    """How xdist hands tests out."""
    return ByPlace(config, log)


@pytest.fixture(autouse=True)
def root_log_level() -> None:
    """Log from WARNING on, whatever level a command set earlier in this process."""
    logging.getLogger().setLevel(logging.WARNING)


class Incident(Protocol):
    """The recording of a simulated incident."""

    def __call__(self, scenario: str) -> Path:
        """Return the folder of the recording of a scenario of `INCIDENT_MINUTES`. Tests do not change it."""
        ...


INCIDENT_MINUTES = {
    "starve": 44,
    "outage": 58,
    "demand-ramp": 60,
    "long-prompts": 60,
    "packet-loss": 60,
    "gpu-lost": 60,
}
"""Duration of the recorded scenarios: until the fault has propagated."""


@pytest.fixture(scope="session")
def incident(tmp_path_factory: pytest.TempPathFactory) -> Incident:
    """Record a scenario once for all processes of a test run."""
    shared = tmp_path_factory.getbasetemp()
    folder = (shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared) / "incidents"
    folder.mkdir(exist_ok=True)

    def record(scenario: str) -> Path:
        path = folder / scenario
        with (folder / f"{scenario}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                length = ("--duration", f"{INCIDENT_MINUTES[scenario]}m")
                made = ["dev", "simulate", scenario, "--size", "small", *length, "--output-dir", str(path)]
                assert main(made) == 0
        return path

    return record


class Golden(Protocol):
    """Compares text with a file of tests/golden."""

    def __call__(self, name: str, actual: str) -> None:
        """Fail where they differ; with `--golden` write the file instead."""
        ...


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compare with a golden file, or rewrite it under `--golden`."""
    rewrite = bool(request.config.getoption("--golden"))

    def compare(name: str, actual: str) -> None:
        path = Path(__file__).parent / "golden" / name
        if rewrite:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(actual)
        assert path.exists(), f"no golden file {name}; `make golden` writes it"
        assert actual == path.read_text()

    return compare


class Eventually(Protocol):
    """Waits for a condition."""

    def __call__(self, condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
        """Poll until the condition holds; fail, naming `what`, when it does not within `seconds`."""
        ...


@pytest.fixture
def eventually() -> Eventually:
    """Wait for a condition."""

    def wait(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
        begun = time.monotonic()
        while not condition():
            waited = time.monotonic() - begun
            if waited > seconds:
                pytest.fail(f"not within {seconds:.0f} s: {what}")
            # Each check costs the process work beside what is waited for: so rarer, the longer it lasts.
            time.sleep(min(max(0.02, waited / 10), 0.25))

    return wait
