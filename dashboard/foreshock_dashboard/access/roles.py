"""Principals, their roles, and the role that a request needs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""RFC 9110, section 9.2.1, without TRACE."""
GROUP = "group:"
"""Begins the name of a group in `Roles.assigned`."""


class Role(IntEnum):
    """What a principal may do; each role includes those before it."""

    NONE = 0
    VIEWER = 1
    """Reads pages, API, and metrics."""
    RESPONDER = 2
    """Changes the state of incidents."""
    ADMIN = 3
    """Reads the audit log."""


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated user or program."""

    name: str
    method: Literal["token", "password", "proxy", "oidc", "signature", ""]
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Roles:
    """Roles by name. assigned: pairs of a principal's name, or `group:` and a group's name, and its role."""

    assigned: tuple[tuple[str, Role], ...] = ()
    default: Role = Role.VIEWER
    """Role of a principal without an assigned one."""

    def of(self, principal: Principal) -> Role:
        """The highest role that is assigned to a principal or its groups. A name that looks like a group is none."""
        names = {GROUP + group for group in principal.groups}
        if not principal.name.startswith(GROUP):
            names.add(principal.name)
        return max((role for name, role in self.assigned if name in names), default=self.default)

    @property
    def groups(self) -> frozenset[str]:
        """Names of the groups that have a role."""
        return frozenset(name.removeprefix(GROUP) for name, _ in self.assigned if name.startswith(GROUP))


_ADMIN_PATHS = frozenset({"/api/audit"})
_READING_POSTS = frozenset({"/_dash-update-component", "/mcp"})
"""Dash sends the parameters of a page's callback as a body, and agents their queries; none of them changes anything."""


def required_role(method: str, path: str) -> Role:
    """The least role for a request. A request that may change something needs more than one that reads."""
    if path in _ADMIN_PATHS:
        return Role.ADMIN
    return Role.VIEWER if method in SAFE_METHODS or path in _READING_POSTS else Role.RESPONDER
