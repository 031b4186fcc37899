"""Messages take latency, transmission, queueing and recovery from losses, and are counted at both ends."""

from __future__ import annotations

from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_simulator.core.engine import Engine
from foreshock_simulator.core.randomness import random_stream
from foreshock_simulator.network.network import Network
from foreshock_simulator.network.nic import BUFFER_BYTES, Link
from foreshock_simulator.network.path import (
    CONNECTION_TIMEOUT_SECONDS,
    LATENCY_SECONDS,
    LOOPBACK_SECONDS,
    ROUND_TRIP_SECONDS,
    backoff_seconds,
    recover,
)

SPEED = 1.25e9


def network(engine: Engine, *hosts: str) -> Network:
    """Hosts with 10 Gbit/s each."""
    made = Network(engine, random_stream(1, "network"))
    for host in hosts:
        made.add(host, SPEED)
    return made


@pytest.mark.parametrize(("size", "packets"), [(0, 1), (900, 1), (1448, 1), (1449, 2), (1_000_000, 691)])
def test_an_idle_network_costs_latency_and_transmission(size: int, packets: int) -> None:
    """Nothing else; both ends count the same bytes and packets, headers included."""
    net = network(Engine(), "a", "b")
    wire = size + 66 * packets
    assert net.message("a", "b", size) == pytest.approx(LATENCY_SECONDS + wire / SPEED, rel=1e-9)
    sender, receiver = net.counters("a"), net.counters("b")
    assert (sender.transmit_bytes, sender.transmit_packets, sender.segments_out) == (wire, packets, packets)
    assert (receiver.receive_bytes, receiver.receive_packets, receiver.segments_in) == (wire, packets, packets)


def test_messages_within_a_host_bypass_the_interface() -> None:
    """As with the loopback device."""
    net = network(Engine(), "a")
    assert net.message("a", "a", 1_000_000) == LOOPBACK_SECONDS
    assert net.counters("a").transmit_bytes == 0


@pytest.mark.parametrize("rho", [0.1, 0.3, 0.6, 0.9])
def test_messages_of_one_size_wait_as_in_an_m_d_1_queue(rho: float) -> None:
    """Poisson arrivals at a share ρ of the capacity have the mean wait ρ · S / (2 · (1 − ρ)).

    S is the transmission time.
    """
    link, rng, now, size = Link(SPEED), random_stream(3, f"poisson/{rho}"), 0.0, 125_000
    waits = []
    for _ in range(200_000):
        now += rng.expovariate(rho * SPEED / size)
        waits.append(link.enter(now, size))
    service = size / SPEED
    assert fmean(waits[100_000:]) == pytest.approx(rho * service / (2.0 * (1.0 - rho)), rel=0.03)


def test_the_wait_grows_with_flows_up_to_a_full_buffer() -> None:
    """From no flows over half the capacity to all of it, where a full buffer precedes each message."""
    delays = []
    for share in (0.0, 0.5, 0.9, 0.99, 1.0):
        engine = Engine()
        net = network(engine, "a", "b", "c")
        if share:
            net.bulk("c", "b", float("inf"), share * SPEED)
        engine.run(1.0)
        delays.append(net.message("a", "b", 900))
    assert delays == sorted(delays)
    assert delays[1] - delays[0] == pytest.approx(0.5 * 65_536 / SPEED / (2 * 0.5), rel=0.01)
    assert delays[4] - delays[0] == pytest.approx(BUFFER_BYTES / SPEED, rel=0.01)


def test_messages_beyond_the_capacity_are_dropped() -> None:
    """At twice the capacity, the receiving port drops half of the packets, which are sent again."""
    engine = Engine()
    net = network(engine, "a", "b", "c", "d", "e")
    for _ in range(3000):
        for source in "acde":
            net.message(source, "b", 625_000)
        engine.run(engine.now + 0.001)
    before = net.counters("b"), sum(net.counters(host).segments_retransmitted for host in "acde")
    for _ in range(200):
        for source in "acde":
            net.message(source, "b", 625_000)
        engine.run(engine.now + 0.001)
    dropped = net.counters("b").receive_drops - before[0].receive_drops
    arrived = net.counters("b").receive_packets - before[0].receive_packets
    assert dropped / (dropped + arrived) == pytest.approx(0.5, abs=0.02)
    # a few connections are given up, whose packets are not sent again
    again = sum(net.counters(host).segments_retransmitted for host in "acde") - before[1]
    assert again == pytest.approx(dropped, rel=0.02)


@pytest.mark.parametrize("loss", [0.01, 0.05, 0.3])
def test_a_lost_single_packet_waits_for_the_doubling_timer(loss: float) -> None:
    """Mean delay Σ pᵏ (1 − p) · 0.2 · (2ᵏ − 1); the counters show each retransmission and each timeout."""
    net = network(Engine(), "a", "b")
    calm = net.message("a", "b", 900)
    net.lose(["a"], ["b"], loss)
    count = 60_000
    extra = [net.message("a", "b", 900) - calm for _ in range(count)]
    share = sum(one > 0.19 for one in extra) / count
    assert share == pytest.approx(loss, rel=0.1)
    assert min(one for one in extra if one > 1e-3) == pytest.approx(0.2, abs=1e-4)
    expected = sum(loss**k * (1 - loss) * backoff_seconds(k) for k in range(1, 15))
    assert fmean(extra) == pytest.approx(expected, rel=0.1)
    sender = net.counters("a")
    assert sender.segments_retransmitted == sender.timeouts == pytest.approx(count * loss / (1 - loss), rel=0.1)


def test_a_gap_before_three_later_packets_costs_one_round_trip() -> None:
    """In a message of 70 packets, about one in 20 losses is in the tail and waits for the timer."""
    rng = random_stream(2, "tail")
    delays = [recover(rng, 100_000, 70, 0.001).delay for _ in range(200_000)]
    fast = sum(delay == ROUND_TRIP_SECONDS for delay in delays)
    slow = sum(delay >= 0.2 for delay in delays)
    assert slow / (fast + slow) == pytest.approx(3 / 70, rel=0.1)
    assert (fast + slow) / len(delays) == pytest.approx(1 - 0.999**70, rel=0.03)


def test_a_cut_path_times_out_the_connection() -> None:
    """After 924.6 seconds, as Linux documents. Other paths are unaffected, and healing ends it."""
    net = network(Engine(), "a", "b", "c")
    net.lose(["a"], ["b"], 1.0)
    assert net.message("a", "b", 900) == pytest.approx(924.6, abs=0.1)
    assert pytest.approx(924.6, abs=0.1) == CONNECTION_TIMEOUT_SECONDS
    assert net.message("b", "a", 900) > 900.0
    assert net.message("a", "c", 900) < 0.001
    assert net.counters("b").receive_packets == 0
    net.lose(["b"], ["a"], 0.0)
    assert net.message("a", "b", 900) < 0.001


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc"), st.integers(0, 300_000)), max_size=60),
    st.sampled_from([0.0, 0.01, 0.6, 1.0]),
)
def test_bytes_and_packets_of_messages_add_up(messages: list[tuple[str, str, int]], loss: float) -> None:
    """Sent bytes are received or lost, to the byte, and each retransmission replaces a loss."""
    net = network(Engine(), "a", "b", "c")
    net.lose(["a"], ["b"], loss)
    for source, target, size in messages:
        net.message(source, target, size)
    every = [net.counters(host) for host in "abc"]
    assert sum(one.transmit_bytes for one in every) == sum(one.receive_bytes for one in every) + net.lost_bytes
    if loss < 1.0:
        assert sum(one.segments_out for one in every) == sum(one.segments_in for one in every)
        missing = sum(one.transmit_packets for one in every) - sum(one.receive_packets for one in every)
        assert missing == sum(one.segments_retransmitted for one in every)


def test_the_same_seed_loses_the_same_packets() -> None:
    """For any split of the run."""

    def play(cuts: tuple[float, ...]) -> list[float]:
        engine, delays = Engine(), []
        net = network(engine, "a", "b")
        net.lose(["a"], ["b"], 0.2)
        for index in range(300):
            engine.schedule(index / 10, lambda _: delays.append(net.message("a", "b", 5000)))
        for cut in (*cuts, 100.0):
            engine.run(cut)
        return delays

    assert play(()) == play((1.0, 1.05, 17.0))


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda net: net.add("a", 1e9), "host 'a' is there already"),
        (lambda net: net.add("z", 0.0), "0.0 bytes per second is not the capacity"),
        (lambda net: net.lose(["a"], ["b"], 1.5), "use 0 to 1"),
        (lambda net: net.bulk("a", "b", 0), "0 bytes .* is not a transfer"),
    ],
)
def test_invalid_arguments_are_rejected(act: object, error: str) -> None:
    """With the input in the message."""
    with pytest.raises(ValueError, match=error):
        act(network(Engine(), "a", "b"))  # type: ignore[operator]
    with pytest.raises(KeyError, match="nowhere"):
        network(Engine(), "a").message("a", "nowhere", 1)
