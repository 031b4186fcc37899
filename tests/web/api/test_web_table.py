"""Lists as CSV: what JSON has, one line each, which no spreadsheet computes; and what is sent compressed."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.web.caller import Caller
from tests.web.worlds import HOSTILE, NOW, SCENES, FakeHub

from foreshock_dashboard.web.api.csv import LISTS, table
from foreshock_dashboard.web.app import create_app
from foreshock_dashboard.web.state.lists import PairGpu

pytestmark = pytest.mark.slow

PLOTLY = "/_dash-component-suites/plotly/package_data/plotly.min.js"


def _read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        (-1.5, "-1.5"),
        (1e-7, "1e-07"),
        (None, ""),
        (True, "true"),
        (["=a", "b"], "'=a b"),
        ([PairGpu("h/gpu-0", 1)], "h/gpu-0"),
        ('a "b", c', 'a "b", c'),
        ("two\nlines", "two\nlines"),
    ],
)
def test_a_cell_is_what_it_was_and_never_a_formula(value: object, cell: str) -> None:
    """Numbers stay plain, also negative ones; texts that would be computed get an apostrophe."""
    body = table(("x",), [{"x": value}]).decode()
    assert body.startswith("x\r\n")
    assert body.endswith("\r\n")
    assert _read(body) == [{"x": cell}]


@pytest.mark.parametrize("name", [*LISTS, "gpus", "traces"])
def test_every_list_has_a_head_also_where_it_is_empty(shared_look: Callable[[str], Caller], name: str) -> None:
    """And comes as a file with a name."""
    for scene in ("contended", "empty", "error"):
        answer = shared_look(scene).get(f"/api/csv/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
        assert answer.headers["content-disposition"].startswith(f'attachment; filename="foreshock-{name}-')
        assert answer.text.partition("\r\n")[0].count(",") >= 3
        if scene == "contended":
            assert _read(answer.text)


def test_a_csv_has_the_same_rows_filters_and_past_as_the_page(caller: Caller) -> None:
    """Text, order and instant; an unknown filter is refused."""
    rows = _read(caller.get("/api/csv/gpus?q=host-1&sort=-gpu").text)
    assert [row["gpu"] for row in rows] == [f"host-1/gpu-{i}" for i in range(7, -1, -1)]
    worst = _read(caller.get("/api/csv/pairs").text)[0]
    assert (worst["victim"], worst["gpus"]) == ("embedder", "host-0/gpu-0 host-0/gpu-1")
    past = _read(caller.get("/api/csv/pairs?at=2025-11-25T09:50:00Z").text)
    assert float(past[0]["gpu_wait_ratio"]) < float(worst["gpu_wait_ratio"])
    assert len(_read(caller.get("/api/csv/traces?limit=3").text)) == 3
    assert caller.get("/api/csv/services?q=x").status_code == 400
    assert "(allowed: cost, edges, forecast, gpus, headroom" in caller.get("/api/csv/wishes").json()["error"]


def test_a_hostile_name_is_a_text_in_its_cell(shared_look: Callable[[str], Caller]) -> None:
    """Quotes in it do not end the cell."""
    names = {row["service"] for row in _read(shared_look("hostile").get("/api/csv/services").text)}
    assert {HOSTILE, '"><script>alert(2)</script>'} <= names


def test_an_answer_is_compressed_where_that_is_accepted(caller: Caller) -> None:
    """httpx undoes it; who does not ask gets it plain."""
    packed = caller.get("/api/services", headers={"Accept-Encoding": "gzip"})
    plain = caller.get("/api/services", headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == "Accept-Encoding"
    assert "content-encoding" not in plain.headers
    assert packed.json()["services"] == plain.json()["services"]


def test_plotly_is_sent_compressed_and_not_again(caller: Caller) -> None:
    """Where Dash's loader looks for it; a client that has it gets nothing."""
    first = caller.get(PLOTLY, headers={"Accept-Encoding": "gzip"})
    assert (first.headers["content-encoding"], first.text[:200].count("plotly.js")) == ("gzip", 1)
    assert int(first.headers["content-length"]) < 2_000_000
    assert caller.get(PLOTLY, headers={"If-None-Match": first.headers["etag"]}).status_code == 304


@pytest.mark.parametrize(
    ("path", "feed"),
    [
        ("/", 'data-feed="/api/now" data-takes="from"'),
        ("/fleet", 'data-feed="/api/pages/fleet" data-takes="metric gpu q sort"'),
        ("/nowhere", None),
    ],
)
def test_a_page_names_the_values_that_it_will_request(caller: Caller, path: str, feed: str | None) -> None:
    """So that they are requested before the page is there; without a page, nothing is requested."""
    assert (f'<meta name="feed" {feed}>' if feed else '<meta name="feed">') in caller.get(path).text


@pytest.mark.parametrize("bounds", [None, (NOW - 600, NOW)])
def test_the_frame_has_its_badge_and_no_slider_before_any_value(bounds: tuple[float, float] | None) -> None:
    """So that nothing moves when values come; a recording too has the slider behind the time range."""
    hub = FakeHub(replace(SCENES["contended"](), bounds=bounds))
    parts = Caller(create_app(hub, version="0")).get("/_dash-layout").json()["props"]["children"]
    (rewind,) = [part["props"] for part in parts if part["props"].get("id") == "rewind"]
    (bar,) = [part["props"]["children"] for part in parts if part["props"].get("className") == "bar"]
    (badge,) = [part["props"] for part in bar if part["props"].get("id") == "simulated"]
    assert (rewind["hidden"], badge["hidden"]) == (True, False)
