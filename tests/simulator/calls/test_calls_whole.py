"""Calls over the simulated network to model servers on simulated GPUs: the parts fit, and their counts agree."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from tests.simulator.calls.stand import EPOCH_NS, flow, service

from foreshock_simulator.calls.mesh import Mesh
from foreshock_simulator.core.engine import Engine
from foreshock_simulator.core.randomness import random_stream
from foreshock_simulator.hardware.gpu import Host
from foreshock_simulator.hardware.worker import Worker
from foreshock_simulator.network.network import Network
from foreshock_simulator.serving.llm import LlmServer
from foreshock_simulator.serving.server import ModelServer, memory_bytes
from foreshock_simulator.spec.platform import HostSpec
from foreshock_simulator.spec.services import Call, CallPolicy, Cpu, LlmSpec, OperationSpec, Serve
from foreshock_simulator.tracing.spans import SimSpan

CHAT = "POST /v1/chat/completions"
LLM = LlmSpec("chat-13b")


class Rack:
    """Two hosts; a gateway on one, two language model servers on the other's GPUs."""

    def __init__(self, policy: CallPolicy) -> None:
        self.engine = Engine()
        self.network = Network(self.engine, random_stream(1, "network"))
        self.hosts = [Host(self.engine, HostSpec(name, gpus=2)) for name in ("host-1", "host-2")]
        for host in self.hosts:
            self.network.add(host.name, 25e9)
        self.mesh = Mesh(self.engine, 1, EPOCH_NS, self.network, count=True)
        model = replace(service("model", Serve()), model=LLM, operations=(OperationSpec(CHAT, (Serve(),)),))
        self.mesh.deploy([service("gateway", Cpu(0.002), Call("model", CHAT, policy)), model])
        self.mesh.services["gateway"].add(self.hosts[0])
        self.servers = [self._serve(gpu) for gpu in (0, 1)]

    def _serve(self, index: int) -> ModelServer:
        host, name = self.hosts[1], self.mesh.services["model"].name
        gpu = host.gpus[index]
        worker = Worker((gpu,), host.start(name), name, memory_bytes(LLM, gpu))
        server = LlmServer(self.engine, LLM, worker)
        self.mesh.services["model"].add(host, server, worker)
        return server

    def ask(self, count: int, seconds: float) -> list[SimSpan]:
        """Let users arrive evenly, and run until they are answered."""
        for _ in range(count):
            self.mesh.enter(flow("gateway"), 500, 40)
            self.engine.run(self.engine.now + seconds / count)
        self.engine.run(self.engine.now + 60.0)
        spans, self.mesh.spans = self.mesh.spans, []
        return spans


def test_spans_and_metrics_of_a_model_server_agree() -> None:
    """Requests and tokens add up, and the first token of each request lies within its span, after the queue time."""
    rack = Rack(CallPolicy(30.0))
    spans = [span for span in rack.ask(200, 20.0) if span.resource["service.name"] == "model"]
    assert rack.mesh.answered == len(spans) == 200
    stats = [server.stats() for server in rack.servers]
    assert sum(each.request_success_total for each in stats) == 200
    assert all(each.request_success_total > 50 for each in stats), "both replicas have served requests"
    for key, total in (
        ("gen_ai.usage.input_tokens", sum(each.prompt_tokens_total for each in stats)),
        ("gen_ai.usage.output_tokens", sum(each.generation_tokens_total for each in stats)),
    ):
        assert sum(int(span.attributes[key]) for span in spans) == total
    for span in spans:
        seconds = (span.end_ns - span.start_ns) / 1e9
        queued, first = (
            float(span.attributes[f"gen_ai.latency.{each}"]) for each in ("time_in_queue", "time_to_first_token")
        )
        assert 0.0 <= queued <= first < seconds
        assert seconds > 40 * 0.005, "forty tokens take as many steps"
    (use,) = rack.mesh.counts.models
    assert sum(use.first_token_seconds) == pytest.approx(
        sum(each.histograms["time_to_first_token"].sum for each in stats)
    )


def test_every_byte_of_calls_crosses_the_interfaces() -> None:
    """Requests in one direction, responses in the other, each with its headers."""
    rack = Rack(CallPolicy(30.0))
    rack.ask(50, 5.0)
    out, back = (rack.network.counters(host.name) for host in rack.hosts)
    assert out.transmit_bytes == back.receive_bytes > 50 * (900 + 5 * 500)
    assert back.transmit_bytes == out.receive_bytes > 50 * (900 + 5 * 40)


def test_cancelled_requests_leave_the_gpu() -> None:
    """Cancelled requests leave nothing running, and are no success."""
    rack = Rack(CallPolicy(0.1, cancels=True))
    spans = rack.ask(20, 1.0)
    assert rack.mesh.failed == 20
    assert [server.load for server in rack.servers] == [0, 0]
    assert sum(server.stats().request_success_total for server in rack.servers) == 0
    codes = [span.code for span in spans if span.resource["service.name"] == "model"]
    assert codes == [499] * 20


def test_spans_name_the_process_that_holds_the_gpu() -> None:
    """Host id and pid of a model's spans are those of its worker: the join of traces and GPUs."""
    rack = Rack(CallPolicy(30.0))
    spans = [span for span in rack.ask(20, 2.0) if span.resource["service.name"] == "model"]
    pids = {worker.pid for gpu in rack.hosts[1].gpus for worker in gpu.workers}
    assert {span.resource["process.pid"] for span in spans} == pids
    assert {span.resource["host.id"] for span in spans} == {rack.hosts[1].host_id}
    assert all(re.fullmatch(r"model-host-2-\d+", str(span.resource["service.instance.id"])) for span in spans)


def test_a_killed_server_process_fails_its_requests() -> None:
    """Its owner stops the worker; callers see resets and retry at the other replica."""
    rack = Rack(CallPolicy(30.0, attempts=2))
    for _ in range(10):
        rack.mesh.enter(flow("gateway"), 500, 40)
    rack.engine.run(0.1)
    model = rack.mesh.services["model"]
    victim = model.replicas[0]
    gone = model.retire(victim, drain=False)
    rack.servers[0].stop()
    assert gone.fired
    rack.engine.run(60.0)
    assert rack.mesh.answered == 10
    assert model.outcomes["killed"] == 5
    assert rack.servers[1].stats().request_success_total == 10
