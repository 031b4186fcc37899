"""Service names from pods and programs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_exporter.attribution.service_resolver import program, workload


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        ("vllm-llama-6d5f9c7b8d-x2x9k", "vllm-llama"),
        ("llama-3-6d5f9c7b8d-x2x9k", "llama-3"),
        ("dcgm-vqbz7", "dcgm"),
        ("trainer-0", "trainer"),
        ("nightly-28391234-kx2mz", "nightly"),
        ("batch-embed", "batch-embed"),
        ("plain", "plain"),
    ],
)
def test_a_pod_is_named_after_its_controller(pod: str, expected: str) -> None:
    assert workload(pod) == expected


@given(st.text())
def test_a_workload_is_never_empty_and_begins_the_name_of_its_pod(pod: str) -> None:
    assert pod.startswith(workload(pod))
    assert bool(workload(pod)) == bool(pod)


@given(
    st.from_regex(r"[a-z]([-a-z0-9]{0,30}[a-z])?", fullmatch=True),
    st.text("456789bcdf", min_size=6, max_size=10),
    st.text("bcdfghjklmnpqrstvwxz2456789", min_size=5, max_size=5),
)
def test_all_replicas_of_a_deployment_are_one_service(name: str, template: str, replica: str) -> None:
    assert workload(f"{name}-{template}-{replica}") == name


@pytest.mark.parametrize(
    ("executable", "cmdline", "expected"),
    [
        ("nbody", b"nbody\0--n\0", "nbody"),
        ("python3", b"python3\0-m\0vllm.entrypoints.api\0--model\0x\0", "vllm.entrypoints.api"),
        ("python3.11", b"python3\0-W\0ignore\0/a/b/serve.py\0", "serve"),
        ("python3.13t", b"/opt/py/bin/python\0/usr/local/bin/vllm\0serve\0", "vllm"),
        ("python3.12", b"venv/bin/python\0train.py\0", "train"),
        ("python3", b"python3\0-c\0import secrets\0", "python3"),
        ("python3", b"", "python3"),
        ("python3.12", b"VLLM::EngineCore_0\0\0\0\0", "VLLM"),
        ("python3.12", b"ray::Trainer.step(key=abc)\0", "ray"),
        ("python3.12", b"\x01\x02", "python3.12"),
        ("java", b"java\0-jar\0/opt/engine.jar\0", "engine.jar"),
    ],
)
def test_an_interpreter_is_named_after_its_program_and_never_by_arguments(
    executable: str, cmdline: bytes, expected: str
) -> None:
    assert program(executable, cmdline) == expected


@given(st.text(), st.binary())
def test_no_command_line_breaks_the_parser(executable: str, raw: bytes) -> None:
    program(executable, raw)
    assert program("python3", raw) != ""
