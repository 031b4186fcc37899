"""`foreshock demo` as a process: the incident is shown, a healthy platform has none, and nothing is left behind."""

from __future__ import annotations

import base64
import contextlib
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.hub.process import BIN
from tests.notify.receivers import webhook

from foreshock_dashboard.cli.main import main

Demo = Any
Eventually = Callable[..., None]


def open_incidents(url: str) -> list[dict[str, Any]]:
    """The open incidents that page."""
    answer = httpx.get(f"{url}/api/incidents?state=open", timeout=90, trust_env=False).json()
    return [incident for incident in answer["incidents"] if incident["severity"] == "critical"]


STORY = ("ml/batch-embed", "serving/llm-chat")
GPUS = {"host-1/gpu-0", "host-1/gpu-1", "host-2/gpu-0", "host-2/gpu-1"}
ONE_MODEL = Path(__file__).with_name("one-model.yaml")


def shows_the_incident(url: str, gpus: set[str] = GPUS) -> bool:
    """Whether a page names the noisy neighbor, the affected service and the GPUs between them."""
    found = [(w["suspect"]["service"], w["service"], set(w["suspect"]["gpus"])) for w in open_incidents(url)]
    return (*STORY, gpus) in found


def names_the_holder(url: str) -> bool:
    """Whether the request that waited longest for a GPU waited most of its time there, and for the aggressor."""
    listed = "/api/traces?service=serving/llm-chat&order=gpu_wait&start=now-60s&limit=1"
    found = httpx.get(url + listed, timeout=60, trust_env=False).json()["traces"]
    if not found or found[0]["gpu_wait_seconds"] < 0.5 * found[0]["duration_seconds"]:
        return False
    trace = httpx.get(f"{url}/api/traces/{found[0]['trace_id']}", timeout=90, trust_env=False).json()
    (wait,) = [row["gpu"] for row in trace["spans"] if row["service"] == STORY[1] and row["gpu"]][:1]
    return (wait["quality"], wait["matched_by"], next(iter(wait["by"]))) == ("measured", "process", STORY[0]) and (
        f"while {STORY[0]} was running" in trace["sentence"]
    )


@pytest.mark.parametrize(
    ("scenario", "speed", "gpus"),
    [
        pytest.param(str(ONE_MODEL), 8, {"host-1/gpu-0", "host-1/gpu-1"}, id="one model"),
        pytest.param("noisy-neighbor", 5, GPUS, id="default", marks=pytest.mark.soak),
    ],
)
def test_the_demo_warns_and_then_pages_and_ctrl_c_leaves_nothing_behind(
    scenario: str,
    speed: int,
    gpus: set[str],
    demo: Demo,
    eventually: Eventually,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Faster than the wall clock, in one virtual time for the whole platform.

    A trace names who held the GPU; with picture and action at a webhook, too.
    """
    with webhook() as hook:
        channels = tmp_path_factory.mktemp("notify") / "channels"
        channels.write_text(f"json://{hook.address}/ severity=warning service={STORY[1].partition('/')[2]}\n")
        process = demo("--scenario", scenario, "--speed", str(speed), "--notify-file", str(channels))
        assert open_incidents(process.address) == []
        assert list(tmp_path.glob("foreshock-demo-*"))

        story = "the page names noisy neighbor, affected service and GPUs"
        eventually(lambda: shows_the_incident(process.address, gpus), story, 300)

        eventually(lambda: names_the_holder(process.address), "a slow trace names who held its GPU", 60)
        status = httpx.get(f"{process.address}/api/status", trust_env=False).json()
        assert status["simulated"]
        assert status["learning"]["done"]
        assert status["missing"] == []
        assert all(target["up"] for target in status["targets"])

        def sent(kind: str) -> list[dict[str, Any]]:
            return [post for post in hook.posted if post["type"] == kind and STORY[0] in post["message"]]

        eventually(lambda: bool(sent("failure")), "the page at the webhook")
        warning, page = sent("warning")[0], sent("failure")[0]
        assert hook.posted.index(warning) < hook.posted.index(page)
        for post in (warning, page):
            assert "to 0 replicas (terminates its pods)." in post["message"]
            assert base64.b64decode(post["attachments"][0]["base64"]).startswith(b"\x89PNG")
        assert process.end(signal.SIGINT) == 0, process.output
    assert "Traceback" not in process.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.soak
def test_calm_ends_by_itself_with_0_and_without_a_page(demo: Demo, eventually: Eventually) -> None:
    """The same platform without the noisy neighbor: six minutes of its time pass without a page."""
    process = demo("--scenario", "calm", "--speed", "8", "--seed", "4", "--duration", "45")
    seen: list[dict[str, Any]] = []

    def ended() -> bool:
        with contextlib.suppress(httpx.TransportError):
            seen.extend(open_incidents(process.address))
        return process.process.poll() is not None

    eventually(ended, "the demo ends", 120)
    assert process.end() == 0, process.output
    assert seen == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--speed", "0"), "--speed: '0' is not a valid speed: use a number above 0"),
        (("--duration", "long"), "--duration: 'long' is not a valid duration"),
        (("--port", "99999"), "--port: '99999' is not a valid port"),
        (("--scenario", "clam"), "--scenario: 'clam' is not a scenario; did you mean 'calm'?"),
    ],
)
def test_a_flag_that_makes_no_sense_is_named(
    flags: tuple[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong with it as well."""
    assert main(["demo", *flags]) == 2
    assert message in capsys.readouterr().err


def test_wrong_usage_exits_2_and_starts_nothing() -> None:
    """In a separate process: what started all the same would be ended with it."""
    ended = subprocess.run(
        [str(BIN / "foreshock"), "demo", "--no-browser", "--port", "0", "--speed", "0"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    error = "Error: --speed: '0' is not a valid speed: use a number above 0 and at most 60"
    assert ended.stderr.splitlines() == [error]


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1, 6))
def test_every_seed_shows_the_incident_within_six_minutes(demo: Demo, eventually: Eventually, seed: int) -> None:
    """At the speed of the wall."""
    process = demo("--seed", str(seed), "--duration", "400", wait=False)
    eventually(lambda: process.address != "", "the page's address", 60)
    eventually(lambda: shows_the_incident(process.address), "the page", 360)
    assert process.process.wait(120) == 0, process.output


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1, 6))
def test_no_seed_warns_without_the_aggressor(demo: Demo, eventually: Eventually, seed: int) -> None:
    """At the speed of the wall."""
    process = demo("--scenario", "calm", "--seed", str(seed), "--duration", "150")
    seen: list[dict[str, Any]] = []

    def ended() -> bool:
        with contextlib.suppress(httpx.TransportError):
            seen.extend(open_incidents(process.address))
        return process.process.poll() is not None

    eventually(ended, "the demo ends", 200)
    assert (process.end(), seen) == (0, [])
