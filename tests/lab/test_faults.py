"""What the faults do to a system."""

from __future__ import annotations

import os
import signal
import struct
from pathlib import Path

import pytest
from tests.lab.systems import System

from foreshock_lab.faults import packet_queue, resources
from foreshock_lab.faults.catalog import KINDS
from foreshock_lab.faults.injection import FaultKind
from foreshock_lab.faults.placement import call_rates, eligible_services, most_called, needed_services
from foreshock_lab.topology.draw import draw

README = Path(__file__).parents[2] / "lab" / "README.md"
PLACES = {
    "called": "the service",
    "caller": "the service",
    "postgres": "the service",
    "valkey": "the service",
    "network": "the service, or a caller of it",
    "users": "the front",
}
BEHAVIORS = [
    "slow-handler", "busy-handler", "failing-handler", "exception", "early-return", "slow-query", "query-fan-out",
    "pool-exhaustion", "short-timeout", "retry-storm", "memory-leak", "bad-deploy",
]  # fmt: skip


def at(system: System, kind: FaultKind) -> str:
    """A service at which a kind can happen."""
    return eligible_services(system.topology, kind.place)[0]


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_grows_to_each_of_its_strengths(name: str) -> None:
    """From its begin to its full amount; at least a half of the faults takes more than two minutes for it."""
    kind = KINDS[name]

    for strength in (1, 2, 3):
        full = kind.amounts[strength - 1]
        assert kind.amount_at(strength, kind.develops_seconds) == pytest.approx(full)
        assert kind.amount_at(strength, 0.0) == (kind.begin if kind.develops_seconds else full)


def test_golden_table_of_faults_is_in_the_readme(request: pytest.FixtureRequest) -> None:
    """lab/README.md lists every kind with its strengths; `make golden` rewrites the table."""
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition("<!-- faults -->\n")
    expected = f"{before}<!-- faults -->\n{table()}<!-- end of faults -->{rest.partition('<!-- end of faults -->')[2]}"
    if request.config.getoption("--golden"):
        README.write_text(expected, encoding="utf-8")
    assert text == expected


def table() -> str:
    """Every kind in Markdown."""
    lines = ["| kind | what is done | strengths | develops | root cause |", "|---|---|---|---|---|"]
    for kind in KINDS.values():
        amounts = ", ".join(f"{amount:g}" for amount in kind.amounts)
        strengths = f"{amounts} {kind.unit}" if kind.unit else "all alike"
        develops = f"{kind.develops_seconds:g} s" if kind.develops_seconds else "at once"
        root_cause = "none (look-alike)" if kind.lookalike else kind.root_cause or PLACES[kind.place]
        lines.append(f"| `{kind.name}` | {kind.done} | {strengths} | {develops} | {root_cause} |")
    return "\n".join([*lines, ""])


def test_a_half_of_the_faults_develops_over_minutes() -> None:
    faults = [kind for kind in KINDS.values() if not kind.lookalike]

    assert sum(kind.develops_seconds > 120 for kind in faults) >= len(faults) / 2


@pytest.mark.parametrize("seed", range(6))
def test_every_kind_can_happen_somewhere(seed: int) -> None:
    assert all(eligible_services(draw(seed), kind.place) for kind in KINDS.values())


@pytest.mark.parametrize("seed", range(6))
def test_faults_happen_where_users_notice(seed: int) -> None:
    """Not at services whose failure their callers bear; rates add up to the users' requests."""
    topology = draw(seed)
    rates = call_rates(topology)
    optional = {item.name for item in topology.services if item.role == "reviews"}

    assert topology.front.name in needed_services(topology)
    assert needed_services(topology).isdisjoint(optional)
    assert sum(rate for (caller, _), rate in rates.items() if caller == topology.front.name) >= topology.rate * 0.99
    assert most_called(topology, topology.front.name) in topology.front.callees


@pytest.mark.parametrize("name", BEHAVIORS)
def test_a_behavior_is_set_and_restored(name: str, tmp_path: Path) -> None:
    system, kind = System(tmp_path), KINDS[name]
    injection = kind.inject(system, at(system, kind))

    injection.set(kind.amounts[2])
    assert system.behaviors[at(system, kind)]

    injection.clear()
    assert not any(system.behaviors.values())


@pytest.mark.parametrize(
    ("name", "during", "after"),
    [
        ("bad-deploy", ["stop {0} 0", "start {0} 0 2"], ["stop {0} 0", "start {0} 0 1"]),
        ("harmless-deploy", ["stop {0} 0", "start {0} 0 2"], ["stop {0} 0", "start {0} 0 1"]),
        ("restart", ["stop {0} 0", "start {0} 0"], []),
        ("replicas-gone", ["kill {0} 0"], ["start {0} 0"]),
        ("name-failure", ["{0} does not resolve"], ["{0} resolves"]),
    ],
)
def test_processes_and_names_change_and_come_back(
    name: str, during: list[str], after: list[str], tmp_path: Path
) -> None:
    system, kind = System(tmp_path), KINDS[name]
    service = next(item for item in eligible_services(system.topology, kind.place) if _replicas(system, item) == 1)
    injection = kind.inject(system, service)

    injection.set(kind.amounts[0])
    assert system.log == [text.format(service) for text in during]

    injection.clear()
    assert system.log[len(during) :] == [text.format(service) for text in after]


def _replicas(system: System, name: str) -> int:
    return len(system.service(name).replicas)


def test_skewed_clocks_leave_timers_alone_and_go_back(tmp_path: Path) -> None:
    system, kind = System(tmp_path), KINDS["clock-skew"]
    injection = kind.inject(system, at(system, kind))

    injection.set(10)
    assert "FAKETIME=+10s FAKETIME_DONT_FAKE_MONOTONIC=1" in system.log[1]

    injection.clear()
    assert system.log[-1].endswith("LD_PRELOAD= FAKETIME=")


@pytest.mark.parametrize("name", ["cpu-hog", "cpu-limit"])
def test_cpu_limits_come_back(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy neighbor runs in the cgroup of each replica, and ends with the fault."""
    monkeypatch.setattr(resources, "MEASURED_SECONDS", 0.001)
    system, kind = System(tmp_path), KINDS[name]
    groups = [replica.cgroup for replica in system.service(at(system, kind)).replicas]
    injection = kind.inject(system, at(system, kind))

    injection.set(1.0)
    pids = [pid for group in groups for pid in group.pids]
    assert len(pids) == (len(groups) if name == "cpu-hog" else 0)
    assert all(group.state.cpu_cores < 1.0 for group in groups)

    injection.clear()
    assert all(group.state.cpu_cores == 1.0 for group in groups)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def test_the_load_grows_and_comes_back(tmp_path: Path) -> None:
    system = System(tmp_path)
    surge, longer = (KINDS[name].inject(system, "any") for name in ("traffic-surge", "longer-requests"))

    surge.set(3.0)
    assert system.factors == {"rate": 3.0, "prompt": 1.0, "output": 1.0}
    longer.set(4.0)
    assert system.factors == {"rate": 1.0, "prompt": 4.0, "output": 4.0}
    surge.clear()
    assert set(system.factors.values()) == {1.0}


def test_a_queue_message_is_what_the_kernel_reads_and_sends() -> None:
    """Two packets in one datagram, in the format of nfnetlink_queue."""
    header = packet_queue.attribute(packet_queue.PACKET_HEADER, struct.pack(">IHB", 77, 0x0800, 1))
    other = packet_queue.attribute(packet_queue.PACKET_HEADER, struct.pack(">IHB", 78, 0x0800, 1))
    mark = packet_queue.attribute(3, struct.pack(">I", 1))
    data = packet_queue.message(packet_queue.PACKET, 7, mark + header) + packet_queue.message(0, 7, other)

    assert list(packet_queue.packet_ids(data)) == [77, 78]
    assert len(packet_queue.message(packet_queue.VERDICT, 7, mark)) == 16 + 4 + 8
