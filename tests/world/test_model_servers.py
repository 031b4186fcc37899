"""Metrics of vLLM, SGLang, TGI, and Triton become the same figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.world.scraped import Page, world_scraped

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World
from foreshock_dashboard.model.world_sections import ModelServers, Replica

LLM = Service("", "llm")
ONE, TWO = ("servers", "a:8000"), ("servers", "b:8000")


def vllm(running: int = 6, waiting: int = 2, labels: str = 'model_name="llm"', cache: float = 0.5) -> Page:
    """A vLLM server that completes 2 requests/s, each after 3 s, with 1.5 s in the queue."""

    def page(t: float) -> str:
        return f"""
vllm:num_requests_running{{engine="0",{labels}}} {running}
vllm:num_requests_waiting{{engine="0",{labels}}} {waiting}
vllm:kv_cache_usage_perc{{engine="0",{labels}}} {cache}
vllm:num_preemptions_total{{engine="0",{labels}}} {0.1 * t}
vllm:request_success_total{{engine="0",finished_reason="stop",{labels}}} {1.5 * t}
vllm:request_success_total{{engine="0",finished_reason="length",{labels}}} {0.5 * t}
vllm:prompt_tokens_total{{engine="0",{labels}}} {800 * t}
vllm:generation_tokens_total{{engine="0",{labels}}} {400 * t}
vllm:request_queue_time_seconds_sum{{engine="0",{labels}}} {3 * t}
vllm:request_queue_time_seconds_count{{engine="0",{labels}}} {2 * t}
vllm:time_to_first_token_seconds_bucket{{engine="0",le="1.0",{labels}}} {1 * t}
vllm:time_to_first_token_seconds_bucket{{engine="0",le="2.0",{labels}}} {2 * t}
vllm:time_to_first_token_seconds_bucket{{engine="0",le="+Inf",{labels}}} {2 * t}
vllm:inter_token_latency_seconds_sum{{engine="0",{labels}}} {10 * t}
vllm:inter_token_latency_seconds_count{{engine="0",{labels}}} {400 * t}
vllm:e2e_request_latency_seconds_sum{{engine="0",{labels}}} {6 * t}
vllm:e2e_request_latency_seconds_count{{engine="0",{labels}}} {2 * t}
"""

    return page


def older(page: Page) -> Page:
    """The same server under the names of vLLM before 0.11."""
    names = {"kv_cache": "gpu_cache", "inter_token_latency": "time_per_output_token"}

    def renamed(t: float) -> str:
        text = page(t) or ""
        for new, old in names.items():
            text = text.replace(new, old)
        return text

    return renamed


def sglang(t: float) -> str:
    """The same figures in SGLang's names."""
    return f"""
sglang:num_running_reqs{{model_name="llm"}} 6
sglang:num_queue_reqs{{model_name="llm"}} 2
sglang:token_usage{{model_name="llm"}} 0.5
sglang:num_requests_total{{model_name="llm"}} {2 * t}
sglang:prompt_tokens_total{{model_name="llm"}} {800 * t}
sglang:generation_tokens_total{{model_name="llm"}} {400 * t}
sglang:queue_time_seconds_sum{{model_name="llm"}} {3 * t}
sglang:queue_time_seconds_count{{model_name="llm"}} {2 * t}
sglang:time_to_first_token_seconds_bucket{{le="1.0",model_name="llm"}} {1 * t}
sglang:time_to_first_token_seconds_bucket{{le="2.0",model_name="llm"}} {2 * t}
sglang:time_to_first_token_seconds_bucket{{le="+Inf",model_name="llm"}} {2 * t}
sglang:inter_token_latency_seconds_sum{{model_name="llm"}} {10 * t}
sglang:inter_token_latency_seconds_count{{model_name="llm"}} {400 * t}
sglang:e2e_request_latency_seconds_sum{{model_name="llm"}} {6 * t}
sglang:e2e_request_latency_seconds_count{{model_name="llm"}} {2 * t}
"""


def tgi(t: float) -> str:
    """The same figures of a TGI server, which has no model name: its job is the service."""
    return f"""
tgi_batch_current_size 6
tgi_queue_size 2
tgi_request_success {2 * t}
tgi_request_input_length_sum {800 * t}
tgi_request_generated_tokens_sum {400 * t}
tgi_request_queue_duration_sum {3 * t}
tgi_request_queue_duration_count {2 * t}
tgi_request_mean_time_per_token_duration_sum {0.05 * t}
tgi_request_mean_time_per_token_duration_count {2 * t}
tgi_request_duration_sum {6 * t}
tgi_request_duration_count {2 * t}
"""


def triton(t: float) -> str:
    """The same of Triton: times in microseconds, for two versions of a model."""
    return "\n".join(
        f"""
nv_inference_pending_request_count{{model="llm",version="{version}"}} 1
nv_inference_request_success{{model="llm",version="{version}"}} {t}
nv_inference_queue_duration_us{{model="llm",version="{version}"}} {1.5e6 * t}
nv_inference_request_duration_us{{model="llm",version="{version}"}} {3e6 * t}
"""
        for version in (1, 2)
    )


def model_servers(world: World) -> ModelServers:
    """The model servers of a World."""
    assert world.model_servers
    return world.model_servers


ALL = {
    "running": 6,
    "waiting": 2,
    "cache": 0.5,
    "preempted": 0.1,
    "finished": 2,
    "queued": 1.5,
    "first_token": 1.9,
    "per_token": 0.025,
    "prompt_tokens": 800,
    "generated_tokens": 400,
    "replica_busy": 8,
    "replica_finished": 2,
    "replica_seconds": 3,
}


@pytest.mark.parametrize(
    ("page", "absent"),
    [
        (vllm(), set()),
        (older(vllm()), set()),
        (sglang, {"preempted"}),
        (tgi, {"cache", "preempted", "first_token"}),
        (triton, {"running", "cache", "preempted", "first_token", "per_token", "prompt_tokens", "generated_tokens"}),
    ],
    ids=["vLLM", "vLLM before 0.11", "SGLang", "TGI", "Triton"],
)
def test_every_kind_of_model_server_has_the_same_figures(tmp_path: Path, page: Page, absent: set[str]) -> None:
    """In standard units; a figure that one does not export is absent, not zero."""
    world = world_scraped(tmp_path, {("llm", "a:8000"): page})
    found = {key: getattr(model_servers(world), key)[0, -1] for key in ALL}
    expected = {key: value for key, value in ALL.items() if key not in absent}
    if page is triton:
        expected["replica_busy"] = 2

    assert model_servers(world).services == world.services == (LLM,)
    assert {key: value for key, value in found.items() if not np.isnan(value)} == pytest.approx(expected, rel=1e-6)


def test_replicas_are_summed_by_service_and_their_caches_averaged(tmp_path: Path) -> None:
    """Cache usage is the mean of the replicas; a mean duration is over all their requests."""
    world = world_scraped(tmp_path, {ONE: vllm(6, 2, cache=0.2), TWO: vllm(10, 0, cache=0.8)})
    found = model_servers(world)

    assert found.replicas == (Replica(LLM, "a:8000"), Replica(LLM, "b:8000"))
    assert [rows[0, -1] for rows in (found.running, found.waiting, found.cache)] == pytest.approx([16, 2, 0.5])
    assert (found.finished[0, -1], found.queued[0, -1], found.first_token[0, -1]) == pytest.approx((4, 1.5, 1.9))
    assert found.replica_busy[:, -1].tolist() == [8, 10]


def test_engines_of_one_server_are_one_replica_with_their_mean_cache_usage(tmp_path: Path) -> None:
    """Data-parallel engines have a cache each."""

    def page(t: float) -> str:
        first = vllm(cache=0.2)(t) or ""
        return first + (vllm(cache=0.6)(t) or "").replace('engine="0"', 'engine="1"')

    found = model_servers(world_scraped(tmp_path, {ONE: page}))

    assert len(found.replicas) == 1
    assert (found.running[0, -1], found.cache[0, -1]) == pytest.approx((12, 0.4))


def test_pods_on_one_page_are_separate_replicas(tmp_path: Path) -> None:
    """Two full caches are full, not used to 200%."""

    def page(t: float) -> str:
        first, second = 'k8s_pod_name="llm-0",model_name="llm"', 'pod="llm-1",model_name="llm"'
        pods = (vllm(6, 2, first, 1.0), vllm(4, 0, second, 0.9))
        return "".join(pod(t) or "" for pod in pods)

    found = model_servers(world_scraped(tmp_path, {ONE: page}))

    assert found.replicas == (Replica(LLM, "llm-0"), Replica(LLM, "llm-1"))
    assert (found.running[0, -1], found.cache[0, -1]) == pytest.approx((10, 0.95))
    assert found.replica_busy[:, -1].tolist() == [8, 4]


def test_a_lost_replica_has_no_values_while_its_rates_fade(tmp_path: Path) -> None:
    """It is down or no longer scraped."""
    world = world_scraped(tmp_path, {ONE: vllm(), TWO: lambda t: vllm()(t) if t < 100 else None})
    found = model_servers(world)

    assert found.running[0, -3:].tolist() == [6, 6, 6]
    assert found.finished[0, -1] == pytest.approx(2)
    assert np.isnan(found.replica_finished[1, -3:]).all()
    assert found.replica_finished[1, -4] == pytest.approx(2)


def test_the_service_labels_of_a_server_are_its_service(tmp_path: Path) -> None:
    """They come before the model name."""
    labels = 'model_name="m",service_name="chat",service_namespace="serving"'
    world = world_scraped(tmp_path, {ONE: vllm(labels=labels)})

    assert model_servers(world).services == (Service("serving", "chat"),)


def test_model_servers_are_none_without_any(tmp_path: Path) -> None:
    """None, not empty rows."""
    assert world_scraped(tmp_path, {ONE: lambda _: ""}).model_servers is None
