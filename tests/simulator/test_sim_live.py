"""The simulated platform for another stack: its Prometheus pages. tests/compose runs all of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import httpx
import pytest

from foreshock_simulator.live import main, server, targets


@pytest.fixture
def url() -> Iterator[str]:
    """A server of two pages."""
    pages = {"/hosts/host-1:10877": lambda: b"up 1\n", "/model-servers/llm.host-1:8000": lambda: b"up 2\n"}
    with server(lambda: pages, "127.0.0.1", 0) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


def test_every_page_is_a_target_with_job_instance_and_demo_label() -> None:
    """At the address of the request."""
    found = targets(["/hosts/host-1:10877", "/cluster/kube-state-metrics:8080"], "platform:9400")
    assert [each["targets"] for each in found] == [["platform:9400"]] * 2
    assert [each["labels"] for each in found] == [
        {
            "__metrics_path__": "/hosts/host-1:10877", "job": "foreshock-exporter", "instance": "host-1:10877",
            "environment": "demo",
        },
        {
            "__metrics_path__": "/cluster/kube-state-metrics:8080", "job": "kube-state-metrics",
            "instance": "kube-state-metrics:8080", "environment": "demo",
        },
    ]  # fmt: skip


def test_targets_lead_to_the_pages(url: str) -> None:
    """As Prometheus follows them."""
    listed = httpx.get(f"{url}/targets").json()
    assert len(listed) == 2
    pages = [httpx.get(f"http://{each['targets'][0]}{each['labels']['__metrics_path__']}") for each in listed]
    assert [page.text for page in pages] == ["up 1\n", "up 2\n"]
    assert all(page.headers["Content-Type"].startswith("text/plain; version=0.0.4") for page in pages)


def test_an_unknown_page_refers_to_the_known_ones(url: str) -> None:
    """A removed page, such as that of a model server, or a wrong address."""
    answer = httpx.get(f"{url}/hosts/host-9:10877")
    assert (answer.status_code, answer.text) == (404, "there is no such page; /targets lists all\n")


@pytest.mark.parametrize("words", [[], ["--otlp=http://127.0.0.1:9", "--scenario=nothing-of-the-kind"]])
def test_wrong_usage_is_reported(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With exit code 2."""
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert "usage: python -m foreshock_simulator.live" in capsys.readouterr().err
