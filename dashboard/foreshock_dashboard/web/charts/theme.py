"""Colors as tokens: one table per theme, from which the style sheet and the figures are made.

Marks have a contrast of at least 3:1 and text of 4.5:1, and the four states stay apart for the common color
deficiencies; state is never shown by color alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

LIGHT: Mapping[str, str] = {
    "page": "#F3F5F8",
    "panel": "#FFFFFF",
    "raised": "#EDF0F4",
    "line": "#D3D9E2",
    "text": "#111827",
    "muted": "#4B5563",
    "link": "#0A5A80",
    "focus": "#0A5A80",
    "ok": "#0B6E99",
    "warn": "#9A4E00",
    "crit": "#A3123A",
    "idle": "#6B7280",
    "blind": "#6D3FB0",
    "ok-wash": "#E6F2F7",
    "warn-wash": "#FCF1E3",
    "crit-wash": "#FBE9EE",
    "blind-wash": "#F1ECF9",
    "on-crit": "#FFFFFF",
    "ramp": "#E4EBF3 #B9D2E6 #7FB2D6 #3B85B8 #0B4F7A",
    "services": "#0B6E99 #8A4B9E #2E7D4F #9A5B13 #4A5FC1 #A33B6B #4F6B16 #00757A #7A5230 #5B5F97",
}
DARK: Mapping[str, str] = {
    "page": "#0A0F17",
    "panel": "#111827",
    "raised": "#1B2536",
    "line": "#2B384C",
    "text": "#E8EDF4",
    "muted": "#A3AEBD",
    "link": "#7CC4EE",
    "focus": "#7CC4EE",
    "ok": "#56B4E9",
    "warn": "#E69F00",
    "crit": "#FF6B6B",
    "idle": "#9CA3AF",
    "blind": "#BFA2F5",
    "ok-wash": "#10253A",
    "warn-wash": "#2C2311",
    "crit-wash": "#351A24",
    "blind-wash": "#1F1A3D",
    "on-crit": "#111827",
    "ramp": "#1E2B3D #27496B #33709F #4C9FD3 #A5DCFF",
    "services": "#56B4E9 #C99BE0 #6FCF97 #E6A85C #93A5FF #F08DB5 #B2CC5A #4FD1C5 #D3A98A #A9AEE0",
}
SERVICE_COLORS = len(LIGHT["services"].split())


def service_color(service: str) -> int:
    """The index of a service in the service colors, derived from its name: the same on every page and hub.

    The digest size is a parameter of BLAKE2: another one would change every color.
    """
    return hashlib.blake2s(service.encode(), digest_size=2).digest()[0] % SERVICE_COLORS


def _rule(selector: str, scheme: str, tokens: Mapping[str, str]) -> str:
    """A CSS rule with a custom property per token; lists get one per color."""
    single = {name: value for name, value in tokens.items() if name not in ("services", "ramp")}
    lists = {
        f"{prefix}{i}": color
        for name, prefix in (("services", "service-"), ("ramp", "ramp-"))
        for i, color in enumerate(tokens[name].split())
    }
    body = "".join(f"--{name}:{value};" for name, value in (single | lists).items())
    return f"{selector}{{color-scheme:{scheme};{body}}}"


def stylesheet() -> str:
    """The tokens as CSS custom properties: light, dark by the system's setting, and the toggle's choice."""
    return "\n".join(
        [
            _rule(":root", "light", LIGHT),
            "@media (prefers-color-scheme: dark){" + _rule(':root:not([data-theme="light"])', "dark", DARK) + "}",
            _rule(':root[data-theme="dark"]', "dark", DARK),
        ]
    )
