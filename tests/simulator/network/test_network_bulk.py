"""Bulk transfers have their fair rate, end on time, and account for every byte."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_simulator.core.engine import Engine, Process, Signal
from foreshock_simulator.core.randomness import random_stream
from foreshock_simulator.network.network import Network

HOSTS = ("a", "b", "c", "d")
GIGABYTE = 1e9


@dataclass
class Wire:
    """A network of hosts with 1 GB/s in each direction, and the end times of named transfers."""

    engine: Engine = field(default_factory=Engine)
    ended: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.network = Network(self.engine, random_stream(1, "network"))
        for host in HOSTS:
            self.network.add(host, GIGABYTE)

    def wait(self, name: str, signal: Signal) -> Process:
        """Record the end of a transfer."""
        yield signal
        self.ended[name] = self.engine.now

    def send(self, name: str, source: str, target: str, size: float, **options: float) -> Signal:
        """Start a transfer now."""
        signal = self.network.bulk(source, target, size, **options)  # type: ignore[arg-type]
        self.engine.spawn(self.wait(name, signal))
        return signal

    def send_at(self, at: float, name: str, source: str, target: str, size: float, **options: float) -> None:
        """Start a transfer later."""

        def begin(_: object) -> None:
            self.send(name, source, target, size, **options)

        self.engine.schedule(at, begin)


def test_two_transfers_halve_an_interface_until_the_shorter_ends() -> None:
    """2 s at half the rate for the first; the second then has 2 GB left, at the full rate."""
    wire = Wire()
    wire.send("short", "a", "c", 1 * GIGABYTE)
    wire.send("long", "b", "c", 3 * GIGABYTE)
    wire.engine.run(10.0)
    assert wire.ended == pytest.approx({"short": 2.0, "long": 4.0}, rel=1e-12)


def test_a_transfer_that_joins_takes_its_share_at_once() -> None:
    """One second alone, then shared: the first has 1 GB left for which it needs 2 s; then the second ends alone."""
    wire = Wire()
    wire.send("first", "a", "c", 2 * GIGABYTE)
    wire.send_at(1.0, "second", "a", "d", 2 * GIGABYTE)
    wire.engine.run(10.0)
    assert wire.ended == pytest.approx({"first": 3.0, "second": 4.0}, rel=1e-12)


def test_the_directions_of_an_interface_are_independent() -> None:
    """Full duplex: incoming traffic does not slow outgoing traffic."""
    wire = Wire()
    wire.send("there", "a", "b", GIGABYTE)
    wire.send("back", "b", "a", GIGABYTE)
    wire.engine.run(2.0)
    assert wire.ended == pytest.approx({"there": 1.0, "back": 1.0}, rel=1e-12)


def test_a_ceiling_leaves_the_rest_to_others() -> None:
    """A transfer limited to 0.2 GB/s leaves 0.8 to its neighbor."""
    wire = Wire()
    wire.send("held", "a", "c", 1 * GIGABYTE, ceiling=0.2 * GIGABYTE)
    wire.send("free", "b", "c", 2 * GIGABYTE)
    wire.engine.run(10.0)
    assert wire.ended == pytest.approx({"free": 2.5, "held": 5.0}, rel=1e-12)


def test_messages_take_capacity_from_transfers_and_return_it() -> None:
    """40 MB ten times per second is 0.4 GB/s: about 6 of 10 GB move meanwhile, and the rest at the full rate."""
    wire = Wire()
    wire.send("bulk", "a", "b", 10 * GIGABYTE)

    def talk() -> Process:
        for _ in range(100):
            wire.network.message("a", "b", 40_000_000)
            yield 0.1

    wire.engine.spawn(talk())
    wire.engine.run(10.0)
    moved = wire.network.counters("b").receive_bytes - 100 * 40_000_000 * 1514 / 1448
    # the window takes a second to see the messages, and a second to see them gone
    assert moved == pytest.approx(6 * GIGABYTE, rel=0.08)
    wire.engine.run(30.0)
    assert wire.ended["bulk"] == pytest.approx(10.0 + (10 * GIGABYTE - moved) / GIGABYTE, rel=0.05)


def test_a_stopped_transfer_stays_counted_and_never_fires() -> None:
    """A transfer of unlimited size is stopped; its capacity is used at that instant."""
    wire = Wire()
    endless = wire.send("endless", "a", "c", float("inf"))
    wire.send("other", "b", "c", 3 * GIGABYTE)
    wire.engine.schedule(2.0, lambda _: wire.network.stop(endless))
    wire.engine.run(20.0)
    assert wire.ended == pytest.approx({"other": 4.0}, rel=1e-12)
    assert wire.network.counters("a").transmit_bytes - wire.network.lost_bytes == pytest.approx(GIGABYTE, rel=1e-6)


def test_rdma_has_separate_counters() -> None:
    """The kernel counts none of it, the adapter all."""
    wire = Wire()
    wire.send("ring", "a", "b", GIGABYTE, rdma=True)
    wire.engine.run(5.0)
    sender, receiver = wire.network.counters("a"), wire.network.counters("b")
    assert sender.transmit_bytes == receiver.receive_bytes == 0
    assert sender.rdma_transmit_bytes == receiver.rdma_receive_bytes == GIGABYTE
    assert sender.rdma_transmit_packets == receiver.rdma_receive_packets == -(-1_000_000_000 // 4096)


def test_a_lossy_path_slows_tcp_by_the_formula_and_retransmits() -> None:
    """At 1% loss a connection with a round trip of 240 µs reaches 1448 / 240e-6 · √150 = 73.9 MB/s (Mathis)."""
    wire = Wire()
    wire.network.lose(["a"], ["b"], 0.01)
    wire.send("slow", "a", "b", 739e6)
    wire.engine.run(30.0)
    assert wire.ended["slow"] == pytest.approx(10.0, rel=0.001)
    sender = wire.network.counters("a")
    assert sender.segments_retransmitted == pytest.approx(sender.segments_out * 0.01 / 0.99, rel=0.001)


def test_a_cut_path_stops_a_transfer_until_it_is_healed() -> None:
    """Nothing moves meanwhile, and nothing is lost permanently."""
    wire = Wire()
    wire.send("held", "a", "b", 2 * GIGABYTE)
    wire.engine.schedule(1.0, lambda _: wire.network.lose(["a"], ["b"], 1.0))
    wire.engine.schedule(5.0, lambda _: wire.network.lose(["a"], ["b"], 0.0))
    wire.engine.run(10.0)
    assert wire.ended == pytest.approx({"held": 6.0}, rel=1e-12)


def test_many_connections_on_a_full_interface_lose_packets_and_few_hardly_do() -> None:
    """The receiving port drops packets, more with more connections, and messages of others pass the same port."""
    drops = {}
    for connections in (1, 256):
        wire = Wire()
        wire.send("weights", "a", "b", 5 * GIGABYTE, connections=connections)
        wire.engine.run(4.0)
        drops[connections] = wire.network.counters("b").receive_drops
        assert wire.network.counters("a").segments_retransmitted == pytest.approx(drops[connections], abs=1)
    assert drops[1] < 10
    assert drops[256] > 1000


TRANSFER = st.tuples(
    st.floats(0.0, 5.0), st.permutations(HOSTS).map(lambda hosts: hosts[:2]), st.integers(1, 4_000_000_000),
    st.booleans(), st.integers(1, 200), st.sampled_from([float("inf"), 3e8]),
)  # fmt: skip


@given(st.lists(TRANSFER, max_size=8), st.lists(st.floats(0.0, 30.0), max_size=5), st.sampled_from([0.0, 0.001, 0.2]))
def test_sent_bytes_are_received_or_lost_at_any_time(
    transfers: list[tuple[float, list[str], int, bool, int, float]], looks: list[float], loss: float
) -> None:
    """To the byte, at any time. Reading, or running in pieces, does not change the end times."""

    def play(cuts: list[float]) -> dict[str, float]:
        wire = Wire()
        if loss:
            wire.network.lose(["a"], ["b", "c"], loss)
        for index, (at, (source, target), size, rdma, connections, ceiling) in enumerate(transfers):
            options = {"rdma": rdma, "connections": connections, "ceiling": ceiling}
            wire.send_at(at, str(index), source, target, size, **options)
        for cut in [*sorted(cuts), 2000.0]:
            wire.engine.run(cut)
            every = [wire.network.counters(host) for host in HOSTS]
            sent = sum(one.transmit_bytes + one.rdma_transmit_bytes for one in every)
            received = sum(one.receive_bytes + one.rdma_receive_bytes for one in every)
            assert sent == received + wire.network.lost_bytes
        assert received == sum(size for _, _, size, *_ in transfers)
        return wire.ended

    ended = play(looks)
    assert ended == play([])
    assert len(ended) == len(transfers)
