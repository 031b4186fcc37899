"""Loads of the last weeks are read from a store for the capacity forecast, a piece at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from foreshock_dashboard.model.capacity.load import LoadKind, Subject
from foreshock_dashboard.model.capacity.slow_burn import SlowBurnKind
from foreshock_dashboard.model.query import Matrix, Query, SourceError
from foreshock_dashboard.model.samples import Sample, SampleBatch, labels_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world_sections import DAY_SECONDS
from foreshock_dashboard.replay.capacity_history import CapacityHistory
from foreshock_dashboard.store import Store
from foreshock_dashboard.world.builder import catalog

DAYS, HOURS, END = 2, 30, 1_767_600_000.0
WHO = Service("serving", "chat")
SERVICE = {"service_name": WHO.name, "service_namespace": WHO.namespace}
SERVED = labels_of({**SERVICE, "span_kind": "SPAN_KIND_SERVER", "job": "x"})
SERVER = labels_of({**SERVICE, "job": "x", "instance": "chat-0:8000", "model_name": "m"})

TARGET = {"job": "gpu", "instance": "host-1:9400"}
GPU = labels_of({**TARGET, "uuid": "GPU-1"})
NODE = labels_of({"job": "node", "instance": "host-1:9100"})
EXPIRY = "probe_ssl_earliest_cert_expiry"
PROBE = labels_of({"job": "blackbox", "instance": "https://shop.example.com"})
CERTIFICATE = "shop.example.com", SlowBurnKind.CERTIFICATE


def scrapes() -> Iterator[SampleBatch]:
    """Two requests and forty tokens per second, and after twenty hours twice as much."""
    requests = 0.0
    for time in np.arange(END - HOURS * 3600, END + 60, 60.0).tolist():
        requests += 60 * (4 if time > END - 10 * 3600 else 2)
        yield SampleBatch(
            time,
            "x",
            (
                Sample("traces_span_metrics_calls_total", SERVED, requests),
                Sample("vllm:generation_tokens_total", SERVER, 20 * requests),
                Sample("vllm:num_requests_running", SERVER, 3.0),
                Sample("vllm:kv_cache_usage_perc", SERVER, 0.25),
                Sample("up", labels_of(TARGET), 1.0),
                Sample("target_info", labels_of({**TARGET, "host_name": "host-1"}), 1.0),
                Sample("gpu_info", labels_of({**TARGET, "uuid": "GPU-1", "gpu": "0"}), 1.0),
                Sample("gpu_memory_used_bytes", GPU, 60e9 if time > END - 10 * 3600 else 40e9),
                Sample("gpu_memory_total_bytes", GPU, 80e9),
                Sample("node_memory_MemAvailable_bytes", NODE, 25e9),
                Sample("node_memory_MemTotal_bytes", NODE, 100e9),
                Sample(EXPIRY, PROBE, END + 2 * DAY_SECONDS),
            ),
        )


@pytest.fixture(scope="module", name="store")
def _store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder: Path = tmp_path_factory.mktemp("capacity")
    opened = Store.open(folder / "store", now=lambda: END)
    opened.append_samples([*scrapes()])
    yield opened
    opened.close()


class Failing:
    """A source that cannot answer while it fails, or for one metric. refused: its name, "" for none."""

    def __init__(self, source: Store) -> None:
        self._source, self.fails, self.refused = source, False, ""

    def fetch_all(self, queries: Sequence[Query], start: float, end: float, step: float) -> Iterator[Matrix]:
        """As the source."""
        if self.fails:
            raise SourceError("the source is away")
        if self.refused in [query.series_name for query in queries]:
            raise SourceError(f"{self.refused}: too many series")
        return iter([*self._source.fetch_all(queries, start, end, step)])

    def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
        """As the source."""
        return next(self.fetch_all([query], start, end, step))

    def metric_names(self) -> frozenset[str]:
        """As the source."""
        return frozenset(self._source.metric_names())


def test_loads_are_means_of_ten_minutes_on_one_grid(store: Store) -> None:
    """Those before the first sample are missing."""
    history = CapacityHistory(store, catalog, seconds=DAYS * DAY_SECONDS)
    *_, end = history.read(END + 30)
    assert end == END
    loads = history.loads()
    for kind, early, late in (
        (LoadKind.REQUESTS, 2, 4),
        (LoadKind.TOKENS, 40, 80),
        (LoadKind.KV_CACHE, 0.25, 0.25),
    ):
        row = loads[Subject(WHO, ""), kind]
        assert len(row) == DAYS * 144
        np.testing.assert_allclose(row[-HOURS * 6 + 1 : -10 * 6 - 1], early, rtol=0.02)
        np.testing.assert_allclose(row[-10 * 6 + 1 :], late, rtol=0.02)
        assert np.isnan(row[: -HOURS * 6 - 1]).all()


def test_later_reads_append_and_a_failed_one_continues(store: Store) -> None:
    """What is known stays, and the result is that of one read."""
    source = Failing(store)
    history = CapacityHistory(source, catalog, seconds=DAYS * DAY_SECONDS)
    list(history.read(END - 6 * 3600))
    source.fails = True
    with pytest.raises(SourceError):
        list(history.read(END - 2 * 3600))
    assert history.end == END - 6 * 3600
    source.fails = False
    list(history.read(END - 2 * 3600))
    list(history.read(END))
    whole = CapacityHistory(store, catalog, seconds=DAYS * DAY_SECONDS)
    list(whole.read(END))
    assert history.loads().keys() == whole.loads().keys()
    for key, row in whole.loads().items():
        known = np.isfinite(row)
        np.testing.assert_allclose(history.loads()[key][known], row[known])
    assert history.end == END


def test_uses_are_of_the_last_days_only_and_as_those_of_a_whole_read(store: Store) -> None:
    """Growth needs three days. Resources are many: four weeks of those of ten thousand GPUs are 150 MB."""
    for days, hours in ((DAYS, HOURS), (28, HOURS)):
        history = CapacityHistory(store, catalog, seconds=days * DAY_SECONDS)
        list(history.read(END))
        uses = {(key.name, kind): row for (key, kind), row in history.uses().items()}
        assert len(uses.pop(CERTIFICATE)) == days * 144, "four weeks show renewals"
        assert {len(row) for row in uses.values()} == {min(days, 3) * 144}
        row = uses["host-1/gpu-0", SlowBurnKind.GPU_MEMORY]
        np.testing.assert_allclose(row[-hours * 6 + 1 : -10 * 6 - 1], 0.5)
        np.testing.assert_allclose(row[-10 * 6 + 1 :], 0.75)
        np.testing.assert_allclose(uses["host-1", SlowBurnKind.HOST_MEMORY][-hours * 6 + 1 :], 0.75)
        assert history.end == END


def test_what_is_no_load_may_fail(store: Store) -> None:
    """Loads go on, and what is not read is missing, with the reason, until it is read again."""
    source = Failing(store)
    history = CapacityHistory(source, catalog, seconds=DAYS * DAY_SECONDS)
    list(history.read(END - 2 * 3600))
    source.refused = EXPIRY
    list(history.read(END))
    assert (history.end, history.slow_burns_error) == (END, f"{EXPIRY}: too many series")
    uses = {(key.name, kind): row for (key, kind), row in history.uses().items()}
    assert np.isfinite(history.loads()[Subject(WHO, ""), LoadKind.REQUESTS][-2])
    assert np.isfinite(uses["host-1", SlowBurnKind.HOST_MEMORY][-1])
    assert np.isnan(uses[CERTIFICATE][-12:]).all()
    np.testing.assert_allclose(uses[CERTIFICATE][-13], 2 * DAY_SECONDS + 2 * 3600)
    source.refused = ""
    list(history.read(END))
    uses = {(key.name, kind): row for (key, kind), row in history.uses().items()}
    assert not history.slow_burns_error
    np.testing.assert_allclose(uses[CERTIFICATE][-1], 2 * DAY_SECONDS)
