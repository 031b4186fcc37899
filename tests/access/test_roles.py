"""Roles: the highest of those that a principal and its groups have."""

from __future__ import annotations

import pytest

from foreshock_dashboard.access.roles import Principal, Role, Roles
from foreshock_dashboard.settings.option_types import parse_role, parse_roles

ROLES = Roles(parse_roles("ada=admin, group:sre=responder, group:a=b=viewer, mallory=none"))


@pytest.mark.parametrize(
    ("principal", "role"),
    [
        (Principal("ada", "password"), Role.ADMIN),
        (Principal("bob", "password"), Role.VIEWER),
        (Principal("bob", "oidc", ("sre", "dev")), Role.RESPONDER),
        (Principal("ada", "oidc", ("sre",)), Role.ADMIN),
        (Principal("carl", "oidc", ("a=b",)), Role.VIEWER),
        (Principal("mallory", "oidc"), Role.NONE),
        (Principal("mallory", "oidc", ("sre",)), Role.RESPONDER),
        (Principal("sre", "token"), Role.VIEWER),
        (Principal("Ada", "password"), Role.VIEWER),
        (Principal("group:sre", "password"), Role.VIEWER),
        (Principal("group:sre", "oidc", ("dev",)), Role.VIEWER),
    ],
)
def test_a_principal_has_the_highest_of_its_roles(principal: Principal, role: Role) -> None:
    """A name is no group, and case counts."""
    assert ROLES.of(principal) is role


def test_without_a_role_a_principal_has_the_default_one() -> None:
    """`--default-role none` admits only those listed."""
    roles = Roles(parse_roles("ada=viewer"), parse_role("none"))
    assert [roles.of(Principal(name, "oidc")) for name in ("ada", "eve")] == [Role.VIEWER, Role.NONE]


@pytest.mark.parametrize("text", ["ada", "ada=root", "=admin", "group:=admin", "ada=admin,eve="])
def test_a_role_that_does_not_exist_is_refused(text: str) -> None:
    """With what could be written."""
    with pytest.raises(ValueError, match=r"role"):
        parse_roles(text)
