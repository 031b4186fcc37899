"""A hub in which a scene plays, and somebody who asks its app."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.web.caller import Caller
from tests.web.worlds import SCENES, FakeHub

from foreshock_dashboard.web.app import create_app


@pytest.fixture
def hub() -> FakeHub:
    """A hub that sees train-llm starve embedder."""
    return FakeHub(SCENES["starving"]())


@pytest.fixture
def caller(hub: FakeHub) -> Caller:
    """Asks that hub's app."""
    return Caller(create_app(hub, version="0.0.0-test"))


@pytest.fixture
def look_at() -> Callable[[str], Caller]:
    """Make an app of a hub in which a scene plays."""
    return lambda scene: Caller(create_app(FakeHub(SCENES[scene]()), version="0.0.0-test"))
