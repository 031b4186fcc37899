"""Scrape targets of a file: credentials, and discovery by real files, HTTP, DNS, and Kubernetes' API."""

from __future__ import annotations

import json
import queue
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dns.message
import dns.resolver
import dns.rrset
import pytest
from tests.conftest import Eventually
from tests.sources.http_config.conftest import Secured

from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.common.reloading_file import FileError
from foreshock_dashboard.model.samples import Sample, SampleBatch, is_stale
from foreshock_dashboard.sources.discovery import jobs
from foreshock_dashboard.sources.discovery.jobs import Discovery
from foreshock_dashboard.sources.discovery.kubernetes import pod_watches
from foreshock_dashboard.sources.discovery.scrape_config import KubernetesSd, read_targets_file
from foreshock_dashboard.sources.discovery.sources import MAX_BYTES
from foreshock_dashboard.sources.prometheus.scrape import Scraper
from foreshock_dashboard.sources.prometheus.text_format import parse

pytestmark = pytest.mark.slow

PAGE = 'gpu_busy{instance="own"} 1\n'


class Running:
    """A scraper with the discovery of a file, which keeps all samples."""

    def __init__(self, scraper: Scraper, found: Discovery, samples: list[Sample]) -> None:
        self.scraper, self.found, self.samples = scraper, found, samples

    def instances(self) -> set[str]:
        """Instances of the present targets."""
        return {state.target.instance for state in self.scraper.states()}

    def up(self, instance: str) -> float | None:
        """The last value of `up`; NaN once it is stale, None before the first."""
        values = [s.value for s in self.samples if s.metric == "up" and dict(s.labels)["instance"] == instance]
        return values[-1] if values else None


Run = Callable[..., Running]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Scrapes the targets of a file."""
    monkeypatch.setattr(jobs, "PUBLISH_SECONDS", 0.05)
    monkeypatch.setattr(jobs, "RETRY_SECONDS", 0.05)
    with ExitStack() as opened:

        def start(text: str, folder: Path = tmp_path) -> Running:
            (folder / "targets.yml").write_text(text)
            samples: list[Sample] = []

            def keep(batches: Sequence[SampleBatch]) -> None:
                samples.extend([sample for batch in batches for sample in batch.samples])  # at once

            found = opened.enter_context(closing(Discovery(read_targets_file(folder / "targets.yml"))))
            scraper = opened.enter_context(closing(Scraper([], sink=keep, clock=Clock(), interval=0.05)))
            scraper.start()
            found.start(scraper)
            return Running(scraper, found, samples)

        yield start


@contextmanager
def serving(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """An HTTP server; gives host and port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass  # a client that hangs up is part of the tests

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def send(request: BaseHTTPRequestHandler, body: str, status: int = 200, kind: str = "text/plain") -> None:
    """Send a whole answer."""
    request.send_response(status)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(len(body.encode())))
    request.end_headers()
    request.wfile.write(body.encode())


@pytest.fixture
def page() -> Iterator[str]:
    """Host and port of a page of metrics, at any path."""
    with serving(lambda request: send(request, PAGE)) as address:
        yield address


def test_a_target_is_scraped_over_tls_with_its_credentials(secured: Secured, run: Run, eventually: Eventually) -> None:
    """A real Prometheus refuses the scrape without, and the error names the option."""
    address = secured.url.removeprefix("https://")
    tls = "tls_config: {ca_file: ca.pem, cert_file: client.crt, key_file: client.key}"
    text = f"scheme: https, {tls}, static_configs: [{{targets: ['{address}'], labels: {{cluster: eu}}}}]"
    anonymous = run(f"scrape_configs: [{{job_name: prom, {text}}}]", secured.folder)
    eventually(lambda: anonymous.up(address) == 0.0, "a scrape without password")
    eventually(
        lambda: anonymous.scraper.states()[0].error == "returned 401; set credentials with --targets-file", "the reason"
    )
    known = run(
        f"scrape_configs: [{{job_name: prom, basic_auth: {{username: ada, password_file: password}}, {text}}}]",
        secured.folder,
    )
    eventually(lambda: known.up(address) == 1.0, "a scrape with password")
    assert {("cluster", "eu"), ("job", "prom")} <= {pair for sample in known.samples for pair in sample.labels}


def rewrite(path: Path, text: str) -> None:
    """At once: a reader sees no half of it."""
    (written := path.with_suffix(".new")).write_text(text)
    written.replace(path)


def test_files_are_read_again_and_a_removed_target_ends(
    page: str, run: Run, tmp_path: Path, eventually: Eventually
) -> None:
    """JSON and YAML by a pattern. A file with a mistake leaves the targets as they were, and is named."""
    (tmp_path / "a.json").write_text(json.dumps([{"targets": [page], "labels": {"rack": "1"}}]))
    (tmp_path / "b.yml").write_text(f"- targets: ['{page}']\n  labels: {{instance: second, drop: me}}\n")
    running = run(
        "scrape_configs: [{job_name: gpu, file_sd_configs: [{files: ['*.json', b.yml], refresh_interval: 50ms}], "
        "relabel_configs: [{source_labels: [__meta_filepath], regex: '.*/(.*)', target_label: file}]}]"
    )
    eventually(lambda: running.instances() == {page, "second"}, "both targets")
    eventually(lambda: running.up("second") == running.up(page) == 1.0, "a scrape of both")
    assert ("file", "a.json") in {pair for sample in running.samples for pair in sample.labels}
    rewrite(tmp_path / "b.yml", "- targets: 7\n")
    eventually(lambda: "b.yml: groups[0].targets" in running.found.states()[0].error, "the mistake")
    assert running.instances() == {page, "second"}
    rewrite(tmp_path / "b.yml", " " * (MAX_BYTES + 1))
    eventually(lambda: "b.yml: is larger than 8 MiB. List fewer" in running.found.states()[0].error, "the bound")
    (tmp_path / "b.yml").unlink()
    eventually(lambda: running.instances() == {page}, "one target is gone")
    eventually(lambda: is_stale(running.up("second") or 0.0), "its series ended")
    ended = {sample.metric for sample in running.samples if is_stale(sample.value)}
    assert ended == {"up", "scrape_duration_seconds", "scrape_samples_scraped", "gpu_busy"}
    eventually(lambda: running.found.states()[0].error == "", "no mistake is left")


def test_targets_are_read_from_an_address_with_credentials(page: str, run: Run, eventually: Eventually) -> None:
    """The relabeling keeps some of them, and sets the path and a parameter."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        if request.headers["Authorization"] != "Bearer sesame":
            send(request, "no", 401)
            return
        groups = [{"targets": [page, "127.0.0.1:1"], "labels": {"role": "gpu"}}, {"targets": ["db:1"]}]
        send(request, json.dumps(groups), kind="application/json")

    with serving(answer) as address:
        sd = f"http_sd_configs: [{{url: 'http://{address}/', refresh_interval: 50ms, authorization: {{credentials: %s"
        sd += "}}]"
        steps = (
            "params: {format: [prometheus]}, metrics_path: /gpu, relabel_configs: ["
            "{source_labels: [role], regex: gpu, action: keep}, "
            "{source_labels: [__address__], regex: '.*:1', action: drop}]"
        )
        refused = run(f"scrape_configs: [{{job_name: gpu, {sd % 'wrong'}}}]")
        eventually(lambda: "returned 401. Check its log, and the credentials" in refused.found.states()[0].error, "why")
        running = run(f"scrape_configs: [{{job_name: gpu, {sd % 'sesame'}, {steps}}}]")
        eventually(lambda: running.up(page) == 1.0, "a scrape")
        assert [state.target.url for state in running.scraper.states()] == [f"http://{page}/gpu?format=prometheus"]


def test_an_invalid_target_is_named_and_the_others_are_scraped(page: str, run: Run, eventually: Eventually) -> None:
    """As in Prometheus: one line of a list costs itself alone. A password in it is not shown."""
    addresses = f"['ada:secret@{page}', 'bad:port', '{page}', 'h:1/metrics', '']".replace("''", "' '")
    running = run(f"scrape_configs: [{{job_name: gpu, static_configs: [{{targets: {addresses}}}]}}]")
    eventually(lambda: running.up(page) == 1.0, "a scrape of the valid one")
    (state,) = running.found.states()
    assert state.targets == 1
    assert state.error.startswith(f"4 of 5 targets are invalid; first: target '{page}': use HOST:PORT, and ")


def test_targets_are_found_by_dns(page: str, run: Run, eventually: Eventually, monkeypatch: Any) -> None:  # noqa: ANN401
    """By addresses with a port of the file, and by SRV records with their own."""
    host, _, port = page.partition(":")
    records = {
        ("gpus.example.", "A"): dns.rrset.from_text("gpus.example.", 1, "IN", "A", host),
        ("_m._tcp.example.", "SRV"): dns.rrset.from_text("_m._tcp.example.", 1, "IN", "SRV", f"0 0 {port} localhost."),
    }
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def answer() -> None:
            while True:
                try:
                    data, client = server.recvfrom(4096)
                except OSError:
                    return
                asked = dns.message.from_wire(data)
                reply = dns.message.make_response(asked)
                question = asked.question[0]
                name, kind = str(question.name), dns.rdatatype.to_text(question.rdtype)
                if record := records.get((name, kind)):
                    reply.answer.append(record)
                else:
                    reply.set_rcode(dns.rcode.NXDOMAIN)
                server.sendto(reply.to_wire(), client)

        threading.Thread(target=answer, daemon=True).start()
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], server.getsockname()[1]
        monkeypatch.setattr(dns.resolver, "default_resolver", resolver)
        running = run(
            "scrape_configs: [{job_name: gpu, dns_sd_configs: ["
            f"{{names: [gpus.example, none.example], type: A, port: {port}}}, {{names: [_m._tcp.example]}}]}}]"
        )
        eventually(lambda: running.instances() == {page, f"localhost:{port}"}, "both")
        eventually(lambda: running.up(page) == 1.0, "a scrape")
    assert running.found.states()[0].error == ""


def pod(name: str, address: str, **more: str) -> dict[str, Any]:
    """A pod as the API returns it, with one port."""
    host, _, port = address.partition(":")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "serving", "uid": f"uid-{name}", "resourceVersion": "2", "labels": more,
            "annotations": {"prometheus.io/scrape": "true"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "llm", "controller": True}],
        },
        "spec": {"nodeName": "node-1", "containers": [{"name": "c", "ports": [{"containerPort": int(port)}]}]},
        "status": {"podIP": host, "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }  # fmt: skip


def test_pods_are_listed_and_watched(page: str, run: Run, tmp_path: Path, eventually: Eventually) -> None:
    """A server that speaks the API of pods: list, watch, and a token. Labels of the pod reach the series."""
    events: queue.Queue[Mapping[str, Any]] = queue.Queue()
    seen: list[str] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        seen.append(request.path)
        if request.headers["Authorization"] != "Bearer sesame":
            send(request, "{}", 403, "application/json")
        elif "watch=" not in request.path:
            items = [pod("llm-1", page, app="llm"), {**pod("pending", page), "status": {}}]
            listed = {"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "7"}, "items": items}
            send(request, json.dumps(listed), kind="application/json")
        else:
            request.send_response(200)
            request.send_header("Content-Type", "application/json")
            request.send_header("Transfer-Encoding", "chunked")
            request.end_headers()
            while event := events.get():
                line = json.dumps(event).encode() + b"\n"
                request.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
            events.put({})  # the next watch ends as well
            request.wfile.write(b"0\r\n\r\n")

    with serving(answer) as address:
        (tmp_path / "token").write_text("sesame")
        steps = (
            "{source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape], regex: 'true', action: keep}, "
            "{source_labels: [__meta_kubernetes_pod_name], target_label: instance}, "
            "{regex: __meta_kubernetes_pod_label_(.+), action: labelmap}"
        )
        server = f"role: pod, api_server: 'http://{address}', authorization: {{credentials_file: token}}"
        sd = f"{server}, namespaces: {{names: [serving]}}, selectors: [{{role: pod, label: app}}]"
        running = run(
            f"scrape_configs: [{{job_name: llm, kubernetes_sd_configs: [{{{sd}}}], relabel_configs: [{steps}]}}]"
        )
        eventually(lambda: running.up("llm-1") == 1.0, "a scrape of the listed pod")
        assert ("app", "llm") in {pair for sample in running.samples for pair in sample.labels}
        events.put({"type": "ADDED", "object": pod("llm-2", page)})
        eventually(lambda: running.up("llm-2") == 1.0, "a scrape of the new pod")
        events.put({"type": "DELETED", "object": pod("llm-1", page)})
        eventually(lambda: running.instances() == {"llm-2"}, "the deleted pod is gone")
        assert "/api/v1/namespaces/serving/pods?" in seen[0]
        assert "labelSelector=app" in seen[0]
        assert "resourceVersion=7" in seen[1]
        (tmp_path / "token").write_text("wrong")
        refused = run(f"scrape_configs: [{{job_name: llm, kubernetes_sd_configs: [{{{server}}}]}}]")
        eventually(
            lambda: "returned 403. Allow get, list, and watch of pods" in refused.found.states()[0].error,
            "why",
        )
        events.put({})


def event(kind: str, version: str, name: str = "", **more: str) -> dict[str, Any]:
    """A change as the API streams it; without a name a bookmark."""
    content: dict[str, Any] = pod(name, "10.0.0.1:80", **more) if name else {"kind": "Pod", "metadata": {}}
    content["metadata"]["resourceVersion"] = version
    return {"type": kind, "object": content}


EXPIRED = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old resource version"}}


def watch_api(watches: list[list[dict[str, Any]] | int], seen: list[str]) -> Callable[[BaseHTTPRequestHandler], None]:
    """Answers with two pages of pods, and with the events, or the status, of each watch; the last one again."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        seen.append(request.path)
        if "watch=" in request.path:
            given = watches.pop(0) if len(watches) > 1 else watches[0]
            events, status = ([], given) if isinstance(given, int) else (given, 200)
            send(request, "".join(f"{json.dumps(one)}\n" for one in events), status, "application/json")
            return
        number, following = (2, "") if "continue=more" in request.path else (1, "more")
        meta = {"resourceVersion": "7", "continue": following}
        page = {"kind": "PodList", "metadata": meta, "items": [pod(f"p-{number}", f"10.0.0.{number}:80")]}
        send(request, json.dumps(page), kind="application/json")

    return answer


def test_a_watch_continues_at_the_last_change_and_makes_targets_of_changed_pods_alone() -> None:
    """The pods are listed again only if the API has forgotten that change."""
    seen: list[str] = []
    made: list[str] = []
    published: list[list[str]] = []

    def target(labels: Mapping[str, str]) -> str | None:
        made.append(name := labels["__meta_kubernetes_pod_name"])
        return None if name == "p-1" else name

    first = [event("ADDED", "8", "p-3"), event("BOOKMARK", "9")]
    second = [event("MODIFIED", "10", "p-3", app="llm"), event("DELETED", "11", "p-2"), EXPIRED]
    with serving(watch_api([first, second], seen)) as address:
        sd = KubernetesSd.model_validate({"role": "pod", "api_server": f"http://{address}"})
        (watch,) = pod_watches(sd)
        with closing(watch):
            watch.follow(target, published.append, lambda: None, threading.Event())
    assert made == ["p-1", "p-2", "p-3", "p-3"]
    assert published == [["p-2"], ["p-2", "p-3"], ["p-2", "p-3"], ["p-3"]]
    assert ["watch=1" in path for path in seen] == [False, False, True, True]
    assert all("limit=500" in path for path in seen[:2])
    assert ["resourceVersion=7" in seen[2], "resourceVersion=9" in seen[3]] == [True, True]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (403, "returned 403. Allow get, list, and watch of pods"),
        ([], "the watch ends immediately. Configure proxies not to buffer events"),
        (
            [{"type": "ERROR", "object": {"code": 500, "message": "etcd"}}],
            "the watch failed: etcd. Check the API server",
        ),
    ],
)
def test_a_watch_that_always_fails_is_one_error_with_a_pause_between(
    answer: Any,  # noqa: ANN401 - status or events
    error: str,
    run: Run,
    eventually: Eventually,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Though the list succeeds each time. Its targets are scraped."""
    seen: list[str] = []
    with serving(watch_api([answer], seen)) as address:
        sd = f"kubernetes_sd_configs: [{{role: pod, api_server: 'http://{address}'}}]"
        running = run(f"scrape_configs: [{{job_name: llm, {sd}}}]")
        eventually(lambda: len(seen) > 9, "three lists and watches")
        assert running.found.states()[0].error == f"Kubernetes: {error}"
        assert running.instances() == {"10.0.0.1:80", "10.0.0.2:80"}
        running.found.close()
    assert caplog.text.count(error) == 1


def test_exposed_labels_win_where_they_are_honored() -> None:
    """As `honor_labels` does in Prometheus."""
    target = {"instance": "a:1", "job": "gpu"}
    (plain,), (honored,) = (parse(PAGE, target, honor_labels=honor) for honor in (False, True))
    assert dict(plain.labels) == {"exported_instance": "own", **target}
    assert dict(honored.labels) == {"instance": "own", "job": "gpu"}


MISTAKES = {
    "scrape_configs: [{job_name: a, scrape_interval: 5s}]": "scrape_configs 0 scrape_interval: unknown key. Remove it",
    "scrape_configs: [{job_name: a, ec2_sd_configs: []}]": "Did you mean '",
    "global: {}\nscrape_configs: []": "global: unknown key. Keys: scrape_configs.",
    "scrape_configs: [{job_name: a}, {job_name: a}]": "two jobs are called 'a'. Rename one",
    "scrape_configs: [{job_name: a, static_configs: [{targets: 7}]}]": "static_configs 0 targets: Input should be a",
    "scrape_configs: [{job_name: a, relabel_configs: [{regex: '(', target_label: b}]}]": "is not a regular expression",
    "scrape_configs: [{job_name: a, relabel_configs: [{action: hashmod}]}]": "action: Input should be 'replace'",
    "scrape_configs: [{job_name: a, relabel_configs: [{}]}]": "target_label is missing. Set it, or another action.",
    "scrape_configs: [{job_name: a, dns_sd_configs: [{names: [a], type: A}]}]": "port is missing. A records do not",
    "scrape_configs: [{job_name: a, kubernetes_sd_configs: [{role: node}]}]": "role: Input should be 'pod'.",
    "scrape_configs: [{job_name: a, kubernetes_sd_configs: [{role: pod}]}]": "not in a Kubernetes cluster. Run in one,",
    "scrape_configs: [{job_name: a, http_sd_configs: [{url: x}]}]": "url: relative URL without a base.",
    "scrape_configs: [{job_name: a, http_sd_configs: [{url: 'http://u:s3cret@h/'}]}]": "url: a user and password here",
    "scrape_configs: [{job_name: a, kubernetes_sd_configs: [{role: pod, api_server: 'http://s3cret@h'}]}]": "exposed",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_in_the_file_is_named_with_its_place(text: str, tmp_path: Path) -> None:
    """And what to do."""
    (tmp_path / "targets.yml").write_text(text)
    with pytest.raises(FileError) as refused:
        Discovery(read_targets_file(tmp_path / "targets.yml"))
    assert MISTAKES[text] in str(refused.value)
    assert "s3cret" not in str(refused.value)
