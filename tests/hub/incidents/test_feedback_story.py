"""An incident that a hub names wrongly, from the feedback to the score of the analysis, with the real programs."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.hub.process import BIN, HubProcess

SIMULATED_MINUTES = 44


def printed(*words: object) -> str:
    """The standard output of a program that succeeds."""
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.soak
def test_feedback_becomes_the_truth_by_which_the_analysis_is_scored(
    serve: Callable[..., HubProcess],
    prometheus: Callable[[dict[str, str]], str],
    eventually: Callable[..., None],
    tmp_path: Path,
) -> None:
    """A hub over a Prometheus with GPU contention at a language model, until a minute ago.

    By feedback that it was the vector store, the evaluation scores the page as a miss; by the right one as a hit.
    """
    if shutil.which("promtool") is None or shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed; `make setup-tests` installs it")
    simulated, recorded = tmp_path / "simulated", tmp_path / "incidents" / "chat"
    foreshock = BIN / "foreshock"
    start = time.time() - 60.0 * SIMULATED_MINUTES - 30.0
    length = ("--duration", f"{SIMULATED_MINUTES}m", "--start", f"{start:.0f}")
    printed(foreshock, "dev", "simulate", "starve", *length, "--output-dir", simulated)
    printed(foreshock, "recording", "export", simulated, "--openmetrics", tmp_path / "out.om")
    printed("promtool", "tsdb", "create-blocks-from", "openmetrics", tmp_path / "out.om", tmp_path / "tsdb")
    url = prometheus({})
    hub = serve("--prometheus-url", url)

    def incident(*words: object) -> str:
        return printed(foreshock, "incident", *words, "--from", hub.url)

    def paged() -> list[str]:
        listed = json.loads(printed(foreshock, "get", "incidents", "--from", hub.url, "-o", "json"))["incidents"]
        return [item["id"] for item in listed if item["severity"] == "critical"]

    eventually(lambda: len(paged()) == 1, "the incident", 300)
    (name,) = paged()
    created = (foreshock, "recording", "create", "--from", url, "--start", "now-50m", "--output-dir", recorded)
    printed(*created)

    def names_the_truth(service: str, cause: str) -> bool:
        """Whether the first page names the root cause that the feedback says, by the evaluation."""
        incident("feedback", name, "wrong-cause", "--service", service, "--cause", cause)
        (recorded / "truth.json").unlink(missing_ok=True)  # no command overwrites a truth
        printed(foreshock, "recording", "label", recorded, "--from", hub.url)
        truth = json.loads((recorded / "truth.json").read_text())
        assert (truth["scenario"], truth["root_cause"], truth["cause"]) == (name, service, cause)
        words = ("--suite", "lab", "--recordings", recorded.parent, "--quick", "--json")
        (run,) = json.loads(printed(foreshock, "dev", "evaluate", *words))["runs"]
        assert run["page_after_seconds"] is not None
        return bool(run["first_page"]["top1"])

    assert not names_the_truth("data/vector-store", "dependency")
    assert names_the_truth("ml/batch-embed", "gpu_contention")
