"""Users with roles, and what the audit log has of them."""

from __future__ import annotations

from foreshock_dashboard.access.audit import AuditLog
from foreshock_dashboard.access.roles import Role, Roles

ROLES = Roles((("ada", Role.ADMIN), ("bob", Role.RESPONDER), ("group:out", Role.NONE)))


def events(audit: AuditLog) -> list[tuple[object, ...]]:
    """What the audit log has, oldest first, without times."""
    return [tuple(event.values())[1:] for event in reversed(audit.recent())]
