"""GPU lanes of a trace: the join of spans with GPUs, and how the time of each span was divided."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_dashboard.analysis.traces.gpu_lanes import TraceLanes, trace_lanes
from foreshock_dashboard.analysis.traces.occupancy import (
    OccupancyInterval,
    inferred_intervals,
    measured_intervals,
    merge,
)
from foreshock_dashboard.analysis.traces.span_gpu_join import SpanGpuJoin
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Attributes, AttributeValue, Kind, Span
from foreshock_dashboard.model.world import Gpu, Tenant
from foreshock_dashboard.render.verdict.trace_sentence import wait_sentence

T0 = 1_800_000_000 * 10**9
MS = 10**6
CHAT, TRAIN, EVAL = Service("serving", "llm-chat"), Service("ml", "train-llm"), Service("ml", "eval")
HOST = "id-2"
GPU2, GPU3 = Gpu("host-2", "2", "GPU-two"), Gpu("host-2", "3", "GPU-three")
GPU_FAR = Gpu("host-9", "0", "GPU-far")
ids = count(1)


def interval(
    service: Service,
    start: float,
    end: float,
    share: float | None = 1.0,
    *,
    gpu: Gpu = GPU3,
    resolution: float = 0.1,
    words: Sequence[str] = (),
) -> OccupancyInterval:
    """A service on a GPU between two times in ms from T0."""
    return OccupancyInterval(
        gpu, "id-9" if gpu is GPU_FAR else HOST, service, T0 + round(start * MS), T0 + round(end * MS), share,
        resolution, "measured", frozenset(words),
    )  # fmt: skip


def span(
    start: float = 0,
    end: float = 1000,
    *,
    service: Service = CHAT,
    kind: Kind = "server",
    parent: str = "",
    **resource: AttributeValue,
) -> Span:
    """A span of llm-chat with pid 7 on host-2, in ms from T0. `host_id` stands for host.id, and so on."""
    known: Attributes = {"host.id": HOST, "process.pid": 7} if not resource else {}
    given_ = {name.replace("__", ".").replace("_id", ".id"): value for name, value in resource.items()}
    named = {"service.namespace": service.namespace, "service.name": service.name}
    return Span(
        trace_id="1" * 32, span_id=f"{next(ids):016x}", parent_id=parent, name="generate", kind=kind,
        start_ns=T0 + round(start * MS), end_ns=T0 + round(end * MS), status="unset", status_message="",
        resource={**named, **known, **given_}, attributes={},
    )  # fmt: skip


MINE = ("host/7",)


def only(found: TraceLanes) -> dict[str, object]:
    """The time split of the only span, in ms."""
    (wait,) = found.waits.values()
    parts = {str(service): round(seconds * 1000, 3) for service, seconds in wait.split.others.items()}
    return {
        **parts,
        "own": round(wait.split.own * 1000, 3),
        "idle": round(wait.split.idle * 1000, 3),
        "unshared": round(wait.split.unshared * 1000, 3),
    }


ALTERNATING = [
    interval(CHAT, 0, 510, words=MINE),
    interval(TRAIN, 510, 985),
    interval(EVAL, 985, 1000),
]


@pytest.mark.parametrize(
    ("case", "known", "expected"),
    [
        (
            "one after the other",
            ALTERNATING,
            {"ml/train-llm": 475, "ml/eval": 15, "own": 510, "idle": 0, "unshared": 0},
        ),
        (
            "together, by their shares",
            [interval(CHAT, 0, 1000, 0.3, words=MINE), interval(TRAIN, 0, 1000, 0.6)],
            {"ml/train-llm": 600, "own": 300, "idle": 100, "unshared": 0},
        ),
        (
            "shares beyond the whole are scaled down",
            [interval(CHAT, 0, 1000, 0.5, words=MINE), interval(TRAIN, 0, 1000, 1.0), interval(EVAL, 0, 1000, 0.5)],
            {"ml/train-llm": 500, "ml/eval": 250, "own": 250, "idle": 0, "unshared": 0},
        ),
        (
            "together, with an unknown share",
            [interval(CHAT, 0, 1000, None, words=MINE), interval(TRAIN, 0, 1000, 0.9)],
            {"ml/train-llm": 500, "own": 500, "idle": 0, "unshared": 0},
        ),
        (
            "shared for a part of the time only",
            [interval(CHAT, -500, 400, 0.5, words=MINE), interval(TRAIN, -500, 400, 0.5)],
            {"ml/train-llm": 200, "own": 200, "idle": 0, "unshared": 600},
        ),
        (
            "shared before and after, not during",
            [interval(CHAT, -500, 0, words=MINE), interval(TRAIN, 1000, 2000)],
            {"own": 0, "idle": 0, "unshared": 1000},
        ),
        (
            "another GPU is busy",
            [interval(CHAT, 0, 1000, 0.5, words=MINE), interval(TRAIN, 0, 1000, 0.5, gpu=GPU2)],
            {"own": 500, "idle": 500, "unshared": 0},
        ),
        (
            "duplicates count once",
            [*ALTERNATING, *ALTERNATING],
            {"ml/train-llm": 475, "ml/eval": 15, "own": 510, "idle": 0, "unshared": 0},
        ),
    ],
)
def test_the_time_of_a_span_is_divided_among_active_services(
    case: str, known: list[OccupancyInterval], expected: dict[str, float]
) -> None:
    """A span of 1,000 ms."""
    assert only(trace_lanes([span()], known)) == expected, case


CONTAINER, POD = "ab" * 32, "3f2b9a10-5c4d-4e6f-8a7b-9c0d1e2f3a4b"
ON_THREE = [
    interval(CHAT, 0, 1000, 0.5, words=(f"container:{CONTAINER}/1", f"pod:{POD}/1")),
    interval(TRAIN, 0, 1000, 0.5, words=("host/4711",)),
    interval(CHAT, 0, 1000, 0.5, gpu=GPU2, words=("host/7",)),
    interval(EVAL, 0, 1000, 0.5, gpu=GPU2),
]


@pytest.mark.parametrize(
    ("resource", "place"),
    [
        ({"container__id": CONTAINER, "process__pid": 1}, (["GPU-three"], "process")),
        ({"container__id": f"containerd://{CONTAINER}", "process__pid": 1}, (["GPU-three"], "process")),
        ({"k8s__pod__uid": POD, "process__pid": 1}, (["GPU-three"], "process")),
        ({"container__id": CONTAINER, "vllm__process_id": 1}, (["GPU-three"], "process")),
        ({"host__id": HOST, "process__pid": 7}, (["GPU-two"], "process")),
        ({"host__id": HOST, "process__pid": "7"}, (["GPU-two"], "process")),
        ({"host__id": HOST, "container__id": CONTAINER, "process__pid": 99}, (["GPU-three"], "container")),
        ({"host__id": HOST, "k8s__pod__uid": POD}, (["GPU-three"], "container")),
        # A pid of another namespace is not one of the host's, whichever process has that number there.
        ({"host__id": HOST, "container__id": "cd" * 32, "process__pid": 7}, (["GPU-two", "GPU-three"], "service")),
        ({"host__id": HOST, "process__pid": 8}, (["GPU-two", "GPU-three"], "service")),
        ({"host__id": HOST}, (["GPU-two", "GPU-three"], "service")),
        ({"host__id": "another"}, None),
        ({"host__id": "another", "process__pid": 7}, None),
        ({"process__pid": 7}, (["GPU-two", "GPU-three"], "service")),
        ({"process__pid": True, "host__id": HOST}, (["GPU-two", "GPU-three"], "service")),
    ],
)
def test_a_span_is_joined_to_a_gpu_by_its_process_then_its_container_then_its_service(
    resource: dict[str, AttributeValue], place: tuple[list[str], str] | None
) -> None:
    """Only a match by process is measured."""
    found = SpanGpuJoin(ON_THREE).placement(renamed(resource))
    joined = None if found is None else (sorted((g.uuid for g in found.gpus), reverse=True), found.matched_by)
    assert joined == (None if place is None else (sorted(place[0], reverse=True), place[1]))
    waits = trace_lanes([renamed(resource)], ON_THREE).waits.values()
    assert [wait.quality for wait in waits] == (
        [] if place is None else ["measured" if place[1] == "process" else "inferred"]
    )


def renamed(resource: dict[str, AttributeValue]) -> Span:
    """A span with exactly this resource beside its service's name; `__` stands for a dot."""
    made = span()
    named = {"service.namespace": "serving", "service.name": "llm-chat"}
    return replace(made, resource={**named, **{name.replace("__", "."): value for name, value in resource.items()}})


def test_without_a_host_a_service_on_two_hosts_is_joined_to_neither() -> None:
    """Whether the second host's GPU was shared at that time or not: that a tenant is there suffices."""
    bare = renamed({})
    far = [interval(CHAT, 0, 1000, 0.5, gpu=GPU_FAR), interval(EVAL, 0, 1000, 0.5, gpu=GPU_FAR)]
    assert SpanGpuJoin(ON_THREE).placement(bare) is not None
    assert SpanGpuJoin([*ON_THREE, *far]).placement(bare) is None
    assert SpanGpuJoin(ON_THREE, [Tenant(GPU_FAR, CHAT)]).placement(bare) is None
    assert SpanGpuJoin(far[1:], [Tenant(GPU2, CHAT)]).placement(bare) is None


def test_several_gpus_of_a_service_have_their_mean() -> None:
    """It is unknown which one the span used. A GPU that was not shared counts as 0."""
    nowhere = renamed({"host.id": HOST})
    known = [interval(CHAT, 0, 1000, 0.2), interval(TRAIN, 0, 1000, 0.8)]
    (alone,) = trace_lanes([nowhere], known).waits.values()
    (among,) = trace_lanes([nowhere], known, [Tenant(GPU2, CHAT), Tenant(GPU3, CHAT)]).waits.values()

    assert (alone.gpus, round(alone.split.waited, 6)) == ((GPU3,), 0.8)
    assert (among.gpus, round(among.split.waited, 6)) == ((GPU2, GPU3), 0.4)
    assert math.isclose(among.split.length, 1.0)


def test_a_process_on_several_gpus_has_the_longest_wait() -> None:
    """A model spread over GPUs continues when the last of them has finished."""
    known = [
        *(interval(CHAT, 0, 1000, 0.5, gpu=gpu, words=MINE) for gpu in (GPU2, GPU3)),
        interval(EVAL, 0, 1000, 0.1, gpu=GPU2),
        interval(TRAIN, 0, 1000, 0.5, gpu=GPU3),
    ]
    (wait,) = trace_lanes([span()], known).waits.values()
    assert (wait.gpus, wait.quality, round(wait.split.waited, 6)) == ((GPU3,), "measured", 0.5)


@pytest.mark.parametrize(
    ("span_service", "on"),
    [
        (("", "llm-chat"), CHAT),
        (CHAT, Service("", "llm-chat")),
        (TRAIN, None),
        (("eu//", "llm-chat"), Service("eu//serving", "llm-chat")),
        (("eu//serving", "llm-chat"), Service("eu//", "llm-chat")),
        (("us//", "train-llm"), None),
    ],
)
def test_a_missing_namespace_still_matches(span_service: tuple[str, str], on: Service | None) -> None:
    """Of the exporter or of the span; two namespaces are two services."""
    known = [interval(on or EVAL, 0, 1000, 0.5), interval(Service("b", "train-llm"), 0, 1000, 0.5)]
    made = replace(renamed({"host.id": HOST}))
    named = {**made.resource, "service.namespace": span_service[0], "service.name": span_service[1]}
    found = SpanGpuJoin(known).placement(replace(made, resource=named))
    assert (found.service if found else None) == on


@pytest.mark.parametrize("kind", ["client", "producer"])
def test_a_span_that_waits_for_another_service_waits_for_no_gpu(kind: Kind) -> None:
    """The same process on the same GPU."""
    assert trace_lanes([span(kind=kind)], ALTERNATING).waits == {}


def test_nested_spans_count_once() -> None:
    """A server's span and its internal spans overlap."""
    outer = span()
    inner = span(400, 1000, kind="internal", parent=outer.span_id)
    found = trace_lanes([outer, inner], ALTERNATING)

    assert [round(wait.split.waited, 6) for wait in found.waits.values()] == [0.49, 0.49]
    assert found.longest is not None
    assert math.isclose(found.longest.split.waited, 0.49)
    (lane,) = found.lanes
    assert lane.spans == (outer.span_id, inner.span_id)
    assert [(part.service, (part.start - T0) // MS, (part.end - T0) // MS) for part in lane.intervals] == [
        (EVAL, 985, 1000), (TRAIN, 510, 985), (CHAT, 0, 510),
    ]  # fmt: skip


def test_counters_give_an_inferred_lane_where_two_services_were_active() -> None:
    """One mean over the time around; alone, a service cannot be disturbed."""
    start, end = T0 / 1e9 - 30, T0 / 1e9 + 29
    known = inferred_intervals(GPU3, HOST, {CHAT: 0.25, TRAIN: 0.75, EVAL: 0.01}, start, end)
    (wait,) = trace_lanes([span()], known).waits.values()

    assert (wait.quality, round(wait.split.waited, 6), round(wait.split.own, 6)) == ("inferred", 0.75, 0.25)
    assert wait.split.resolution == pytest.approx(59.0)
    assert inferred_intervals(GPU3, HOST, {CHAT: 0.25, TRAIN: 0.04}, start, end) == ()


COARSE = [interval(CHAT, 0, 1000, 0.5, resolution=1, words=MINE), interval(TRAIN, 0, 1000, 0.5, resolution=1)]


@pytest.mark.parametrize(
    ("known", "spans", "sentence"),
    [
        ([], [span()], ""),
        (
            ALTERNATING,
            [span()],
            "GPU wait 490 ms of 1.00 s (49%) on host-2/gpu-3, mostly while ml/train-llm was running.",
        ),
        (
            ALTERNATING,
            [span(-200, 1100, service=Service("", "gateway"), host__id="id-1"), span(parent="0")],
            "GPU wait 490 ms of 1.30 s (38%) on host-2/gpu-3, mostly while ml/train-llm was running.",
        ),
        (
            COARSE,
            [span()],
            "GPU wait up to 500 ms of 1.00 s (50%) on host-2/gpu-3 while ml/train-llm was running (resolution 1.00 s).",
        ),
        (
            ALTERNATING,
            [renamed({"host.id": HOST})],
            (
                "GPU wait up to 490 ms of 1.00 s (49%) on host-2/gpu-3, "
                "mostly while ml/train-llm was running (inferred by service)."
            ),
        ),
        (
            inferred_intervals(GPU3, HOST, {CHAT: 0.25, TRAIN: 0.75}, T0 / 1e9 - 30, T0 / 1e9 + 29),
            [span(0, 4000)],
            (
                "GPU wait up to 3.00 s of 4.00 s (75%) on host-2/gpu-3 while ml/train-llm was running "
                "(inferred from counters, resolution 59.0 s)."
            ),
        ),
        (
            inferred_intervals(GPU3, HOST, {CHAT: 0.25, TRAIN: 0.75}, T0 / 1e9 - 30, T0 / 1e9 + 29),
            [span()],
            "GPU wait unknown: GPU samples are 59.0 s apart.",
        ),
        (
            [interval(CHAT, 0, 1000, 0.9, words=MINE), interval(TRAIN, 2000, 3000)],
            [span()],
            "No GPU wait: no other service ran on host-2/gpu-3.",
        ),
        (
            [interval(CHAT, 0, 995, 0.9, words=MINE), interval(TRAIN, 995, 1000)],
            [span()],
            "GPU wait: up to 5 ms of 1.00 s on host-2/gpu-3.",
        ),
        ([interval(CHAT, 0, 1000, words=MINE)], [span(500, 500)], ""),
        (
            [interval(CHAT, 0, 40_000, 0.5, words=MINE), interval(TRAIN, 0, 40_000, 0.5)],
            [span(0, 40_000)],
            "GPU wait up to 20.0 s of 40.0 s (50%) on host-2/gpu-3 while ml/train-llm was running.",
        ),
        (
            ALTERNATING,
            [span(-200, -100, service=Service("", "gateway"), host__id="id-1"), span(parent="0")],
            "GPU wait 490 ms of 1.00 s of GPU work (49%) on host-2/gpu-3, mostly while ml/train-llm was running.",
        ),
    ],
)
def test_the_sentence_claims_no_more_than_is_known(
    known: Sequence[OccupancyInterval], spans: list[Span], sentence: str
) -> None:
    """It names an upper bound if shares were divided, and is empty if the resolution is too coarse."""
    assert wait_sentence(trace_lanes(spans, known)) == sentence


def occupancy_span(**attributes: AttributeValue) -> Span:
    """As an exporter sends it; `__` stands for a dot."""
    occupancy = {name.replace("__", "."): value for name, value in attributes.items()}
    resource: Attributes = {"service.name": "foreshock-exporter", "host.id": HOST, "host.name": "host-2"}
    return replace(span(0, 500, kind="internal"), name="gpu.occupancy", resource=resource, attributes=occupancy)


def test_an_interval_is_read_from_an_occupancy_span() -> None:
    """With all of its attributes."""
    occupancy = occupancy_span(
        hw__id="GPU-three", hw__name="GPU 3", foreshock__occupant__name="train-llm",
        foreshock__occupant__namespace="ml", foreshock__occupant__processes=["host/4711"],
        foreshock__occupancy__share=0.5, foreshock__occupancy__resolution=0.1,
    )  # fmt: skip
    assert measured_intervals([occupancy, span()]) == (interval(TRAIN, 0, 500, 0.5, words=["host/4711"]),)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"hw__id": "GPU-three"},
        {"hw__id": 7, "foreshock__occupant__name": "x"},
        {"hw__id": "GPU-three", "foreshock__occupant__name": ["x"]},
    ],
)
def test_an_occupancy_span_that_names_no_gpu_or_service_is_left_out(attributes: dict[str, AttributeValue]) -> None:
    """The others still count."""
    assert measured_intervals([occupancy_span(**attributes)]) == ()


@pytest.mark.parametrize("share", [None, "half", True, -0.1, 1.5, math.nan, math.inf])
def test_an_invalid_share_is_unknown(share: AttributeValue) -> None:
    """Then the time is divided evenly."""
    occupancy = occupancy_span(hw__id="G", foreshock__occupant__name="x", foreshock__occupancy__share=share)
    assert [interval_.share for interval_ in measured_intervals([occupancy])] == [None]


TICKS = st.integers(0, 60)
SHARES = st.one_of(st.none(), st.sampled_from([0.05, 0.3, 0.5, 1.0]))


@st.composite
def intervals(draw: st.DrawFn) -> OccupancyInterval:
    """Of any service on one of two GPUs; they may overlap, also with others of the same service."""
    start = draw(TICKS)
    service = draw(st.sampled_from([CHAT, TRAIN, EVAL]))
    words = MINE if service == CHAT and draw(st.booleans()) else ()
    gpu = draw(st.sampled_from([GPU2, GPU3]))
    return interval(service, start, start + draw(st.integers(1, 40)), draw(SHARES), gpu=gpu, words=words)


@st.composite
def request_spans(draw: st.DrawFn) -> Span:
    """Of the process, or of its service; some last no time."""
    start = draw(TICKS)
    made = span(start, start + draw(st.integers(0, 60)), kind=draw(st.sampled_from(["server", "internal", "client"])))
    return made if draw(st.booleans()) else replace(made, resource=renamed({"host.id": HOST}).resource)


def figures(found: TraceLanes) -> list[tuple[object, ...]]:
    """Everything as numbers rounded to a nanosecond."""
    waits = [(key, wait) for key, wait in found.waits.items()]
    all_waits = [*waits, ("worst", found.longest), *((lane.gpu, lane.wait) for lane in found.lanes)]
    return sorted(
        (
            str(key), wait.gpus, wait.service, wait.quality, wait.split.overlapping, round(wait.split.own, 9),
            round(wait.split.idle, 9), round(wait.split.unshared, 9),
            sorted((service, round(seconds, 9)) for service, seconds in wait.split.others.items()),
        )
        for key, wait in all_waits if wait is not None
    )  # fmt: skip


@given(st.lists(request_spans(), min_size=1, max_size=4), st.lists(intervals(), max_size=12))
def test_the_parts_of_a_span_add_up_to_its_duration_and_none_is_negative(
    spans: list[Span], known: list[OccupancyInterval]
) -> None:
    """For any overlaps and gaps."""
    found = trace_lanes(spans, known)
    by_id = {(span_.span_id, span_.kind): span_ for span_ in spans}
    for key, wait in found.waits.items():
        assert min(wait.split.own, wait.split.idle, wait.split.unshared, *wait.split.others.values(), 0.0) >= 0.0
        assert math.isclose(wait.split.length, by_id[key].duration_ns / 1e9, abs_tol=1e-9)
        assert wait.service not in wait.split.others


@given(st.lists(request_spans(), min_size=1, max_size=4), st.lists(intervals(), max_size=12), st.randoms())
def test_the_order_in_which_spans_and_intervals_come_changes_nothing(
    spans: list[Span], known: list[OccupancyInterval], random: Random
) -> None:
    """They come in any order from any store."""
    mixed, others = random.sample(known, len(known)), random.sample(spans, len(spans))
    assert figures(trace_lanes(others, mixed)) == figures(trace_lanes(spans, known))


@given(st.lists(request_spans(), min_size=1, max_size=4), st.lists(intervals(), max_size=8), st.data())
def test_cutting_or_merging_intervals_changes_nothing(
    spans: list[Span], known: list[OccupancyInterval], data: st.DataObject
) -> None:
    """An exporter cuts a long interval after ten seconds."""
    pieces = []
    for whole in known:
        cut = data.draw(st.integers(whole.start, whole.end))
        pieces += [part for part in (replace(whole, end=cut), replace(whole, start=cut)) if part.end > part.start]
    assert figures(trace_lanes(spans, pieces)) == figures(trace_lanes(spans, known))
    assert figures(trace_lanes(spans, merge(pieces))) == figures(trace_lanes(spans, known))
