"""A running scenario: deterministic, complete, and unaffected by readers."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from foreshock_exporter.gpu.contention import ServiceKey
from foreshock_exporter.model.family import Families
from foreshock_simulator.scenarios.load import load
from foreshock_simulator.simulation import Simulation, exporters
from foreshock_simulator.spec.faults import (
    Fault,
    LostScrapes,
    PacketLoss,
    ReplicasFail,
    Restart,
    SlowerWork,
    TenantGrows,
)
from foreshock_simulator.tracing.spans import SimSpan

pytestmark = pytest.mark.slow

START = 1_767_600_000.0


def simulation(scenario: str = "calm", seed: int = 1, size: str = "small", **options: float) -> Simulation:
    return Simulation(load(scenario, size), seed, START, **options)  # type: ignore[arg-type]


def with_faults(*faults: Fault, size: str = "small") -> Simulation:
    return Simulation(replace(load("calm", size), faults=faults), 1, START)


def plain(spans: tuple[SimSpan, ...]) -> list[tuple[object, ...]]:
    return [(span.trace_id, span.span_id, span.name, span.start_ns, span.end_ns, span.attributes) for span in spans]


def values(families: Families, name: str) -> dict[tuple[str, ...], float]:
    """Samples of a family."""
    return {sample.labels: sample.value for family, samples in families for sample in samples if family.name == name}  # type: ignore[union-attr]  # no histogram is read


def test_spans_do_not_depend_on_the_split_of_the_run_or_on_readers() -> None:
    """Byte for byte; another seed gives other spans."""
    whole = plain(simulation("starve").advance(START + 60))
    cut = simulation("starve")
    read = exporters(cut, lambda: cut.now)
    found = []
    for step in range(1, 241):
        found += plain(cut.advance(START + step / 4))
        for exporter in read:
            exporter.sample(cut.now)
        cut.inference()
        cut.capacity()
    assert found == whole
    assert len(whole) > 500
    assert plain(simulation("starve", seed=2).advance(START + 60)) != whole


def test_sampling_and_counting_do_not_affect_the_run() -> None:
    """Sampled spans are a subset; outcomes of users are equal."""
    everything, part = simulation(), simulation(sample=0.2, count=True)
    spans, some = plain(everything.advance(START + 120)), plain(part.advance(START + 120))
    assert everything.users == part.users
    assert [span for span in spans if span in some] == some
    assert 0.1 < len({span[0] for span in some}) / len({span[0] for span in spans}) < 0.3
    server = [each for each in part.counts.durations if each.kind == "server"]
    counted = sum(len(each.answered) + len(each.failed) for each in server)
    assert counted == sum(span.kind == "server" for span in simulation().advance(START + 120))


def test_every_request_of_a_user_ends_once() -> None:
    """Through an overload in which some fail."""
    running = with_faults(TenantGrows("batch-embed", 30.0, 3, onto=("llm-chat",), ramp=10.0))
    for minute in range(1, 11):
        running.advance(START + 60.0 * minute)
        users = running.users
        assert users.entered == users.answered + users.failed + users.given_up + users.open
    assert users.entered > 1000


def test_an_exporter_reports_gpu_contention_by_service() -> None:
    """From the growth of the batch tenant on, it stalls llm-chat, and the parts add up to the device."""
    running = with_faults(TenantGrows("batch-embed", 60.0, 2, onto=("llm-chat",), ramp=5.0))
    hosts = exporters(running, lambda: running.now)
    for second in range(1, 181):
        running.advance(START + second)
        for exporter in hosts:
            exporter.sample(START + second)
    gpu_wait = 0.0
    for exporter in hosts:
        snapshot = exporter.snapshot()
        assert snapshot.gpus is not None
        for gpu in snapshot.gpus.gpus:
            totals = gpu.totals
            assert totals.busy == pytest.approx(sum(totals.service_busy.values()) + totals.unattributed)
            gpu_wait += totals.gpu_wait_by.get(
                (ServiceKey("serving", "llm-chat"), ServiceKey("ml", "batch-embed")), 0.0
            )
    assert gpu_wait > 20.0


def test_model_servers_export_vllm_metrics() -> None:
    """Tokens and requests are those of the spans; each server is a separate target."""
    running = simulation()
    spans = running.advance(START + 120)
    pages = {address: page for address, page in running.inference().items() if address.startswith("llm-chat-")}
    served = [span for span in spans if span.kind == "server" and span.resource["service.name"] == "llm-chat"]

    def total(name: str) -> float:
        return sum(sum(values(page, name).values()) for page in pages.values())

    assert total("vllm:request_success_total") == sum(span.code == 200 for span in served) > 50
    tokens = sum(int(span.attributes["gen_ai.usage.output_tokens"]) for span in served)
    assert total("vllm:generation_tokens_total") >= tokens
    assert len(pages) == len({span.resource["service.instance.id"] for span in served})
    for page in pages.values():
        names = {family.name for family, _ in page}
        assert {"vllm:num_requests_waiting", "vllm:kv_cache_usage_perc", "vllm:time_to_first_token_seconds"} <= names


def test_a_cluster_exports_kube_state_metrics() -> None:
    """Failed replicas are not ready until new ones have loaded; GPUs report the error."""
    running = with_faults(ReplicasFail("llm-chat", 30.0, 1, duration=30.0, xid=79))
    chat = ("serving", "llm-chat")
    running.advance(START + 10)
    whole = values(running.capacity(), "kube_deployment_status_replicas_ready")[chat]
    running.advance(START + 40)
    assert values(running.capacity(), "kube_deployment_status_replicas_ready")[chat] == whole - 1
    assert [xid.xid for host in running.hosts for xid in host.driver.xids(0.0)] == [79]
    running.advance(START + 240)
    assert values(running.capacity(), "kube_deployment_status_replicas_ready")[chat] == whole


def test_a_rolling_restart_replaces_every_replica_and_loses_no_request() -> None:
    """New pids, one after another."""
    running = with_faults(Restart("gateway", 10.0, pause=1.0))
    before = {span.resource["process.pid"] for span in running.advance(START + 10) if _of(span, "gateway")}
    running.advance(START + 400)
    after = {span.resource["process.pid"] for span in running.advance(START + 430) if _of(span, "gateway")}
    assert before
    assert not before & after
    assert running.users.failed == 0


@pytest.mark.parametrize("restarted", ["", "reranker"])
def test_services_of_a_mig_pool_have_instances_of_their_own(restarted: str) -> None:
    """Embedder, reranker and batch tenant fit together on the first GPU; a new replica finds the free instance."""
    spec = load("isolated-batch", "demo")
    faults = (Restart(restarted, 1.0, pause=1.0),) if restarted else ()
    running = Simulation(replace(spec, faults=faults), 1, START, sample=0.0)
    running.advance(START + 400.0 * len(faults))
    pool = next(pool for pool in running.spec.platform.pools if pool.name == "embed")
    hosts = {host.host_name: host for host in running.hosts}
    for host, gpu in pool.places:
        held = [instance.memory_used_bytes for instance in hosts[host].driver.read(gpu).instances]
        assert held == [8e9, 10e9, 4e9]


def test_a_service_degrades_over_the_ramp_and_recovers_at_once() -> None:
    """The store of an idle platform answers in the time that its work takes: 4 times as long halfway, 7 at the end."""

    def median(spans: tuple[SimSpan, ...]) -> float:
        took = [span.end_ns - span.start_ns for span in spans if _of(span, "vector-store") and "POST" in span.name]
        assert len(took) > 200
        return sorted(took)[len(took) // 2]

    running = with_faults(SlowerWork("vector-store", 400.0, factor=7.0, ramp=1200.0, duration=1600.0))
    baseline = median(running.advance(START + 400))
    running.advance(START + 950)
    halfway = median(running.advance(START + 1050))
    running.advance(START + 1600)
    full = median(running.advance(START + 2000))
    running.advance(START + 2010)
    after = median(running.advance(START + 2410))
    assert halfway / baseline == pytest.approx(4.0, rel=0.15)
    assert full / baseline == pytest.approx(7.0, rel=0.15)
    assert after / baseline == pytest.approx(1.0, rel=0.15)


def test_losses_grow_over_the_ramp_and_end() -> None:
    """Ratio of retransmitted TCP segments between the hosts of two services."""
    running = with_faults(PacketLoss(("gateway", "vector-store"), 60.0, 0.2, ramp=120.0, duration=240.0))
    again = []
    for until in (60.0, 120.0, 180.0, 300.0, 310.0, 370.0):
        running.advance(START + until)
        pages = [host.collectors["netstat"]() for host in running.hosts]
        again.append(sum(sum(values(page, "node_netstat_Tcp_RetransSegs").values()) for page in pages))
    quiet, first, second, full, _, healed = (later - earlier for earlier, later in pairwise([0.0, *again]))
    assert quiet == healed == 0.0
    assert 0.0 < 2.0 * first < second < full


def test_counters_never_decrease_and_outages_follow_the_scenario() -> None:
    """The recorder gets the times, and the restart of the exporters."""
    running = with_faults(LostScrapes(20.0, 10.0, hosts=("host-1",)))
    assert [tuple(each) for each in running.outages] == [(START + 20.0, START + 30.0, ("host-1",), True)]
    energy = []
    for second in range(1, 30):
        running.advance(START + second)
        energy.append(running.hosts[0].driver.counters(0).energy_joules or 0.0)
    assert all(later > earlier for earlier, later in pairwise(energy))


def _of(span: SimSpan, service: str) -> bool:
    return span.kind == "server" and span.resource["service.name"] == service
