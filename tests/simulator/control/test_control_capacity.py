"""GPUs are granted in order, within a quota, on one host, and after their node is provisioned."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_simulator.control.capacity import Capacity, provisioning_seconds
from foreshock_simulator.control.deployment import cold_start_seconds
from foreshock_simulator.core.engine import Engine, Process, Signal
from foreshock_simulator.core.randomness import random_stream
from foreshock_simulator.spec.platform import Place, PoolSpec


def pool(hosts: int = 2, gpus: int = 4, **options: float) -> PoolSpec:
    """A pool named `chat`."""
    places = tuple(Place(f"h{host}", gpu) for host in range(hosts) for gpu in range(gpus))
    return PoolSpec("chat", places, **options)  # type: ignore[arg-type]


class Clients:
    """Claims GPUs and records when and where each claim was granted."""

    def __init__(self, spec: PoolSpec, seed: int = 1) -> None:
        self.engine = Engine()
        self.capacity = Capacity(self.engine, [spec], random_stream(seed, "capacity"))
        self.granted: dict[int, tuple[float, tuple[Place, ...]]] = {}
        self.signals: list[Signal] = []

    def claim(self, gpus: int) -> int:
        """The number of the claim."""
        signal, number = self.capacity.claim("chat", gpus), len(self.signals)
        self.signals.append(signal)
        self.engine.spawn(self._wait(number, signal))
        return number

    def _wait(self, number: int, signal: Signal) -> Process:
        places = yield signal
        self.granted[number] = (self.engine.now, places)


def test_available_gpus_are_granted_at_once_the_emptiest_first() -> None:
    """In the order of the pool among equals; a GPU with slots takes several replicas."""
    clients = Clients(pool(hosts=1, gpus=2, slots=2))
    for _ in range(5):
        clients.claim(1)
    clients.engine.run(0.0)
    assert [places[0].gpu for _, places in clients.granted.values()] == [0, 1, 0, 1]
    assert len(clients.granted) == 4


def test_a_replica_over_several_gpus_stays_on_one_host() -> None:
    """Two hosts with three free GPUs each have no room for four."""
    clients = Clients(pool())
    assert clients.capacity.allocate("chat", 1) == (Place("h0", 0),)
    held = clients.capacity.allocate("chat", 4)
    assert {place.host for place in held} == {"h1"}
    clients.capacity.release("chat", held[1:])
    clients.claim(4)
    clients.engine.run(1.0)
    assert clients.granted == {}
    clients.capacity.release("chat", held[:1])
    clients.engine.run(2.0)
    assert clients.granted == {0: (1.0, held)}


def test_an_exhausted_quota_keeps_claims_pending_in_order() -> None:
    """Only a release helps; a later small claim does not overtake."""
    clients = Clients(pool(quota=3))
    for gpus in (2, 2, 1):
        clients.claim(gpus)
    clients.engine.run(1e6)
    assert list(clients.granted) == [0]
    assert clients.capacity.quotas() == {"chat": (3, 2)}
    clients.capacity.release("chat", clients.granted[0][1])
    clients.engine.run(1e6 + 1)
    assert sorted(clients.granted) == [0, 1, 2]


def test_a_withdrawn_claim_unblocks_the_next() -> None:
    """Whether it waited for the quota or for its node."""
    clients = Clients(pool(quota=2, provisioning=300.0))
    clients.claim(2)
    clients.claim(1)
    clients.engine.run(1.0)
    assert (clients.granted, clients.capacity.quotas()["chat"].used) == ({}, 2)
    clients.capacity.withdraw("chat", clients.signals[0])
    assert (clients.granted, clients.capacity.quotas()["chat"].used) == ({}, 1)
    clients.engine.run(5000.0)
    assert list(clients.granted) == [1]
    assert clients.capacity.quotas()["chat"].used == 1


def test_a_node_is_provisioned_first_and_removed_after_ten_idle_minutes() -> None:
    """A claim soon after a release is granted at once; a much later one waits again."""
    clients = Clients(pool(hosts=1, gpus=1, provisioning=380.0))
    clients.claim(1)
    clients.engine.run(3000.0)
    assert clients.granted[0][0] > 100.0
    clients.capacity.release("chat", [Place("h0", 0)])
    clients.engine.run(3500.0)
    clients.claim(1)
    clients.engine.run(3500.0)
    assert clients.granted[1][0] == 3500.0
    clients.capacity.release("chat", [Place("h0", 0)])
    clients.engine.run(4200.0)
    clients.claim(1)
    clients.engine.run(8000.0)
    assert clients.granted[2][0] > 4300.0


def test_existing_nodes_precede_emptier_ones_without_node() -> None:
    """A scheduler fills running nodes before an autoscaler adds one."""
    clients = Clients(pool(hosts=2, gpus=1, slots=4, provisioning=300.0))
    assert clients.capacity.allocate("chat", 1) == (Place("h0", 0),)
    clients.claim(1)
    clients.engine.run(0.0)
    assert clients.granted[0] == (0.0, (Place("h0", 0),))


def quantile(values: Sequence[float], q: float) -> float:
    """Quantile by rank."""
    return sorted(values)[int(q * len(values))]


@pytest.mark.parametrize(("q", "seconds"), [(0.05, 240.0), (0.5, 380.0), (0.95, 600.0)])
def test_provisioning_takes_four_to_ten_minutes(q: float, seconds: float) -> None:
    """With a median of 380 s, 90% of the nodes take a time within the reported range."""
    rng = random_stream(1, "provisioning")
    assert quantile([provisioning_seconds(rng, 380.0) for _ in range(40_000)], q) == pytest.approx(seconds, rel=0.02)


@pytest.mark.parametrize(("q", "measured"), [(0.5, 22.7), (0.9, 42.0), (0.99, 51.8)])
def test_cold_starts_have_the_measured_quantiles(q: float, measured: float) -> None:
    """Loading the base model on a warm host, production image generation: within 10%."""
    rng = random_stream(1, "cold")
    assert quantile([cold_start_seconds(rng, 22.7) for _ in range(40_000)], q) == pytest.approx(measured, rel=0.10)


def test_impossible_allocations_are_rejected_with_their_numbers() -> None:
    """Initial allocations beyond the room, and a release of a GPU that is not held."""
    capacity = Capacity(Engine(), [pool(quota=2)], random_stream(1, "capacity"))
    capacity.allocate("chat", 2)
    with pytest.raises(ValueError, match=r"pool 'chat': no room for 1 more GPUs.*2 of 2 are held"):
        capacity.allocate("chat", 1)
    with pytest.raises(ValueError, match="not held"):
        capacity.release("chat", [Place("h1", 3)])
    with pytest.raises(ValueError, match="claim of 0 GPUs"):
        capacity.claim("chat", 0)


STEP = st.tuples(st.sampled_from(["claim", "release", "withdraw"]), st.integers(1, 4), st.floats(0.0, 400.0))


@given(st.lists(STEP, max_size=40), st.integers(0, 10), st.sampled_from([0.0, 300.0]), st.integers(1, 3))
def test_no_gpu_is_allocated_twice_and_the_quota_holds(
    steps: list[tuple[str, int, float]], quota: int, wait: float, slots: int
) -> None:
    """For any sequence of claims, releases and withdrawals; in the end all GPUs are free."""
    clients = Clients(pool(quota=quota, provisioning=wait, slots=slots))
    released: set[int] = set()
    withdrawn: set[int] = set()

    def give_back(number: int) -> None:
        clients.capacity.release("chat", clients.granted[number][1])
        released.add(number)

    for what, count, pause in steps:
        held = [number for number in clients.granted if number not in released]
        waiting = [n for n in range(len(clients.signals)) if n not in clients.granted and n not in withdrawn]
        if what == "claim":
            clients.claim(count)
        elif what == "release" and held:
            give_back(held[count % len(held)])
        elif what == "withdraw" and waiting:
            number = waiting[count % len(waiting)]
            if not clients.signals[number].fired:
                clients.capacity.withdraw("chat", clients.signals[number])
                withdrawn.add(number)
        clients.engine.run(clients.engine.now + pause)
        places = [place for number, (_, own) in clients.granted.items() if number not in released for place in own]
        assert len(places) <= clients.capacity.quotas()["chat"].used <= quota
        assert all(places.count(place) <= slots for place in places)
        assert not withdrawn & set(clients.granted)
    for number in range(len(clients.signals)):
        if number not in clients.granted and number not in withdrawn and not clients.signals[number].fired:
            clients.capacity.withdraw("chat", clients.signals[number])
    clients.engine.run(clients.engine.now + 1e5)
    for number in clients.granted:
        if number not in released:
            give_back(number)
    assert clients.capacity.quotas()["chat"].used == 0
