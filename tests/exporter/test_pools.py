"""GPU pools: parsing, assignment, and unmatched rules."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from foreshock_exporter.exporter import Exporter
from foreshock_exporter.gpu.collector import GpuOptions
from foreshock_exporter.gpu.pools import PoolMember, Pools, UnmatchedRule, assigned_pools, parse_pools, unmatched_rules
from foreshock_exporter.model.device import DeviceError, Instance, Reading
from foreshock_exporter.options import parse

if TYPE_CHECKING:
    from tests.exporter.conftest import ScriptedGpu, ScriptedHost, Series

HOST = (PoolMember("0", "GPU-a"), PoolMember("1", "GPU-b"), PoolMember("2", "GPU-c", ("MIG-1", "MIG-2")))


@pytest.mark.parametrize(
    ("text", "pools"),
    [
        ("chat", Pools({}, "chat")),
        ("chat=0", Pools({"0": "chat"})),
        ("chat=0,1;batch=2", Pools({"0": "chat", "1": "chat", "2": "batch"})),
        ("batch;chat=0", Pools({"0": "chat"}, "batch")),
        ("chat=0;batch", Pools({"0": "chat"}, "batch")),
        (" chat = 00 , 1 ; batch ", Pools({"0": "chat", "1": "chat"}, "batch")),
        ("chat=GPU-a,MIG-1,3", Pools({"GPU-a": "chat", "MIG-1": "chat", "3": "chat"})),
        ("chat=MIG-GPU-a/7/0", Pools({"MIG-GPU-a/7/0": "chat"})),
        ("chat=0;chat=1", Pools({"0": "chat", "1": "chat"})),
        ("big models: 80 GB=0", Pools({"0": "big models: 80 GB"})),
    ],
)
def test_rules_are_a_name_with_the_gpus_that_it_is_for_or_for_all_others(text: str, pools: Pools) -> None:
    """Spaces around words, and zeros before an index, mean nothing."""
    assert parse_pools(text) == pools


WRONG = [
    ("", "'' names no pool; write NAME, NAME=0,1"),
    ("=0", "'=0' names no pool"),
    ("chat;", "'' names no pool"),
    ("chat=", "'chat=' has '', which is neither an index nor a UUID of nvidia-smi"),
    ("chat=0,", "'chat=0,' has ''"),
    ("chat=0-3", "'chat=0-3' has '0-3'"),
    ("chat=-1", "'chat=-1' has '-1'"),
    ("chat=first", "'chat=first' has 'first'"),
    ("0=chat", "'0=chat' has 'chat'"),
    ("chat,batch", "'chat,batch' is not a pool name"),
    ("a\tb=0", "is not a pool name (up to 128 printable characters"),
    ("x" * 129, "is not a pool name (up to 128 printable characters"),
    ("chat;batch", "'chat' and 'batch' both apply to all GPUs; list the GPUs of one"),
    ("chat=0;batch=1,0", "GPU 0 is listed twice, for 'chat' and 'batch'; remove one"),
    ("chat=0,00", "GPU 0 is listed twice, for 'chat' and 'chat'"),
    ("chat=GPU-a;batch=GPU-a", "GPU GPU-a is listed twice"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_a_rule_that_makes_no_sense_is_named_with_the_remedy(text: str, message: str) -> None:
    """Nothing of it is used."""
    with pytest.raises(ValueError) as caught:
        parse_pools(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "variable", "pools"),
    [
        ([], None, Pools()),
        (["--pool", "chat"], None, Pools({}, "chat")),
        (["--pool=batch", "--pool=chat=0,1"], None, Pools({"0": "chat", "1": "chat"}, "batch")),
        ([], "batch;chat=0,1", Pools({"0": "chat", "1": "chat"}, "batch")),
        (["--pool=chat=0"], "batch;chat=1", Pools({"0": "chat"})),
    ],
)
def test_the_flag_may_be_given_again_and_wins_over_the_variable(
    arguments: list[str], variable: str | None, pools: Pools
) -> None:
    """As a whole: rules of both are not mixed."""
    environ = {} if variable is None else {"FORESHOCK_EXPORTER_POOL": variable}
    assert parse(arguments, environ).pools == pools


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        ("chat", {"GPU-a": "chat", "GPU-b": "chat", "GPU-c": "chat"}),
        ("chat=0", {"GPU-a": "chat"}),
        ("batch;chat=0,GPU-c", {"GPU-a": "chat", "GPU-b": "batch", "GPU-c": "chat"}),
        ("small=MIG-1", {"MIG-1": "small"}),
        ("chat;small=MIG-1", {"GPU-a": "chat", "GPU-b": "chat", "GPU-c": "chat", "MIG-1": "small"}),
        ("chat=0;batch=GPU-a", {"GPU-a": "batch"}),
        ("chat=7,GPU-x", {}),
    ],
)
def test_a_gpu_is_in_the_pool_that_its_uuid_or_index_or_nothing_else_names(rules: str, found: dict[str, str]) -> None:
    """One that no rule is for is in none; an instance is in one only where it is named itself."""
    assert assigned_pools(parse_pools(rules), HOST) == found


@pytest.mark.parametrize(
    ("rules", "count", "lost", "before", "found"),
    [
        ("chat;a=0,GPU-b,MIG-2", 3, (), (), ()),
        ("chat=3", 3, (), (), (UnmatchedRule("3", "chat", "not_found"),)),
        ("chat=3", 4, (), (), ()),
        ("chat=GPU-x", 3, (), (), (UnmatchedRule("GPU-x", "chat", "not_found"),)),
        ("chat=MIG-x", 3, (), (), (UnmatchedRule("MIG-x", "chat", "not_found"),)),
        ("chat=GPU-x", 3, (PoolMember("3", "GPU-x"),), (), ()),
        ("chat=MIG-x", 3, (PoolMember("3", "GPU-x", ("MIG-x",)),), (), ()),
        ("chat=3", 3, (PoolMember("3", "GPU-x"),), (), ()),
        ("chat=4", 3, (PoolMember("3", "GPU-x"),), (), (UnmatchedRule("4", "chat", "not_found"),)),
        ("chat=3;batch=GPU-x", 3, (PoolMember("3", "GPU-x"),), (), (UnmatchedRule("3", "chat", "overruled"),)),
        ("chat=0;batch=GPU-x", 3, (PoolMember("0", "GPU-x"),), (), ()),
        ("chat=GPU-x", 4, (), (), ()),
        (
            "chat=GPU-x",
            4,
            (),
            (UnmatchedRule("GPU-x", "chat", "not_found"),),
            (UnmatchedRule("GPU-x", "chat", "not_found"),),
        ),
        ("chat=0;batch=GPU-a", 3, (), (), (UnmatchedRule("0", "chat", "overruled"),)),
        ("chat=0;chat=GPU-a", 3, (), (), ()),
    ],
)
def test_a_rule_is_unmatched_without_its_gpu_or_overruled_by_uuid(
    rules: str,
    count: int,
    lost: tuple[PoolMember, ...],
    before: tuple[UnmatchedRule, ...],
    found: tuple[UnmatchedRule, ...],
) -> None:
    """A lost GPU is reported elsewhere, and a GPU that does not respond may be the one."""
    assert unmatched_rules(parse_pools(rules), HOST, (*lost, *HOST), count, before) == found


def exporter_of(host: ScriptedHost, rules: str) -> Exporter:
    """An exporter of a scripted host."""
    return Exporter(
        host,
        host.resolve,
        GpuOptions(pools=parse_pools(rules)),
        host_id="1",
        host_name="n",
        now=host.now,
        timer=lambda: 0.0,
    )


def label_values(series: Series, name: str, *labels: str) -> list[tuple[str, ...]]:
    """These labels of every series of a metric."""
    return sorted(tuple(dict(of)[label] for label in labels) for found, of in series if found == name)


def test_each_gpu_that_a_rule_is_for_has_one_series_also_while_it_is_lost(
    scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu], series: Callable[[bytes], Series]
) -> None:
    """So lost GPUs can be selected by pool. Without rules there is no series."""
    host = scripted(gpu(), gpu(), gpu())
    exporter = exporter_of(host, "chat=0;batch=GPU-1")
    exporter.sample()
    pools = [("GPU-0", "chat"), ("GPU-1", "batch")]
    assert label_values(series(exporter.render()), "gpu_pool_info", "uuid", "pool") == pools
    assert b"gpu_pool_info" not in exporter.render(collectors=frozenset(("network",)))

    host.gpus[0].broken = DeviceError("lost", "GPU 0 is lost")
    host.time += 1.0
    exporter.sample()
    found = series(exporter.render())
    assert found["gpu_lost", frozenset({("gpu", "0"), ("uuid", "GPU-0"), ("pci_bus_id", "0000:00:00.0")})] == 1.0
    assert label_values(found, "gpu_pool_info", "uuid", "pool") == pools
    assert label_values(found, "foreshock_exporter_pool_unmatched", "gpu") == []

    bare = host.exporter()
    bare.sample()
    assert b"pool" not in bare.render()


def test_an_instance_that_a_rule_names_is_in_its_pool(
    scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu], series: Callable[[bytes], Series]
) -> None:
    """In a separate metric beside that of its GPU, which may be in another one or in none."""
    host = scripted(gpu(sharing="mig"))
    host.read = lambda gpu: Reading(instances=(Instance("MIG-1", 7, 0, "1g.10gb"), Instance("MIG-2", 8, 0, "1g.10gb")))  # type: ignore[method-assign]
    exporter = exporter_of(host, "large;small=MIG-2")
    exporter.sample()
    found = series(exporter.render())
    assert label_values(found, "gpu_pool_info", "uuid", "pool") == [("GPU-0", "large")]
    of_instances = label_values(found, "gpu_mig_pool_info", "gpu", "uuid", "mig_uuid", "pool")
    assert of_instances == [("0", "GPU-0", "MIG-2", "small")]


def test_a_rule_for_a_lost_gpu_is_not_unmatched(
    scripted: Callable[..., ScriptedHost],
    gpu: type[ScriptedGpu],
    series: Callable[[bytes], Series],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """By its index or an instance, also after a reload of the driver without it."""
    host = scripted(gpu(), gpu(), gpu(sharing="mig"))
    host.read = lambda gpu: Reading(instances=(Instance(f"MIG-{gpu}", 7, 0, "1g.10gb"),))  # type: ignore[method-assign]
    exporter = exporter_of(host, "chat=2;small=MIG-2")

    def pass_over() -> None:
        exporter.sample()
        host.time += 1.0

    pass_over()
    pass_over()
    host.broken = DeviceError("driver", "the driver is reloaded")
    pass_over()
    host.broken = None
    del host.gpus[2]
    pass_over()
    pass_over()
    found = series(exporter.render())
    lost = {dict(of)["uuid"]: value for (name, of), value in found.items() if name == "gpu_lost"}
    assert lost == {"GPU-0": 0.0, "GPU-1": 0.0, "GPU-2": 1.0}
    assert label_values(found, "gpu_pool_info", "uuid", "pool") == [("GPU-2", "chat")]
    assert label_values(found, "foreshock_exporter_pool_unmatched", "gpu", "uuid") == []
    assert [line for line in caplog.messages if "--pool" in line] == []


def test_a_gpu_that_is_not_there_is_logged_once_and_counted_until_it_comes(
    scripted: Callable[..., ScriptedHost],
    gpu: type[ScriptedGpu],
    series: Callable[[bytes], Series],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It may be added later, so the exporter starts and keeps the rule."""
    caplog.set_level(logging.INFO, logger="foreshock_exporter")

    def pass_over() -> Series:
        exporter.sample()
        host.time += 1.0
        return series(exporter.render())

    def pool_log() -> list[str]:
        return [line for line in caplog.messages if "--pool" in line]

    host = scripted(gpu())
    exporter = exporter_of(host, "chat=1;batch=GPU-2,GPU-x")
    pass_over()
    found = pass_over()
    vain_ones = [
        ("", "GPU-2", "batch", "not_found"),
        ("", "GPU-x", "batch", "not_found"),
        ("1", "", "chat", "not_found"),
    ]
    assert label_values(found, "foreshock_exporter_pool_unmatched", "gpu", "uuid", "pool", "reason") == vain_ones
    no_such = "this host has no such GPU; nvidia-smi -L lists those that it has"
    assert pool_log() == [
        f"--pool chat=1: {no_such}",
        f"--pool batch=GPU-2: {no_such}",
        f"--pool batch=GPU-x: {no_such}",
    ]

    host.broken = DeviceError("driver", "the driver is reloaded")
    assert label_values(pass_over(), "foreshock_exporter_pool_unmatched", "uuid") == [("",), ("GPU-2",), ("GPU-x",)]
    host.broken = None
    host.gpus += [gpu(), gpu()]
    pass_over()
    found = pass_over()
    assert label_values(found, "gpu_pool_info", "uuid", "pool") == [("GPU-1", "chat"), ("GPU-2", "batch")]
    assert label_values(found, "foreshock_exporter_pool_unmatched", "uuid") == [("GPU-x",)]
    assert pool_log()[3:] == ["--pool chat=1: works again", "--pool batch=GPU-2: works again"]


def test_where_an_index_and_a_uuid_name_one_gpu_for_two_pools_the_uuid_holds(
    scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu], series: Callable[[bytes], Series]
) -> None:
    """Detected and reported as soon as the GPU responds."""
    exporter = exporter_of(scripted(gpu()), "chat=0;batch=GPU-0")
    exporter.sample()
    exporter.sample()
    found = series(exporter.render())
    assert label_values(found, "gpu_pool_info", "uuid", "pool") == [("GPU-0", "batch")]
    assert label_values(found, "foreshock_exporter_pool_unmatched", "gpu", "pool", "reason") == [
        ("0", "chat", "overruled")
    ]
