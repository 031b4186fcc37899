"""A hub in which a scene plays, and a client of its app."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from tests.web.caller import Caller
from tests.web.roles import ROLES
from tests.web.worlds import SCENES, FakeHub

from foreshock_dashboard.access.audit import AuditLog
from foreshock_dashboard.web.app import create_app
from foreshock_dashboard.web.http.oidc import Oidc, OidcOptions


def client(hub: FakeHub) -> Caller:
    """A client of a new app over a hub."""
    return Caller(create_app(hub, version="0.0.0-test"))


@pytest.fixture
def hub() -> FakeHub:
    """A hub that sees train-llm starve embedder."""
    return FakeHub(SCENES["contended"]())


@pytest.fixture(scope="session")
def shared_look() -> Callable[[str], Caller]:
    """One app per scene for all tests that only read: building one takes a tenth of a second."""
    return cache(lambda scene: client(FakeHub(SCENES[scene]())))


@pytest.fixture
def caller(request: pytest.FixtureRequest, shared_look: Callable[[str], Caller]) -> Caller:
    """A client of the test's own hub, or of a shared one where the test does not ask for its hub."""
    return client(request.getfixturevalue("hub")) if "hub" in request.fixturenames else shared_look("contended")


@pytest.fixture
def look_at() -> Callable[[str], Caller]:
    """Make an app of a hub in which a scene plays."""
    return lambda scene: client(FakeHub(SCENES[scene]()))


@pytest.fixture
def login(tmp_path: Path) -> Oidc:
    """A login at a provider that is not asked."""
    (tmp_path / "oidc").write_text("secret")
    options = OidcOptions("https://issuer.example", "foreshock", tmp_path / "oidc")
    return Oidc(options, ROLES, AuditLog())
