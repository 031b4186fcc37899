"""Colors as tokens: one table per theme, from which the style sheet and the figures are made.

Each color has one meaning. Status: `crit`, `warn`, `recovering`, `ok`, `unknown`, and `idle`, most with a wash; they
own red, amber, and green, and always come with a shape and a word. `link` is for links, `focus` for the focused
element, `control` for the borders of controls. Charts: `data` is a measured series, `ramp` a magnitude from low to high
in equal steps of OKLab lightness, the high end the most saturated, and `services` the identity of a service in a chart:
neither red, amber, nor pink. Marks have a contrast of at least 3:1 and text of 4.5:1; on the ramp the better of `on-
ramp-light` and `on-ramp-dark` has it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

LIGHT: Mapping[str, str] = {
    "page": "#F6F7F9",
    "panel": "#FFFFFF",
    "raised": "#EEF1F4",
    "line": "#DDE2E8",
    "text": "#14181F",
    "muted": "#525C6A",
    "control": "#87919F",
    "link": "#0B57B8",
    "focus": "#0B57B8",
    "ok": "#15704A",
    "recovering": "#3B5B7A",
    "warn": "#8A5000",
    "crit": "#B3152E",
    "idle": "#6B7280",
    "unknown": "#6741A5",
    "ok-wash": "#EAF5EF",
    "warn-wash": "#FDF4E3",
    "crit-wash": "#FDEEF0",
    "unknown-wash": "#F2EEFA",
    "on-crit": "#FFFFFF",
    "data": "#43566F",
    "on-ramp-light": "#FFFFFF",
    "on-ramp-dark": "#000000",
    "ramp": "#E2EEEF #94C9CF #4FA0A9 #1A737D #084551",
    "services": "#2F66C2 #7B4BB7 #2E7D4F #00757A #4F6B16 #5B5F97 #3D7A8C #8B4FA8 #1F6F5C #64748B",
}
DARK: Mapping[str, str] = {
    "page": "#0B0E13",
    "panel": "#13171F",
    "raised": "#1D232D",
    "line": "#2B333F",
    "text": "#E6EAF0",
    "muted": "#A0AAB8",
    "control": "#6B7685",
    "link": "#84B6FF",
    "focus": "#84B6FF",
    "ok": "#4CC38A",
    "recovering": "#9DB9D6",
    "warn": "#F0A93C",
    "crit": "#FF6E6E",
    "idle": "#939DAB",
    "unknown": "#BBA2F4",
    "ok-wash": "#11241C",
    "warn-wash": "#2A2011",
    "crit-wash": "#32171B",
    "unknown-wash": "#201B33",
    "on-crit": "#13171F",
    "data": "#A9B8CC",
    "on-ramp-light": "#FFFFFF",
    "on-ramp-dark": "#000000",
    "ramp": "#18262C #204C55 #1E767D #12A7A8 #00DDD5",
    "services": "#6FA8FF #B794F6 #6FCF97 #4FD1C5 #B2CC5A #A9AEE0 #7FC4DC #CDA2EC #5EC2A0 #A8B3C4",
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
