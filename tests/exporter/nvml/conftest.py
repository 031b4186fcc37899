"""An NVML driver on a fake NVML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import pytest
from tests.exporter.nvml.fake import FakeNvml

from foreshock_exporter.nvml import Library, NvmlDriver


class Open(Protocol):
    """Makes an adapter that is open on a fake."""

    def __call__(
        self, errors: Mapping[str, str] | None = None, *, per_link: bool = False, **parts: object
    ) -> tuple[NvmlDriver, FakeNvml]:
        """`errors` by function, each a constant without NVML_ERROR_; `parts` are fields of the fake, or answers."""
        ...


@pytest.fixture
def clock() -> list[float]:
    """The one time of the adapters, in seconds."""
    return [0.0]


@pytest.fixture
def driver(clock: list[float]) -> Open:
    """An open adapter over a fake."""

    def make(
        errors: Mapping[str, str] | None = None, *, per_link: bool = False, **parts: object
    ) -> tuple[NvmlDriver, FakeNvml]:
        known = FakeNvml.__dataclass_fields__
        state: dict[str, Any] = {name: part for name, part in parts.items() if name in known}
        answers = {name: part for name, part in parts.items() if name not in known}
        fake = FakeNvml(answers=answers, **state)
        for name, error in (errors or {}).items():
            fake.fail(name, error)
        adapter = NvmlDriver(Library(fake, timer=lambda: clock[0]), per_link=per_link)
        adapter.count()
        return adapter, fake

    return make
