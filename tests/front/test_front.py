"""The front of several hubs: all incidents once, and nothing is calm that is only missing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
import pytest

from foreshock_dashboard.front.front import Front
from foreshock_dashboard.front.merge import merged
from foreshock_dashboard.front.page import page
from foreshock_dashboard.front.shards import STALE_SECONDS, HubAnswer, Shards
from foreshock_dashboard.settings.settings import HubError, Settings, SettingsError, load_settings
from foreshock_dashboard.sources.http_config.values import HttpConfig

NOW = 1_800_000_000.0


def incident(name: str, **fields: object) -> dict[str, Any]:
    """An incident as a hub lists it, as far as the front reads it."""
    blank = {"severity": "critical", "state": "firing", "opened": NOW - 60, "headline": f"{name} is slow."}
    return {"id": name, "service": f"shop/{name}", "suspect": {"text": ""}, **blank, **fields}


def hub(part: str, *incidents: dict[str, Any], **fields: Any) -> HubAnswer:  # noqa: ANN401 - of HubAnswer
    """What a shard answered just now."""
    url = f"http://hub-{part.replace('/', '-of-')}:8050"
    return replace(HubAnswer(url, part, url, (f"c{part[0]}",), 8, 2, "", incidents, NOW), **fields)


def test_incidents_of_all_hubs_are_one_list_the_worst_first_with_links_to_their_hubs() -> None:
    found = merged(
        [
            hub("1/2", incident("old", state="resolved"), incident("early", severity="warning")),
            hub("2/2", incident("a b"), incident("newer", opened=NOW - 5), page="https://two.example/"),
        ],
        NOW,
    )
    assert [item["id"] for item in found.incidents] == ["newer", "a b", "early", "old"]
    assert [item["shard"] for item in found.incidents] == ["2/2", "2/2", "1/2", "1/2"]
    assert found.incidents[1]["url"] == "https://two.example/cascade?incident=a%20b"
    assert (found.state, found.headline, found.problems) == (
        "critical",
        "2 open incidents and 1 early warning.",
        (),
    )


def test_of_two_hubs_of_a_shard_one_that_answers_is_enough() -> None:
    first, second = hub("1/1", incident("x")), hub("1/1", incident("x"), url="http://other:8050")
    for answers in ([first, second], [replace(first, read_at=NOW - 99, incidents=()), second]):
        found = merged(answers, NOW)
        assert ([item["id"] for item in found.incidents], found.problems) == (["x"], ())


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        pytest.param([hub("1/2")], "Shard 2/2 is not in --shards", id="a shard without a hub"),
        pytest.param(
            [hub("1/2"), HubAnswer("http://a:1")], "No hub of shard 2/2 has answered yet", id="one that never answered"
        ),
        pytest.param([hub("1/1", read_at=None)], "no answer yet", id="before the first answer"),
        pytest.param([hub("1/1", read_at=NOW - STALE_SECONDS - 1, error="refused")], "refused", id="an old answer"),
        pytest.param([hub("1/1", reason="the newest data is 90 s old")], "90 s old", id="old data"),
        pytest.param([hub("1/2"), hub("2/3")], "divide the clusters differently: 1/2, 2/3", id="other counts"),
        pytest.param(
            [hub("1/2"), hub("2/2", clusters=("c1",))], "c1 is read by shards 1/2 and 2/2", id="a cluster of two"
        ),
    ],
)
def test_what_may_be_missing_is_a_problem_and_never_healthy(answers: list[HubAnswer], problem: str) -> None:
    found = merged(answers, NOW)
    assert found.state == "unknown"
    assert found.headline == "Incidents may be missing."
    assert any(problem in text for text in found.problems), found.problems
    assert problem in page(found, answers, NOW, "")


def test_an_open_incident_of_a_hub_that_stopped_stays_listed() -> None:
    found = merged([hub("1/1", incident("x"), read_at=NOW - 600, error="refused")], NOW)
    assert (found.state, found.headline) == ("critical", "1 open incident. Others may be missing.")


def test_of_two_hubs_that_give_no_current_answer_none_hides_what_the_other_found() -> None:
    """One stopped, and the other one restarts: it lists nothing until it has read the history."""
    stopped = hub("1/1", incident("x"), incident("over", state="resolved"), read_at=NOW - 99, error="refused")
    restarting = hub("1/1", incident("y"), page="http://other:8050", reason="the first evaluation has not ended")
    found = merged([stopped, restarting], NOW)
    assert {item["id"]: item["url"].partition("/cascade")[0] for item in found.incidents} == {
        "x": stopped.page,
        "y": restarting.page,
    }
    assert found.problems == ("Shard 1/1 gives no current answer: the first evaluation has not ended",)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (hub("1/1"), "No open incidents."),
        (hub("1/1", reason="the first evaluation has not ended"), "No known incidents."),
    ],
    ids=["complete", "incomplete"],
)
def test_an_empty_list_that_may_be_incomplete_does_not_read_as_calm(answer: HubAnswer, text: str) -> None:
    shown = page(merged([answer], NOW), [answer], NOW, "")
    assert f"<p>{text}</p>" in shown
    assert ("No open incidents." in shown) == (text == "No open incidents.")


def test_the_row_of_a_hub_that_never_answered_has_no_numbers() -> None:
    """And the sentences about it end once."""
    answers = [HubAnswer("http://a:1", error="hub http://a:1: cannot be reached. Check that it runs.")]
    shown = page(merged(answers, NOW), answers, NOW, "")
    assert shown.count("<td>–</td>") == 2
    assert "Check that it runs.</li>" in shown
    assert "Check that it runs</span>, never" in shown


def test_names_on_the_page_are_text() -> None:
    mean = "<script>alert(1)</script>"
    answers = [hub("1/1", incident("x", headline=mean, service=mean), clusters=(mean,), reason=mean)]
    assert "<script" not in page(merged(answers, NOW), answers, NOW, "")


Answers = dict[str, object]


@pytest.fixture
def serving() -> Iterator[Callable[[Answers], str]]:
    """Starts servers that answer paths with JSON, or with 500 where there is none."""
    started = []

    class Handler(BaseHTTPRequestHandler):
        def __init__(self, answers: Answers, *rest: Any) -> None:  # noqa: ANN401 - of the base class
            self._answers = answers
            super().__init__(*rest)

        def do_GET(self) -> None:
            body = json.dumps(self._answers.get(self.path)).encode()
            self.send_response(200 if self.path in self._answers else 500)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    def serve(answers: Answers) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, answers))
        started.append(server)
        Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield serve
    for server in started:
        server.shutdown()
        server.server_close()


def answers_of(part: str, *incidents: dict[str, Any]) -> Answers:
    """What a hub serves."""
    shard = {"part": part, "clusters": [f"c{part[0]}"], "url": "", "gpus": 1, "services": 1}
    return {
        "/api/shard": {**shard, "ready": True, "reason": ""},
        "/api/incidents": {"version": 3, "incidents": list(incidents)},
    }


def test_a_hub_that_fails_or_is_none_keeps_its_last_answer_and_says_why(serving: Callable[[Answers], str]) -> None:
    served = answers_of("1/2", incident("x"))
    urls = (serving(served), serving({"/api/shard": [], "/api/incidents": []}), "http://127.0.0.1:1")
    with closing(Shards(urls, HttpConfig(), now=lambda: NOW)) as shards:
        shards.ask()
        served.clear()
        shards.ask()
        one, other, gone = shards.answers
    assert (one.part, one.gpus, [item["id"] for item in one.incidents], one.read_at) == ("1/2", 1, ["x"], NOW)
    assert "returned 500" in one.error
    assert "unexpected answer" in other.error
    assert "cannot be reached" in gone.error


def test_a_hub_that_restarts_keeps_what_it_had_found_until_it_is_ready(serving: Callable[[Answers], str]) -> None:
    """Until then, what it finds is added, and what it resolves ends."""
    served = answers_of("1/1", incident("x"), incident("y"), incident("over", state="resolved"))
    with closing(Shards((serving(served),), HttpConfig(), now=lambda: NOW)) as shards:

        def listed(*incidents: dict[str, Any], ready: bool) -> dict[str, str]:
            served.update(answers_of("1/1", *incidents))
            served["/api/shard"] |= {"ready": ready, "reason": "" if ready else "learning"}  # type: ignore[operator]
            shards.ask()
            return {item["id"]: item["state"] for item in shards.answers[0].incidents}

        shards.ask()
        assert listed(ready=False) == {"x": "firing", "y": "firing"}
        assert listed(incident("new"), ready=False) == {"new": "firing", "x": "firing", "y": "firing"}
        assert listed(incident("x", state="resolved"), ready=False) == {"x": "resolved", "new": "firing", "y": "firing"}
        assert listed(ready=False) == {"new": "firing", "y": "firing"}
        assert listed(incident("y"), ready=True) == {"y": "firing"}


@pytest.mark.parametrize("field", ["id", "severity", "state", "opened", "headline", "service", "suspect"])
def test_a_hub_whose_incidents_have_another_form_costs_only_itself(
    field: str, serving: Callable[[Answers], str]
) -> None:
    """It is of another version."""
    odd = incident("odd")
    del odd[field]
    urls = (serving(answers_of("1/2", incident("x"))), serving(answers_of("2/2", odd)))
    with closing(Shards(urls, HttpConfig(), now=lambda: NOW)) as shards:
        shards.ask()
        found = merged(shards.answers, NOW)
    assert [item["id"] for item in found.incidents] == ["x"]
    assert found.problems[0].startswith(f"{urls[1]} gives no current answer: ")
    assert "Update the hub" in found.problems[0]


def test_the_front_serves_the_page_the_list_its_health_and_metrics(serving: Callable[[Answers], str]) -> None:
    """And has the security headers of a hub."""
    second = answers_of("2/2")
    urls = (serving(answers_of("1/2", incident("x"))), serving(second))
    with (
        closing(Front(Settings(port=0, shards=urls))) as front,
        httpx.Client(base_url=front.web.url, trust_env=False) as client,
    ):
        front.shards.ask()
        front.web.start()
        get = client.get
        assert get("/readyz").status_code == 200
        answer = get("/api/incidents").json()
        assert ([item["id"] for item in answer["incidents"]], answer["complete"]) == (["x"], True)
        shown = get("/")
        assert "x is slow." in shown.text
        assert "default-src 'self'" in shown.headers["Content-Security-Policy"]
        second["/api/shard"] = {**second["/api/shard"], "ready": False, "reason": "disk full"}  # type: ignore[dict-item]
        front.shards.ask()
        assert get("/readyz").status_code == 503
        assert "Shard 2/2 gives no current answer: disk full." in get("/").text
        assert [row["up"] for row in get("/api/status").json()["targets"]] == [True, False]
        assert f'foreshock_front_hub_up{{shard="2/2",url="{urls[1]}"}} 0' in get("/metrics").text
        assert not get("/api/incidents").json()["complete"]


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        pytest.param({"shards": ("http://u:p@a:1",)}, "--shards-config", id="a password in the URL"),
        pytest.param({"shards_config": "hubs.yml"}, "Set --shards", id="credentials without hubs"),
    ],
)
def test_options_that_a_front_does_not_have_are_refused(flags: dict[str, object], problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        load_settings(flags, {})


def test_a_front_reads_no_other_source() -> None:
    with pytest.raises(HubError, match="--prometheus-url: has no effect with --shards"):
        Front(Settings(port=0, shards=("http://a:1",), prometheus_url="http://p:9090"))
