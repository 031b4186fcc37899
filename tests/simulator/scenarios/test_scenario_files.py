"""Scenario files: their values, and the errors of invalid ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.scenarios.load import load, names, parse
from foreshock_simulator.scenarios.parsing.document import MAX_LISTED_PROBLEMS, ScenarioError
from foreshock_simulator.scenarios.parsing.quantities import QUANTITIES
from foreshock_simulator.spec.faults import PacketLoss, Surge, TenantGrows
from foreshock_simulator.spec.platform import Place
from foreshock_simulator.spec.queries import calls
from foreshock_simulator.spec.scenario import ScenarioFile
from foreshock_simulator.spec.services import BatchModelSpec, Cached, Call, CallPolicy, Cpu, LlmSpec, Serve, Together
from foreshock_simulator.traffic import traces

WHOLE = """\
description: A shop that answers questions.
duration: 30m
platform:
  hosts:
    - {name: gpus, gpus: 4, nic_bytes_per_second: 25GB/s}
    - {name: plain, gpus: 0}
  pools:
    - {name: chat, places: [gpus/0-1], quota: 2, provisioning: 6m}
  services:
    - name: shop/front
      hosts: [plain]
      replicas: 1
      operations:
        - route: POST /ask
          steps:
            - cpu: {median: 4ms}
            - together:
                steps:
                  - cached: {cache: pages, hit_ratio: 80%, steps: [{cpu: {median: 0.01}}]}
                  - cpu: {median: 1ms, spread: 0}
            - call: {service: llm, route: POST /generate, policy: {timeout: 20s, attempts: 2}}
    - name: shop/llm
      pool: chat
      model: {llm: {model: chat-13b}}
      replicas: 2
      slo: {latency: 10s}
      operations: [{route: POST /generate, steps: [serve]}]
  tenants:
    - {name: ml/batch, kind: batch, places: [gpus/0, gpus/3], memory_bytes: 2GiB}
  flows:
    - {name: questions, service: front, route: POST /ask, rate: 2}
faults:
  - surge: {flow: questions, at: 10m, factor: 3, ramp: 90s}
  - tenant_grows: {tenant: batch, at: 1200, workers: 1, onto: [llm]}
expects: {cascade: true, cause: overload, root_cause: questions, origin: llm}
"""


def error_lines(text: str) -> list[str]:
    """The lines of the error of a file `s.yaml` with this text."""
    with pytest.raises(ScenarioError) as caught:
        parse(text, "s.yaml")
    return str(caught.value).splitlines()


def test_a_platform_written_out_is_read_with_units_ranges_and_defaults() -> None:
    """Durations, sizes and shares become numbers in base units."""
    spec = parse(WHOLE, "folder/shop.yaml")

    assert (spec.name, spec.description, spec.duration) == ("shop", "A shop that answers questions.", 1800.0)
    platform = spec.platform
    assert platform.hosts[0].nic_bytes_per_second == 25e9
    assert platform.pools[0].places == (Place("gpus", 0), Place("gpus", 1))
    assert platform.pools[0].provisioning == 360.0
    front, llm = platform.services
    assert front.name == ServiceName("shop", "front")
    cpu, both, call = front.operations[0].steps
    assert cpu == Cpu(0.004)
    assert both == Together((Cached("pages", 0.8, (Cpu(0.01),)), Cpu(0.001, 0.0)))
    assert call == Call("llm", "POST /generate", CallPolicy(20.0, 2))
    assert (llm.model, llm.operations[0].steps) == (LlmSpec("chat-13b"), (Serve(),))
    assert platform.tenants[0].memory_bytes == 2 * 2**30
    assert spec.faults == (Surge("questions", 600.0, 3.0, 90.0), TenantGrows("batch", 1200.0, 1, ("llm",)))
    assert (spec.expects.cascade, spec.expects.cause, spec.expects.origin) == (True, "overload", "llm")


def test_a_generated_platform_is_changed_by_name() -> None:
    """Fields of parts, nested ones too, numbers as multiples, and policies of calls."""
    text = """
description: Changed.
adjust:
  pools: {chat: {quota: 2}}
  flows: {assistant: {rate: 0.5x, diurnal: 20%}}
  services:
    embedder: {model: {swap: 4s, sm: 0.5}}
    llm-chat: {autoscaler: null, slo: {latency: 30s}}
  calls:
    gateway -> llm-chat: {attempts: 4, timeout: 8s}
"""
    plain, changed = load("calm").platform, parse(text, "s.yaml").platform

    before = {flow.name: flow for flow in plain.flows}
    after = {flow.name: flow for flow in changed.flows}
    assert after["assistant"].rate == before["assistant"].rate / 2
    assert after["assistant"].diurnal == 0.2
    assert after["chat"] == before["chat"]
    services = {service.name.name: service for service in changed.services}
    model = services["embedder"].model
    assert isinstance(model, BatchModelSpec)
    assert (model.swap, model.sm, model.model) == (4.0, 0.5, "embed-large")
    assert services["llm-chat"].autoscaler is None
    assert services["llm-chat"].slo is not None
    assert (services["llm-chat"].slo.latency, services["llm-chat"].slo.objective) == (30.0, 0.95)
    chat = services["gateway"].operations[0].steps[-1]
    assert isinstance(chat, Call)
    assert (chat.policy.attempts, chat.policy.timeout, chat.policy.backoff) == (4, 8.0, 0.1)
    assert next(pool for pool in changed.pools if pool.name == "chat").quota == 2


def test_a_star_changes_the_calls_of_all_callers() -> None:
    """A larger platform has callers whose names a scenario cannot know."""
    text = 'description: All go without.\nadjust:\n  calls: {"* -> vector-store": {required: false}}\n'
    for size in ("small", "medium"):
        platform = parse(text, "s.yaml", size).platform
        required = [
            call.policy.required
            for service in platform.services
            for operation in service.operations
            for call in calls(operation.steps)
            if call.service == "vector-store"
        ]
        assert required
        assert not any(required)


def test_a_scenario_is_found_by_name_or_by_path(tmp_path: Path) -> None:
    """Equal texts give equal scenarios."""
    file = tmp_path / "calm.yaml"
    file.write_text("description: Nothing happens.\n")

    assert load(file).platform == load("calm").platform
    assert "calm" in names()


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("size", ["demo", "small", "medium", "large"])
def test_every_scenario_of_the_package_is_valid_on_every_size(name: str, size: str) -> None:
    """It loads, its description is a sentence, and its faults lie within its duration.

    Medium platforms stand for those whose names and places depend on the seed.
    """
    for seed in (1, 2, 3) if size == "medium" else (1,):
        spec = load(name, size, seed)

        assert spec.name == name
        assert spec.description.endswith(".")
        assert "\n" not in spec.description


CHANGES = [
    ("flow: questions, at: 10m", "flw: questions, at: 10m", "surge has no key 'flw'; did you mean 'flow'?"),
    ("flow: questions, at", "flow: question, at", "there is no flow 'question'; did you mean 'questions'?"),
    ("tenant: batch", "tenant: batsh", "there is no tenant 'batsh'; did you mean 'batch'?"),
    ("onto: [llm]", "onto: [lm]", "there is no service with a model 'lm'; did you mean 'llm'?"),
    ("onto: [llm]", "onto: [front]", "there is no service with a model 'front'; known: llm"),
    ("onto: [llm]", "places: [gpus/9]", "gpus has no GPU 9; it has 4, counted from 0"),
    ("workers: 1", "workers: 9", "with 9 workers more gpus/0 needs"),
    ("- surge:", "- serge:", "there is no 'serge' among faults; did you mean 'surge'?"),
    ("call: {service: llm,", "call: {service: lmm,", "there is no service 'lmm'; did you mean 'llm'?"),
    ("llm, route: POST /generate", "llm, route: POST /x", "there is no route of 'llm' like 'POST /x'; known: POST"),
    ("service: front, route: POST /ask", "service: back, route: /", "there is no service 'back'"),
    ("pool: chat\n", "pool: chatt\n", "there is no pool 'chatt'; did you mean 'chat'?"),
    ("hosts: [plain]", "hosts: [plane]", "there is no host 'plane'; did you mean 'plain'?"),
    ("places: [gpus/0-1]", "places: [gpu/0-1]", "there is no host 'gpu'; did you mean 'gpus'?"),
    ("rate: 2", "rate: 0", "rate: '0' is out of range; it is a number, more than 0"),
    ("rate: 2", "rate: -3", "rate: '-3' is out of range"),
    ("rate: 2", "rate: 2m", "rate: '2m' is not a number"),
    ("at: 10m", "at: soon", "at: 'soon' is not a duration such as 30s, 5m or 1h"),
    ("at: 10m", "at: 40m", "it starts at 2400 s, but the scenario ends at 1800 s; make it earlier"),
    ("hit_ratio: 80%", "hit_ratio: 130%", "hit_ratio: '130%' is out of range; it is a share"),
    ("quota: 2", "quota: 1", "pool 'chat' has a quota of 1 but its services start on 2 GPUs; raise it to 2"),
    ("replicas: 2", "replicas: 3", "replicas in pool 'chat' need 3 GPUs at the start, but it has 2; start fewer"),
    ("replicas: 2", "replicas: 2.5", "replicas: '2.5' is not a whole number; round it"),
    ("memory_bytes: 2GiB", "memory_bytes: 9GB", "gpus/0 needs 85.8 GB of memory but has 85.4 GB, after adding 'batch'"),
    ("{model: chat-13b}", "{model: chat, parameters: 70}", "the weights of 'llm' take 182% of the memory"),
    ("name: plain, gpus: 0", "name: gpus", "'gpus' is also the name of another host; rename one of them"),
    ("ml/batch", "ml/llm", "'llm' is also the name of another service"),
    ("ml/batch", "ml/l l m", "name: 'ml/l l m' names no service"),
    ("kind: batch", "kind: bach", "kind: there is no 'bach'; did you mean 'batch'?"),
    ("gpus: 4,", "gpus: 4, gpu_model: H1000,", "there is no GPU model 'H1000'; did you mean 'H100'?"),
    ("root_cause: questions", "root_cause: any", "no fault concerns the root cause 'any'; known: batch, questions"),
    ("cause: overload,", "", "a cascade is expected, but there is no cause; add 'cause:'"),
    ("cascade: true", "cascade: perhaps", "cascade: 'perhaps' is neither true nor false"),
    ("duration: 30m", "duration: 30m\nduration: 1h", "'duration' is there twice, first on line 2; keep one"),
    ("description: A shop that answers questions.", "descripton: A shop.", "has no key 'descripton'; did you mean"),
    ("duration: 30m", "topology: {load: 0.5}", "there is a platform and what changes a generated one"),
    ("  flows:", "\tflows:", "not YAML: found character '\\t'"),
    ("      slo: {latency: 10s}", "      slo: [10s]", "slo is a list; write it as keys and values"),
    ("    - name: shop/llm", "    - nome: shop/llm", "services has no key 'nome'; did you mean 'name'?"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), CHANGES, ids=[message[:40] for *_, message in CHANGES])
def test_an_error_has_its_line_and_a_remedy(old: str, new: str, message: str) -> None:
    """One mistake in a valid file."""
    assert old in WHOLE

    wrong = WHOLE.replace(old, new, 1)
    changed = next(
        number
        for number, pair in enumerate(zip(WHOLE.split("\n"), wrong.split("\n"), strict=False))
        if len(set(pair)) > 1
    )
    first = error_lines(wrong)[0]

    place, _, text = first.partition(": ")
    assert message in text
    assert place == f"s.yaml:{changed + 1}"
    assert "; " in text


def test_a_cycle_of_calls_is_listed() -> None:
    """Every operation on it, in the order of calls."""
    round_trip = "[{call: {service: front, route: POST /ask, policy: {timeout: 1}}}]"

    (message,) = error_lines(WHOLE.replace("[serve]", round_trip))

    steps = message.partition("calls form a cycle: ")[2].partition(";")[0].split(" -> ")
    assert steps[0] == steps[-1]
    assert set(steps) == {"front POST /ask", "llm POST /generate"}


def test_all_errors_are_reported_at_once_in_order_of_lines() -> None:
    """References, ranges and unknown keys together."""
    text = WHOLE.replace("flow: questions", "flow: quest").replace("workers: 1", "workers: 0").replace("30m", "0s")

    surge = text.splitlines().index("faults:") + 2
    assert [line.split(": ")[0] for line in error_lines(text)] == ["s.yaml:2", f"s.yaml:{surge}", f"s.yaml:{surge + 1}"]


def test_of_many_errors_ten_are_listed_and_the_rest_counted() -> None:
    """A readable message."""
    text = "description: x.\nfaults:\n" + "".join(f"  - surge: {{flow: f{n}, at: 1, factor: 2}}\n" for n in range(25))

    lines = error_lines(text)

    assert len(lines) == MAX_LISTED_PROBLEMS + 1
    assert lines[-1] == "s.yaml: and 15 more"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "s.yaml:1: the file is empty"),
        ("- a\n- b\n", "s.yaml:1: the scenario is a list"),
        ("description: [1]\n", "s.yaml:1: description is a list"),
        ("a: &x [*x]\n", "with its aliases written out, the file is too large"),
        ("[" * 5000, "is nested deeper than 60"),
        ('description: "\\UFFFFFFFF"\n', "s.yaml:1: not YAML"),
        ("description: \x00\n", "s.yaml:1: not YAML"),
        ("description: x.\n---\ndescription: y.\n", "not YAML: but found another document"),
        (
            "a: &a [x, x, x, x, x, x, x, x, x]\n"
            + "".join(f"{n}: &{n} [{', '.join(['*' + p] * 9)}]\n" for p, n in zip("abcdefg", "bcdefgh", strict=True)),
            "with its aliases written out, the file is too large",
        ),
        ("x" * 1_000_001, "the file has 1,000,001 characters; a scenario has at most 1,000,000"),
    ],
    ids=["empty", "list", "type", "itself", "deep", "escape", "null", "two", "bomb", "long"],
)
def test_files_that_are_no_scenario_are_rejected_with_a_reason(text: str, message: str) -> None:
    """Including alias bombs, whose expansion is bounded."""
    assert message in error_lines(text)[0]


@pytest.mark.parametrize(
    ("path", "size", "message"),
    [
        ("clam", "small", "there is no scenario 'clam'; did you mean 'calm'?"),
        ("calm", "tiny", "there is no size 'tiny'; known: demo, large, medium, small"),
        ("nowhere/s.yaml", "small", "nowhere/s.yaml:1: cannot be read: No such file or directory; give the path"),
    ],
)
def test_unknown_names_are_reported_with_the_known_ones(path: str, size: str, message: str) -> None:
    """Names, sizes, files."""
    with pytest.raises(ScenarioError) as caught:
        load(path, size)

    assert message in str(caught.value)


CUT = (
    WHOLE.replace("places: [gpus/0-1]", "places: [gpus/0], sharing: mig, mig_slices: [3, 2, 2], slots: 2")
    .replace("{model: chat-13b}", "{model: chat, parameters: 5}")
    .replace("places: [gpus/0, gpus/3], memory_bytes: 2GiB", "places: [gpus/0], slice: 2, memory_bytes: 6GB")
)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("parameters: 5", "parameters: 13", "the weights of 'llm' take 135% of the memory available to them"),
        (
            "6GB",
            "30GB",
            "MIG instance 2 of gpus/0 needs 30.0 GB of memory but has 21.3 GB, after adding 'batch'",
        ),
        ("workers: 1", "workers: 3", "with 3 workers more MIG instance 2 of gpus/0 needs 24.0 GB of memory"),
        (
            "onto: [llm]",
            "places: [gpus/3]",
            "'batch' has slice 2 and grows onto gpus/3, which has no such instance",
        ),
    ],
)
def test_memory_is_that_of_mig_instances(old: str, new: str, message: str) -> None:
    """The second replica is in the second instance, which has half of the first one's memory."""
    parse(CUT, "s.yaml")
    assert old in CUT
    with pytest.raises(ScenarioError) as caught:
        parse(CUT.replace(old, new), "s.yaml")

    assert message in str(caught.value)


def test_a_path_of_packets_names_two_services() -> None:
    """Lists of fixed length have that length."""
    text = "description: x.\nfaults:\n  - packet_loss: {between: %s, at: 1m, ratio: 5%%}\n"

    assert parse(text % "[gateway, llm-chat]", "s.yaml").faults == (PacketLoss(("gateway", "llm-chat"), 60.0, 0.05),)
    assert error_lines(text % "[gateway]") == ["s.yaml:3: between has 1 entries; give 2"]


def numeric_fields(cls: type, seen: set[type]) -> set[str]:
    """Names of the numbers in a dataclass of the spec, nested ones included."""
    if cls in seen:
        return set()
    seen.add(cls)
    found: set[str] = set()
    for name, wanted in get_type_hints(cls).items():
        waiting = [wanted]
        while waiting:
            part = waiting.pop()
            if part in (int, float):
                found.add(name)
            elif dataclasses.is_dataclass(part) and isinstance(part, type):
                found |= numeric_fields(part, seen)
            elif part != tuple[str, int]:
                waiting += get_args(part)
    return found


def test_every_number_of_the_spec_has_its_unit_and_range() -> None:
    """A new field needs an entry in quantities.py, or a scenario could set it to anything."""
    assert numeric_fields(ScenarioFile, set()) - QUANTITIES.keys() == set()


def test_missing_data_is_reported_with_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an incomplete installation of the package."""

    def lost(_: str) -> None:
        raise FileNotFoundError(2, "No such file or directory", "azure_conversation_2023.csv.gz")

    monkeypatch.setattr(traces, "load", lost)

    line = WHOLE.splitlines().index("  flows:") + 2
    missing = "the data of 'azure-conversation' is missing: azure_conversation_2023.csv.gz"
    assert error_lines(WHOLE) == [f"s.yaml:{line}: {missing}; reinstall the package, or name other data"]
