"""Any file is a scenario or a ScenarioError."""

from __future__ import annotations

import contextlib
import re

from hypothesis import example, given
from hypothesis import strategies as st

from foreshock_simulator.scenarios.load import parse
from foreshock_simulator.scenarios.parsing.document import MAX_LISTED_PROBLEMS, ScenarioError

WORDS = st.sampled_from([
    "description", "duration", "topology", "adjust", "platform", "faults", "expects", "surge", "flow", "at",
    "factor", "ramp", "load", "spare", "pools", "chat", "quota", "services", "llm-chat", "model", "swap",
    "autoscaler", "calls", "flows", "assistant", "rate", "tenants", "batch-embed", "places", "hosts", "name",
    "gpus", "steps", "operations", "route", "together", "cached", "serve", "cpu", "median", "policy", "timeout",
    "attempts", "null", "true", "3", "-1", "0", "2x", "1e400", ".nan", "5m", "40GB", "12%", "host-1/0",
    "host-1/0-3", "host-1/9-2", "ml/batch", "gateway", "->", "~", "cascade", "root_cause", "origin", "cause",
    "overload", "tenant_grows", "onto", "workers", "packet_loss", "between", "ratio", "lost_scrapes", "throttle",
    "replicas_fail", "replicas", "policy_change", "caller", "callee",
])  # fmt: skip
SCALARS = WORDS | st.text(max_size=6).map(repr) | st.integers(-(10**20), 10**20).map(str) | st.floats().map(str)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda parts: "[" + ", ".join(parts) + "]")
        | st.lists(st.tuples(WORDS, inner), max_size=4).map(
            lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
        )
    ),
    max_leaves=12,
)
FILES = st.lists(st.tuples(WORDS, VALUES), max_size=6).map(
    lambda pairs: "description: x.\n" + "".join(f"{key}: {value}\n" for key, value in pairs)
)


def outcome(text: str) -> None:
    """Parse a text; check the form of the message on an error."""
    try:
        spec = parse(text, "s.yaml")
    except ScenarioError as error:
        lines = str(error).splitlines()
        assert 1 <= len(lines) <= MAX_LISTED_PROBLEMS + 1
        for line in lines[:MAX_LISTED_PROBLEMS]:
            assert re.match(r"s\.yaml:\d+: .+; .+", line)
    else:
        assert spec.platform.services


@given(FILES)
@example("adjust: {services: {llm-chat: {model: {llm: {model: x, tensor_parallel: 16}}}}}")
@example("description: x.\nadjust: {pools: {chat: {places: []}}}")
@example("description: x.\nadjust: {pools: {chat: {places: [], quota: null}}, services: {llm-chat: {operations: []}}}")
@example("description: x.\nadjust: {services: {llm-chat: {autoscaler: {metric: cpu}}}}")
@example("description: x.\nadjust: {services: {gateway: {hosts: []}}, tenants: {batch-embed: {slice: 0}}}")
@example("description: x.\nplatform: {hosts: [], pools: [], services: []}")
def test_a_file_of_known_words_in_any_order_is_a_scenario_or_an_error(text: str) -> None:
    """Misplaced keys, values of other kinds, numbers out of range."""
    outcome(text)


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: data.decode("latin-1")))
@example("!!python/object:os.system {}")
@example("? {a: b}\n: c")
@example("description: !!binary x")
@example("<<: *a")
def test_any_text_is_a_scenario_or_an_error(text: str) -> None:
    """Including tags, anchors and control characters, of which nothing is executed."""
    with contextlib.suppress(UnicodeEncodeError):
        outcome(text)
