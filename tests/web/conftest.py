"""Scenes and an app to look at them through."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from starlette.testclient import TestClient

from foreshock_dashboard.web.app import create_app
from tests.web.worlds import SCENES, FakeHub


@pytest.fixture
def hub() -> FakeHub:
    """A hub that sees train-llm starve embedder."""
    return FakeHub(SCENES["starving"]())


@pytest.fixture
def client(hub: FakeHub) -> Iterator[TestClient]:
    """A client of that hub's app; `client.app` is it. Errors in the app become 500, as on a real server."""
    with TestClient(create_app(hub, version="0.0.0-test"), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def look_at() -> Callable[[str], TestClient]:
    """Make a client of a hub in which a scene plays."""
    return lambda scene: TestClient(create_app(FakeHub(SCENES[scene]()), version="0.0.0-test"))
