"""The API keeps what its OpenAPI document promises, for any parameters: status, content type, and body."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import positive_data_acceptance
from tests.web.worlds import SCENES, FakeHub

from foreshock_dashboard.web.app import create_app

CASES = settings().max_examples // 10
"""Of each address: a few in `make test`, a hundred in `make soak`."""


@pytest.fixture(scope="module")
def described() -> BaseSchema:
    """The API of a hub that sees train-llm starve embedder."""
    app = create_app(FakeHub(SCENES["contended"]()), version="0.0.0-test", hosts={"*"})
    return schemathesis.openapi.from_asgi("/api/openapi.json", app)


@pytest.mark.parametrize("mode", GenerationMode)
def test_every_answer_is_as_described(described: BaseSchema, mode: GenerationMode, subtests: pytest.Subtests) -> None:
    """For parameters that the document allows, and for others. Times and names are texts there: most are refused."""
    for result in described.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()

        @settings(max_examples=CASES, suppress_health_check=[HealthCheck.filter_too_much])
        @given(operation.as_strategy(generation_mode=mode))
        def answers(case: schemathesis.Case[Any]) -> None:
            case.call_and_validate(excluded_checks=[positive_data_acceptance])

        with subtests.test(operation.label):
            try:
                answers()
            except Unsatisfiable:
                assert mode is GenerationMode.NEGATIVE, "an address without parameters has no wrong ones"
