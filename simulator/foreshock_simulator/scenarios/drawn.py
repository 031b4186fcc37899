"""Random scenarios: a seed draws the text of a scenario file, and the size of its platform.

Each kind of fault is as likely as another, from harmless to severe, and so are runs in which nothing fails. Whether a
cascade follows is left to the run (`cascade: null`). Names are those that every platform has.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import yaml

from foreshock_simulator.core.randomness import random_stream
from foreshock_simulator.scenarios.platforms.topology import Size

NAME: Final = "random"
"""Name of the scenario that is drawn."""
Values = dict[str, Any]
"""Part of a scenario file."""
MODEL, STORE, EMBEDDER, GATEWAY, CACHE = "llm-chat", "vector-store", "embedder", "gateway", "answer-cache"
MEMORY_BYTES = 2_000_000_000
MEDIUM_RATIO = 0.3
"""Share of medium platforms; the others are small."""


class Drawn(NamedTuple):
    """A drawn scenario: the kind of its fault, the size of its platform, and the text of its file."""

    kind: str
    size: Size
    text: str


class Fault(NamedTuple):
    """A drawn fault. words: what happens. cause: empty if no class fits. root_cause, origin: empty if there can be no
    cascade.

    topology, adjust: what the platform needs for it.
    """

    words: str
    faults: list[Values]
    cause: str = ""
    root_cause: str = ""
    origin: str = ""
    topology: Mapping[str, Any] = MappingProxyType({})
    adjust: Mapping[str, Any] = MappingProxyType({})


class Chance:
    """Draws numbers that read well, and when the fault starts and how it grows."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.at = 60 * rng.randint(30, 45)
        """Start of the fault in seconds."""
        self.ramp = self.seconds(1, 45)
        """Seconds until it is at its full amount."""
        self.duration: Values = {"duration": self.ramp + self.seconds(5, 40)} if rng.random() < 0.4 else {}
        """How long it lasts; nothing: to the end."""

    @property
    def minutes(self) -> str:
        """`within 12 minutes, for 20 minutes`."""
        lasting = f", for {self.duration['duration'] // 60} minutes" if self.duration else ""
        return f"within {self.ramp // 60} minutes{lasting}"

    @property
    def ramped(self) -> Values:
        """Fields of a fault that grows."""
        return {"at": self.at, "ramp": self.ramp, **self.duration}

    def seconds(self, low: int, high: int) -> int:
        """Whole minutes, log-uniform, in seconds."""
        return 60 * round(math.exp(self._rng.uniform(math.log(low), math.log(high))))

    def amount(self, low: float, high: float) -> float:
        """A number, log-uniform, with two significant digits."""
        return float(f"{math.exp(self._rng.uniform(math.log(low), math.log(high))):.2g}")

    def one_of(self, *choices: Any) -> Any:  # noqa: ANN401 - as varied as the choices
        """One of the choices, each as likely."""
        return self._rng.choice(choices)


def draw(seed: int) -> Drawn:
    """The scenario of a seed."""
    rng = random_stream(seed, "scenario")
    kind = rng.choice(sorted(KINDS))
    size: Size = "medium" if rng.random() < MEDIUM_RATIO else "small"
    chance = Chance(rng)
    fault = KINDS[kind](chance)
    shape, topology, adjust = _traffic(chance)
    end = chance.at + chance.ramp + chance.duration.get("duration", 0) + 60 * rng.randint(20, 35)
    adjust = _merged(adjust, fault.adjust)
    scales = "autoscaler" not in adjust.get("services", {}).get(MODEL, {})
    shape += "" if scales else f", without an autoscaler of {MODEL}"
    document = {
        "description": f"{fault.words[0].upper()}{fault.words[1:]}, {shape}.",
        "duration": end,
        "topology": {**topology, **fault.topology},
        "adjust": adjust,
        "faults": fault.faults,
        "expects": _expects(fault, scales),
    }
    text = yaml.safe_dump(
        {key: value for key, value in document.items() if value}, sort_keys=False, allow_unicode=True, width=120
    )
    return Drawn(kind, size, text)


def _expects(fault: Fault, scales: bool) -> Values:
    """Cause, root cause, and origin of a cascade, if the fault can bring one. scales: whether the model autoscales."""
    if not fault.root_cause:
        return {"cascade": False}
    cause = "overload" if fault.cause == "scale_up_lag" and not scales else fault.cause
    return {
        "cascade": None,
        **({"cause": cause} if cause else {}),
        "root_cause": fault.root_cause,
        "origin": fault.origin,
    }


def _traffic(chance: Chance) -> tuple[str, Values, Values]:
    """Shape of the traffic: words, topology, and changes of the platform."""
    load = chance.amount(0.18, 0.45)
    topology: Values = {"load": load, "spare": chance.one_of(0, 0.5, 1), "provisioning": chance.seconds(2, 9)}
    services: Values = {} if chance.one_of(True, True, False) else {MODEL: {"autoscaler": None}}
    words = f"at a load of {load:.0%}"
    match chance.one_of("steady", "steady", "day", "cached", "sparse"):
        case "day":
            topology |= {"diurnal": chance.amount(0.1, 0.5), "peak_hour": chance.one_of(7, 9, 11, 14)}
            words += f", with a daily peak at {topology['peak_hour']}:00"
        case "cached":
            topology |= {"cached": chance.one_of(0.5, 0.8, 0.95, 0.98)}
            words += f", with {topology['cached']:.0%} of one feature's answers from a cache"
        case "sparse":
            words += ", with five documents per minute"
            return words, topology, {"flows": {"ingest": {"rate": 0.0833}}, "services": services}
    flows = {"assistant": {"arrivals": chance.one_of("azure-conversation", "servegen", "gamma", "mooncake"), "cv": 1.5}}
    return words, topology, {"flows": flows, "services": services}


def _merged(base: Values, more: Mapping[str, Any]) -> Values:
    """Nested mappings as one."""
    merged = dict(base)
    for key, value in more.items():
        merged[key] = _merged(merged.get(key) or {}, value) if isinstance(value, dict) else value
    return {key: value for key, value in merged.items() if value != {}}


def _surge(chance: Chance) -> Fault:
    flow, factor = chance.one_of("assistant", "chat"), chance.amount(1.2, 6.0)
    surge = {"surge": {"flow": flow, "factor": factor, **chance.ramped}}
    cause = chance.one_of("overload", "scale_up_lag")
    scaler: Values = {"services": {MODEL: {"autoscaler": None}}} if cause == "overload" else {}
    words = f"traffic of {flow} grows to {factor:g} times {chance.minutes}"
    return Fault(words, [surge], cause, flow, MODEL, {}, scaler)


def _longer(chance: Chance) -> Fault:
    field, other = chance.one_of(("factor", "answers"), ("answers", "factor"))
    factor = chance.amount(1.2, 6.0)
    words = f"{'prompts' if field == 'factor' else 'answers'} become {factor:g} times as long {chance.minutes}"
    fault = {"longer_prompts": {"flow": "assistant", field: factor, other: 1, **chance.ramped}}
    return Fault(words, [fault], "kv_cache_pressure", "assistant", MODEL)


def _backlog(chance: Chance) -> Fault:
    factor = chance.amount(20, 400)
    fault = {"surge": {"flow": "ingest", "factor": factor, **chance.ramped}}
    words = f"{factor:g} times as many documents are embedded {chance.minutes}"
    slower = {"services": {EMBEDDER: {"model": {"seconds_per_token": 100e-6}}}}
    return Fault(words, [fault], "overload", "ingest", EMBEDDER, {}, slower)


def _neighbor(chance: Chance) -> Fault:
    service, workers = chance.one_of((MODEL, chance.one_of(1, 2, 3, 4)), (EMBEDDER, chance.one_of(2, 4, 8, 14)))
    grows = {"tenant": "batch-embed", "workers": workers, "onto": [service], **chance.ramped}
    grows |= {"sm": chance.amount(0.2, 0.9), "dram": chance.amount(0.2, 0.7), "pause": chance.amount(0.01, 2.0)}
    words = f"{workers} batch workers start on each GPU of {service} {chance.minutes}"
    return Fault(words, [{"tenant_grows": grows}], "gpu_contention", "batch-embed", service)


def _slower(chance: Chance) -> Fault:
    service, factor = chance.one_of((STORE, chance.amount(2, 120)), (EMBEDDER, chance.amount(1.2, 30)))
    fault = {"slower_work": {"service": service, "factor": factor, **chance.ramped}}
    return Fault(f"{service} takes {factor:g} times as long {chance.minutes}", [fault], "dependency", service, service)


def _failing(chance: Chance) -> Fault:
    service, ratio = chance.one_of(STORE, EMBEDDER), chance.amount(0.02, 0.6)
    fault = {"failing_work": {"service": service, "ratio": ratio, "at": chance.at, **chance.duration}}
    return Fault(f"{service} fails {ratio:.0%} of its requests", [fault], "dependency", service, service)


def _number(replicas: int) -> Values:
    """The field for some replicas; 0: all."""
    return {"replicas": replicas} if replicas else {}


def _lost_replicas(chance: Chance) -> Fault:
    service, replicas, cause = chance.one_of((MODEL, 1, "hardware"), (MODEL, 0, "hardware"), (STORE, 0, "dependency"))
    fault = {"service": service, "at": chance.at, **_number(replicas), **chance.duration}
    fault |= {"xid": 79} if cause == "hardware" else {}
    words = f"{'all replicas' if not replicas else 'a replica'} of {service} {'are' if not replicas else 'is'} lost"
    return Fault(words, [{"replicas_fail": fault}], cause, service, service)


def _crash_loop(chance: Chance) -> Fault:
    service, replicas, uptime = chance.one_of(MODEL, STORE), chance.one_of(0, 1), round(chance.amount(5, 300))
    fault = {"service": service, "at": chance.at, "uptime": uptime, **_number(replicas), **chance.duration}
    words = f"{'a replica' if replicas else 'every replica'} of {service} crashes {uptime} seconds after each start"
    return Fault(words, [{"crash_loop": fault}], "dependency", service, service)


def _memory_leak(chance: Chance) -> Fault:
    seconds = chance.seconds(10, 60)
    leak = {"service": STORE, "at": chance.at, "bytes_per_second": float(round(0.7 * MEMORY_BYTES / seconds))}
    faults: list[Values] = [{"memory_leak": leak}]
    cleared = chance.one_of(True, False)
    if cleared:
        faults.append({"restart": {"service": STORE, "at": chance.at + round(0.7 * seconds)}})
    words = f"{STORE} leaks its memory within {seconds // 60} minutes{', and is restarted before' if cleared else ''}"
    chance.ramp = max(chance.ramp, seconds)
    adjust = {"services": {STORE: {"memory_bytes": MEMORY_BYTES}}}
    return Fault(words, faults, "dependency", STORE, STORE, {}, adjust)


def _throttled(chance: Chance) -> Fault:
    ratio = chance.amount(0.25, 0.9)
    fault = {"throttle": {"service": MODEL, "at": chance.at, "ratio": ratio, **chance.duration}}
    return Fault(f"GPUs of {MODEL} have {ratio:.0%} of their power", [fault], "hardware", MODEL, MODEL)


def _heat(chance: Chance) -> Fault:
    celsius = round(chance.amount(35, 85))
    fault = {"heat": {"rack": "rack-1", "celsius": celsius, **chance.ramped}}
    return Fault(f"the air in a rack reaches {celsius} °C {chance.minutes}", [fault], "hardware", "rack-1", MODEL)


def _cache(chance: Chance) -> Fault:
    cached, ratio = chance.one_of(0.4, 0.6, 0.8), chance.one_of(0.0, 0.2, 0.4, 0.6)
    topology = {"cached": cached}
    if chance.one_of(True, False):
        fault: Values = {"cache_flush": {"cache": CACHE, "at": chance.at}}
        return Fault("a cache of answers is emptied", [fault], "overload", CACHE, MODEL, topology)
    fault = {"cache_decay": {"cache": CACHE, "ratio": ratio, **chance.ramped}}
    words = f"a cache of answers keeps {ratio:.0%} of its keys {chance.minutes}"
    return Fault(words, [fault], "overload", CACHE, MODEL, topology)


def _packet_loss(chance: Chance) -> Fault:
    ratio = chance.amount(0.05, 0.5)
    fault = {"packet_loss": {"between": [GATEWAY, MODEL], "ratio": ratio, **chance.ramped}}
    words = f"{ratio:.0%} of the packets to {MODEL} are lost {chance.minutes}"
    return Fault(words, [fault], "network", f"{GATEWAY} -> {MODEL}", GATEWAY)


def _timeout(chance: Chance) -> Fault:
    timeout, attempts = chance.amount(2, 18), chance.one_of(1, 2, 3, 4)
    fault = {"caller": GATEWAY, "callee": MODEL, "at": chance.at, "timeout": timeout, "attempts": attempts}
    words = f"the gateway waits {timeout:g} s for {MODEL}, with attempts up to {attempts}"
    cause = "retry_storm" if attempts > 1 else ""  # a short timeout without retries is of no class
    return Fault(words, [{"policy_change": fault}], cause, GATEWAY, MODEL)


def _release(chance: Chance) -> Fault:
    service, field, value, origin, words = chance.one_of(
        (STORE, "slower", chance.amount(1.1, 90), STORE, "takes {:g} times as long"),
        (EMBEDDER, "slower", chance.amount(1.1, 20), EMBEDDER, "takes {:g} times as long"),
        (EMBEDDER, "failing", chance.amount(0.02, 0.5), EMBEDDER, "fails {:.0%} of its requests"),
        ("assistant-feature", "repeats", chance.one_of(2, 3), MODEL, "makes each call {} times"),
        ("assistant-feature", "prompts", chance.amount(1.1, 5), MODEL, "sends prompts {:g} times as long"),
        (GATEWAY, "timeouts", chance.amount(0.1, 0.9), MODEL, "waits {:.0%} as long for its calls"),
        (STORE, "leak", chance.seconds(1, 15), STORE, "is killed {} seconds after each start"),
    )
    fault = {"service": service, "at": chance.at, "version": "1.4.2", field: value}
    return Fault(f"a release of {service} {words.format(value)}", [{"deploy": fault}], "change", service, origin)


def _harmless(chance: Chance) -> Fault:
    canary = {"service": GATEWAY, "at": chance.at, "version": "1.5.0", "replicas": 1}
    words, fault = chance.one_of(
        ("nothing fails", None),
        ("the gateway is restarted", {"restart": {"service": GATEWAY, "at": chance.at}}),
        ("a canary of the gateway starts", {"deploy": canary}),
        ("scrapes fail for five minutes", {"lost_scrapes": {"at": chance.at, "duration": 300}}),
    )
    return Fault(words, [fault] if fault else [])


KINDS: Final[dict[str, Callable[[Chance], Fault]]] = {
    "surge": _surge,
    "longer_prompts": _longer,
    "backlog": _backlog,
    "neighbor": _neighbor,
    "slower_work": _slower,
    "failing_work": _failing,
    "lost_replicas": _lost_replicas,
    "crash_loop": _crash_loop,
    "memory_leak": _memory_leak,
    "throttle": _throttled,
    "heat": _heat,
    "cache": _cache,
    "packet_loss": _packet_loss,
    "timeout": _timeout,
    "release": _release,
    "harmless": _harmless,
}
"""Kinds of faults."""
