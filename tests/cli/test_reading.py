"""Commands that read a hub: every output of every command, exit codes, and errors."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from tests.web.costs import LEDGER, PRICES
from tests.web.forecasts import FORECAST, YOUNG
from tests.web.pages.test_web_limits import source as limits_source
from tests.web.two_clusters import fleet
from tests.web.worlds import SCENES, FakeHub, NoMetrics, request

from foreshock_dashboard.access.tokens import Tokens, token_line
from foreshock_dashboard.cli.get.pools import SHARED_COLUMNS
from foreshock_dashboard.cli.main import main
from foreshock_dashboard.cli.output import table
from foreshock_dashboard.cli.source import AnswerError, Source
from foreshock_dashboard.model.action import Reason
from foreshock_dashboard.model.forecast import Load
from foreshock_dashboard.model.incident import Candidate
from foreshock_dashboard.model.query import Matrix, SourceError
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.render.units import utc_timestamp
from foreshock_dashboard.render.words.panels import HISTORY_BEING_READ
from foreshock_dashboard.web.app import create_app
from foreshock_dashboard.web.http.authentication import Access
from foreshock_dashboard.web.http.server import WebServer

TRACE_ID = request()[0].trace_id
CANDIDATES = (Candidate(Service("ml", "train-llm"), 0.9, ()),)


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    """A hub with an open incident, at the address of FORESHOCK_HUB."""
    seen = FakeHub(SCENES["contended"](), candidates=CANDIDATES, capacity=FORECAST, cost=LEDGER, prices=PRICES)
    seen.metrics = limits_source()
    with (
        closing(WebServer(create_app(seen, version="1.2.3"), "127.0.0.1", 0)) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        server.start()
        patch.setenv("FORESHOCK_HUB", server.url)
        yield seen


READING = {
    "get incidents": "embedder",
    "get services": "embedder",
    "get gpus": "host-1/gpu-0",
    "get forecast": "vllm-70b",
    "get forecast --service embedder": "embedder",
    "get cost": "ml/notebook",
    "get cost --by pool": "spare",
    "get pools": "batch-eval",
    "get limits": "DRAM bandwidth",
    "get targets": "host-1",
    "incident list": "embedder",
    "incident show latest": "embedder",
    "explain embedder": "ml/train-llm",
    f"trace show {TRACE_ID}": TRACE_ID,
    "status": "1.2.3",
}
"""Commands, and a word of each answer."""


@pytest.mark.parametrize(
    ("command", "form"),
    [
        (name, form)
        for name in READING
        for form in ("table", "json", "yaml", "csv")
        if (name, form) != ("status", "csv")
    ],
)
@pytest.mark.usefixtures("hub")
def test_an_answer_comes_as_table_json_yaml_or_csv(capsys: pytest.CaptureFixture[str], command: str, form: str) -> None:
    """The table is aligned plain text without colors; the others are read by their parsers, with equal content."""
    assert main([*command.split(), "-o", form]) == 0
    text = capsys.readouterr().out
    assert (READING[command] in text) or form == "csv"
    assert "\x1b" not in text
    match form:
        case "table":
            assert not any(line != line.rstrip() for line in text.splitlines() if not command.startswith("trace"))
        case "csv":
            head, *rows = csv.reader(io.StringIO(text))
            assert rows
            assert {len(row) for row in rows} == {len(head)}
        case _:
            main([*command.split(), "-o", "json"])
            answer = yaml.safe_load(text)
            expected = json.loads(capsys.readouterr().out)
            assert answer.keys() == expected.keys()


@pytest.mark.usefixtures("hub")
def test_cost_says_what_it_covers_how_time_is_split_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    """A table without values of a column leaves it out; rows without a name say of what kind they are."""
    assert main(["get", "cost", "--by", "owner", "--range", "7d"]) == 0
    lines = capsys.readouterr().out.splitlines()
    heads = re.split(r"  +", lines[0])
    assert heads[4:9] == ["GPU-HOURS", "BUSY", "WAITING", "IDLE", "UNALLOCATED"]
    assert "BORROWED" not in heads
    assert {re.split(r"  +", line)[0] for line in lines[1:4]} == {"no owner", "unallocated", "unknown use"}
    start = LEDGER.end - 48 * 3600
    assert f"From {utc_timestamp(start)} to {utc_timestamp(LEDGER.end)}." in lines
    assert "Data covers 2 d of 7 d (whole 10 min steps only)." in lines
    assert lines[-1].endswith("kubectl -n ml scale deployment/notebook --replicas=0")


@pytest.mark.usefixtures("hub")
def test_needed_replicas_stand_beside_the_forecast(capsys: pytest.CaptureFixture[str]) -> None:
    """As on the Capacity page; a pool has GPUs in place of replicas."""
    assert main(["get", "forecast"]) == 0
    head, *rows = (re.split(r"  +", line) for line in capsys.readouterr().out.splitlines())
    assert head[5:] == ["READY", "NEEDED AT PEAK OF 7 D", "TRAFFIC X 1.3", "ONE HOST LOST AT PEAK", "POOL HAS ROOM FOR"]
    (chat,) = (row for row in rows if row[0] == "vllm-70b")
    assert chat[5:7] == ["3", "+2 (5 in total, 1 short)"]
    assert chat[-1] == "1 more in chat"


def test_without_a_forecast_measured_load_and_replicas_are_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With why there is none."""
    scene = SCENES["healthy"]()
    loads = (Load(Service("ml", "chat"), "", 0.81, 0.76), Load(Service("ml", "embed"), "", 0.38, 0.76))
    seen = FakeHub(replace(scene, forecast=replace(scene.forecast, loads=loads)), capacity=YOUNG)
    with closing(WebServer(create_app(seen, version="1"), "127.0.0.1", 0)) as server:
        server.start()
        monkeypatch.setenv("FORESHOCK_HUB", server.url)
        assert main(["get", "forecast"]) == 0
        out = capsys.readouterr().out
        assert main(["get", "forecast", "-o", "csv"]) == 0
    rows = [re.split(r"  +", line) for line in out.splitlines()]
    assert rows[0][:4] == ["SERVICE", "LOAD", "HEADROOM", "READY"]
    assert [row[:3] for row in rows[1:3]] == [
        ["ml/chat", "81% (safe limit 76%)", "7% over"],
        ["ml/embed", "38% (safe limit 76%)", "50%"],
    ]
    assert "No forecast yet: 5 h of history, 24 h needed." in out
    assert capsys.readouterr().out.startswith(
        "service,pool,load,safe,basis,headroom,status,ready,room,need.peak.needed"
    )


@pytest.mark.usefixtures("hub")
def test_limits_are_listed_with_their_bound_and_first_step(capsys: pytest.CaptureFixture[str]) -> None:
    """The largest first."""
    assert main(["get", "limits"]) == 0
    head, *rows = (re.split(r"  +", line) for line in capsys.readouterr().out.splitlines())
    assert head == ["SERVICE", "RESOURCE", "AT", "LOST TIME (AT MOST)", "AT LIMIT", "SHARED WITH", "FIRST STEP"]
    step = "Move one of the services to another GPU."
    assert rows[1] == ["train-llm", "DRAM bandwidth", "host-0/gpu-0", "52%", "96%", "embedder", step]


def test_limits_that_cannot_be_read_are_no_empty_list(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the hub and where to look."""

    class Broken(NoMetrics):
        def fetch(self, *_: object, **__: object) -> Matrix:
            raise SourceError("prometheus:9090: connection refused")

    hub = FakeHub(SCENES["contended"](), metrics=Broken())
    with closing(WebServer(create_app(hub, version="1"), "127.0.0.1", 0)) as server:
        server.start()
        monkeypatch.setenv("FORESHOCK_HUB", server.url)
        assert main(["get", "limits"]) != 0
    assert "cannot read the metrics of limits. See the Status page" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["get incidents", "incident list", "get services", "status"])
@pytest.mark.parametrize("form", ["table", "json"])
def test_a_hub_that_still_reads_the_history_is_named_beside_its_answer(
    hub: FakeHub, capsys: pytest.CaptureFixture[str], command: str, form: str
) -> None:
    """Once, on the standard error: a script reads the answer."""
    before, hub.snapshot = hub.snapshot, SCENES["preview"]()
    try:
        assert main([*command.split(), "-o", form]) == 0
    finally:
        hub.snapshot = before
    said = capsys.readouterr().err
    assert said.startswith("http://127.0.0.1:")
    assert said.endswith(f": {HISTORY_BEING_READ}\n")
    assert said.count("\n") == 1


@pytest.mark.parametrize(("severity", "code"), [("critical", 0), ("warning", 3)])
@pytest.mark.parametrize("command", ["get incidents", "incident list"])
def test_fail_on_sets_the_exit_code(hub: FakeHub, command: str, severity: str, code: int) -> None:
    """3 for an incident of this severity or worse; this hub has an early warning or a critical incident."""
    worst = {item.severity for item in hub.snapshot.incidents if item.state != "resolved"}
    expected = 3 if "critical" in worst else code
    assert main([*command.split(), "--fail-on", severity]) == expected


def test_explain_fails_on_an_anomaly(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    """And says so where the service is healthy."""
    assert main(["explain", "embedder", "--fail-on", "anomaly"]) == 3
    hub.candidates = ()
    try:
        assert main(["explain", "search", "--at", "now-1m", "--fail-on", "anomaly"]) == 0
    finally:
        hub.candidates = CANDIDATES
    assert "search is not clearly anomalous at " in capsys.readouterr().out


def test_a_table_of_root_causes_leaves_out_unlikely_ones(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    """After the third; the confidence is that of the answer, and no row is without a reason."""
    slower = (Reason("slower", Service("", "a"), value=2.3),)
    shares = {"a": 0.9, "b": 0.03, "c": 0.03, "d": 0.02, "e": 0.02}
    hub.candidates = tuple(Candidate(Service("", name), share, slower, "high") for name, share in shares.items())
    hub.candidates = (*hub.candidates[:2], hub.candidates[2]._replace(reasons=()), *hub.candidates[3:])
    try:
        assert main(["explain"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert main(["explain", "-o", "json"]) == 0
        answer = json.loads(capsys.readouterr().out)
    finally:
        hub.candidates = CANDIDATES
    assert lines[0].endswith(" UTC. Confidence: high.")
    assert [line.split(maxsplit=2)[1:] for line in lines[2:] if line] == [
        ["a", "latency 2.3x baseline"],
        ["b", "latency 2.3x baseline"],
        ["c", "none of its signals is anomalous"],
    ]
    assert answer["confidence"] == "high"
    assert [row["service"] for row in answer["candidates"]] == [*shares]


def test_the_status_of_a_hub_that_is_not_ready_is_an_exit_code(
    hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    """For probes."""
    hub.not_ready = "the disk is full"
    try:
        assert main(["status"]) == 1
    finally:
        hub.not_ready = ""
    assert "not ready: the disk is full" in capsys.readouterr().out


@pytest.mark.usefixtures("hub")
def test_a_report_is_html_with_plots_inside_or_markdown_with_plots_beside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A terminal gets no data URIs, but the text and a remedy."""
    assert main(["incident", "report", "latest", "-o", "html", "--output-file", str(tmp_path / "a.html")]) == 0
    document = (tmp_path / "a.html").read_text()
    assert document.startswith("<!doctype html>")
    assert "<svg" in document
    assert "<img" not in document
    assert main(["incident", "report", "latest", "--output-file", str(tmp_path / "a.md")]) == 0
    assert sorted(tmp_path.glob("a-*.svg"))
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("foreshock_dashboard.cli.incident.is_terminal", lambda: True)
        assert main(["incident", "report", "latest"]) == 0
    said = capsys.readouterr()
    assert "base64" not in said.out
    assert ".svg)" not in said.out
    assert "plots omitted. Pass --output-file FILE" in said.err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["incident", "show", "2020"], 1, "no incident '2020'. Known: "),
        (["incident", "list", "--start", "now-60d"], 2, "invalid time range. Use a range of up to 48 h"),
        (["incident", "list", "--start", "yesterday"], 2, "--start: 'yesterday' is not a valid time; use"),
        (["get", "services", "--at", "yesterday"], 2, "--at: 'yesterday' is not a valid time; use"),
        (["change", "add", "--title", "x", "--at", "noon"], 2, "--at: 'noon' is not a valid time; use"),
        (["trace", "show", "xyz"], 2, "trace id 'xyz': not a hexadecimal number"),
        (["get", "services", "--http-config", "/nowhere"], 2, "--http-config: /nowhere: cannot be read"),
        (["get", "gpus", "--from", "http://127.0.0.1:1"], 1, "no response (Connection refused). Start a hub, or pass"),
        (["get", "gpus", "--from", "nowhere"], 2, "--from: 'nowhere' is neither a folder nor a valid URL; use"),
    ],
)
@pytest.mark.usefixtures("hub")
def test_an_error_names_the_input_and_the_remedy(
    capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str
) -> None:
    """In words, without an error number."""
    assert main(words) == code
    said = capsys.readouterr().err
    assert message in said
    assert "Errno" not in said


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://admin:s3cret@prom", 2),
        ("https://admin:s3/cret@prom:9090", 2),
        ("http://admin:s3?cret@prom:9090", 2),
        ("http://127.0.0.1:1/s3cret@prom", 2),
        ("http://admin:s3cret@127.0.0.1:1", 2),
    ],
)
def test_a_password_of_the_url_is_not_printed(capsys: pytest.CaptureFixture[str], url: str, code: int) -> None:
    """Whether the URL is valid, or fails because `/` and `?` in the password are not escaped."""
    assert main(["get", "gpus", "--from", url]) == code
    said = capsys.readouterr()
    assert "s3" not in said.out + said.err
    assert "admin" not in said.err


def test_a_hub_that_requires_authentication_says_how(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """With the file of credentials it answers."""
    (tmp_path / "tokens").write_text(token_line("cli", "secret"))
    app = create_app(FakeHub(SCENES["contended"]()), version="1", access=Access(Tokens(tmp_path / "tokens")))
    (tmp_path / "token").write_text("secret\n")
    (tmp_path / "http.yml").write_text("authorization: {credentials_file: token}")
    with closing(WebServer(app, "127.0.0.1", 0)) as server:
        server.start()
        assert main(["get", "gpus", "--from", server.url]) == 1
        assert "authentication required. Pass --http-config FILE" in capsys.readouterr().err
        assert main(["get", "gpus", "--from", server.url, "--http-config", str(tmp_path / "http.yml")]) == 0


def test_a_renewed_token_is_used_by_a_source_that_stays_open(tmp_path: Path) -> None:
    """As by the server of an agent, whose token is renewed while it runs."""
    (tmp_path / "tokens").write_text(token_line("old", "first"))
    access = Access(Tokens(tmp_path / "tokens"))
    (tmp_path / "token").write_text("first\n")
    (tmp_path / "http.yml").write_text("authorization: {credentials_file: token}")
    app = create_app(FakeHub(SCENES["contended"]()), version="1", access=access)
    with closing(WebServer(app, "127.0.0.1", 0)) as server:
        server.start()
        with closing(Source(server.url, tmp_path / "http.yml")) as source:
            assert source.get("/api/gpus", "gpus")
            (tmp_path / "tokens").write_text(token_line("renewed", "second"))
            with pytest.raises(AnswerError, match="authentication required"):
                source.get("/api/gpus", "gpus")
            (tmp_path / "token").write_text("second\n")
            assert source.get("/api/gpus", "gpus")


def test_the_cluster_of_a_question_or_of_the_command_limits_the_answer() -> None:
    """An agent names it in a question; with `--cluster`, it gets no other."""
    with closing(WebServer(create_app(FakeHub(fleet()), version="1"), "127.0.0.1", 0)) as server:
        server.start()
        for command, question, hosts in ((None, "us", {"us"}), ("eu", "us", {"eu"}), (None, "", {"eu", "us"})):
            with closing(Source(server.url, cluster=command)) as source:
                rows = source.get("/api/services", "services", cluster=question)["services"]
                assert {row["service"].partition("//")[0] for row in rows} == hosts, (command, question)


@pytest.mark.parametrize("form", ["table", "csv"])
def test_a_table_says_the_cluster_in_words_and_csv_has_the_names(
    form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Commands take the names; a person reads `shop/embedder in eu`."""
    commands = ("get services", "get gpus", "get pools", "get targets", "incident list", "silence list")
    with closing(WebServer(create_app(FakeHub(fleet()), version="1"), "127.0.0.1", 0)) as server:
        server.start()
        monkeypatch.setenv("FORESHOCK_HUB", server.url)
        silence = "silence create --service eu//shop/embedder --noisy-neighbor eu//shop/train-llm --for 1h"
        for command in (silence, *commands):
            assert main([*command.split(), "-o", form]) == 0
            shown = capsys.readouterr().out
            assert ("//" in shown) is (form == "csv"), shown
            assert " in eu" in shown or form == "csv", shown
            if "silence" in command and form == "table":
                assert "shop/embedder in eu / shop/train-llm" in shown


@pytest.mark.parametrize(
    ("pool", "tiers", "cells"),
    [
        (None, {"gold": ["chat"], "": ["batch", "eval"]}, ["host-0/gpu-0", "-", "gold: chat; (none): batch,eval"]),
        (
            "eu//chat",
            {"eu//gold": ["eu//ml/chat"], "eu//": ["eu//batch"]},
            ["host-0/gpu-0 in eu", "chat in eu", "gold: ml/chat; (none): batch"],
        ),
    ],
)
def test_a_shared_gpu_has_its_pool_and_tiers_in_words(
    pool: str | None, tiers: dict[str, list[str]], cells: list[str]
) -> None:
    """The name of the GPU says the cluster of them all; without a pool there is none."""
    row = {"gpu": "eu//host-0/gpu-0" if pool else "host-0/gpu-0", "pool": pool, "tiers": tiers}
    assert re.split(" {2,}", table([row], SHARED_COLUMNS).splitlines()[1]) == cells
