"""A hub that reads its traces from Tempo or Jaeger."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.sources.traces.jaeger_double import JaegerDouble
from tests.sources.traces.tempo_double import Reply, TempoDouble

from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.hub.hub import Hub
from foreshock_dashboard.settings.settings import HubError, Settings

if TYPE_CHECKING:
    from tests.sources.traces.conftest import MakeSpan

T0 = 1_790_000_000


def settings(folder: Path, **given: Any) -> Settings:  # noqa: ANN401 - options
    """A hub on free ports."""
    return Settings(
        port=0, otlp_grpc_port=0, otlp_http_port=0, store_path=folder / "store", evaluation_interval=1.0, **given
    )


def test_its_pages_show_tempos_traces_and_say_when_it_does_not_answer(
    tmp_path: Path,
    opened: ExitStack,
    serving: Callable[[object], str],
    eventually: Callable[..., None],
    span: MakeSpan,
) -> None:
    """The rest of the hub goes on, and traces come back by themselves."""
    ago = time.time() - T0 - 30
    double = TempoDouble(spans=[span(1, start=ago), span(1, 2, parent=1, service="pay", start=ago)])
    url = serving(double)
    hub = opened.enter_context(closing(Hub(settings(tmp_path, tempo_url=url), Clock())))
    hub.start()

    def get(path: str) -> httpx.Response:
        return httpx.get(hub.web.url.rstrip("/") + path, trust_env=False, timeout=20)

    eventually(lambda: get("/readyz").status_code == 200, "the hub is ready")
    (trace,) = get("/api/traces").json()["traces"]
    assert (trace["trace_id"], trace["services"]) == (f"{1:032x}", ["gateway", "pay"])
    assert len(get(f"/api/traces/{1:032x}").json()["spans"]) == 2
    assert get(f"/api/traces/{2:032x}").status_code == 404

    double.instead = Reply(503, b"no ring", "text/plain")
    eventually(lambda: get("/readyz").status_code == 503, "it says that Tempo is away")
    why = f"Tempo {url}: returned 503: no ring; see its log"
    assert get("/readyz").text == f"not ready: {why}\n"
    assert get("/api/status").json()["reason"] == why
    assert get("/api/services").status_code == 200
    for path in ("/api/traces", f"/api/traces/{1:032x}"):
        assert (get(path).status_code, get(path).json()["error"]) == (503, why)

    double.instead = None
    eventually(lambda: get("/readyz").status_code == 200, "Tempo is back")
    assert len(get("/api/traces").json()["traces"]) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("authorization: {credentials_file: /nowhere/key}", "/nowhere/key: cannot be read: No such file"),
        ("tls_config: {ca_file: /nowhere/ca}", "/nowhere/ca: is not a file of PEM certificates"),
    ],
)
def test_it_does_not_start_with_files_that_cannot_be_used(tmp_path: Path, given: str, message: str) -> None:
    """It names the option, the file and what is wrong."""
    (tmp_path / "tempo.yml").write_text(given)
    with pytest.raises(HubError) as caught:
        Hub(settings(tmp_path, tempo_url="https://tempo", traces_config=tmp_path / "tempo.yml"), Clock())
    assert str(caught.value).startswith(f"--traces-config: {message}")


def test_traces_are_read_from_one_place(tmp_path: Path) -> None:
    """Two are refused."""
    with pytest.raises(HubError, match="--tempo-url, --jaeger-url: traces are read from only one of them"):
        Hub(settings(tmp_path, tempo_url="http://t", jaeger_url="http://j"), Clock())


def test_jaeger_can_be_that_place(
    tmp_path: Path, opened: ExitStack, serving: Callable[[object], str], span: MakeSpan
) -> None:
    """By its own option."""
    double = JaegerDouble(spans=[span(1)])
    hub = opened.enter_context(closing(Hub(settings(tmp_path, jaeger_url=serving(double)), Clock())))
    assert [one.name for one in hub.traces.get(f"{1:032x}")] == ["GET /"]
