"""Slow burns of a week in January 2026, and what their messages depend on."""

from __future__ import annotations

import math
from datetime import datetime

from foreshock_dashboard.model.capacity.slow_burn import SlowBurn, SlowBurnKind
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.notify.channels import Channel
from foreshock_dashboard.settings.working_hours import WorkingHours

HOURS = WorkingHours.parse("Mon-Fri 09:00-17:00 UTC")
HOUR = 3600.0
CHAT, CART, SEARCH = Service("serving", "llm-chat"), Service("shop", "cart"), Service("shop", "search")
OWNERS = {CHAT: "team-ml", CART: "team-shop", SEARCH: "team-shop"}
CHANNEL = Channel("chat", "json", "json://example.com", 1, severity="warning")
K = SlowBurnKind


def at(text: str) -> float:
    """Unix seconds of a day of January 2026 and a time: `5 10:40` is on a Monday."""
    day, clock = text.split()
    return datetime.fromisoformat(f"2026-01-{int(day):02}T{clock}:00+00:00").timestamp()


def burn(
    when: str, kind: K = K.HOST_MEMORY, who: Service | None = None, name: str = "host-3", host: str = ""
) -> SlowBurn:
    """What reaches its limit at a time, four hours sooner or six later."""
    date = at(when)
    is_certain = kind is K.CERTIFICATE
    early, late = (date, date) if is_certain else (date - 4 * HOUR, date + 6 * HOUR)
    of_host = host or ("host-3" if kind is K.HOST_MEMORY else "")
    return SlowBurn(kind, who, name, 0.78, 1.0, 1e-6, 5e-7, 2e-6, date, early, late, math.nan, host=of_host)
