"""How the text of an option is read. Each reader raises ValueError with words that follow the value."""

from __future__ import annotations

import ipaddress
import re
from datetime import datetime

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

EXPORTER_PORT = 10_877
"""Where foreshock-exporter listens unless told otherwise."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
_SECONDS = {"ms": 0.001, None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


def parse_duration(text: str) -> float:
    """`10`, `10s`, `1.5m`, `2h`, `7d` in seconds; bare numbers are seconds."""
    match = _DURATION.fullmatch(text.strip())
    if not match or float(match[1]) == 0:
        raise ValueError("is not a duration such as 10s, 5m or 7d")
    return float(match[1]) * _SECONDS[match[2]]


def parse_size(text: str) -> int:
    """`512MiB`, `2GB`, `1000000` in bytes."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]i?)?b?", text.strip().lower())
    if not match:
        raise ValueError("is not a size such as 512MiB or 2GB")
    return int(float(match[1]) * _BYTES[match[2] or ""])


def parse_count(text: str) -> int:
    """A whole number of things, one or more: `100000`, `100_000`."""
    word = text.strip().replace("_", "").replace(",", "")
    if not re.fullmatch("[0-9]{1,12}", word) or int(word) == 0:
        raise ValueError("is not a whole number from 1 on, such as 100000")
    return int(word)


def parse_port(text: str) -> int:
    """A TCP port; 0 lets the system choose a free one."""
    if not text.strip().isdecimal() or int(text) > 65_535:
        raise ValueError("is not a port between 0 and 65535 (0 picks a free one)")
    return int(text)


def parse_url(text: str) -> str:
    """An http or https address without a trailing slash."""
    if not re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", text.strip()):
        raise ValueError("is not an address such as http://127.0.0.1:9090")
    return text.strip().rstrip("/")


def parse_targets(text: str) -> tuple[str, ...]:
    """Addresses of exporters, separated by commas: `host-1`, `host-1:10877`, or a whole URL."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    return tuple(parse_url(word if "://" in word else f"http://{_with_port(word)}/metrics") for word in words)


def _with_port(host: str) -> str:
    return host if re.search(r":\d+$", host) else f"{host}:{EXPORTER_PORT}"


def parse_hosts(text: str) -> tuple[str, ...]:
    """Names or addresses of hosts, without ports, separated by commas."""
    words = tuple(dict.fromkeys(word.strip().lower() for word in text.split(",") if word.strip()))
    if any(not re.fullmatch(r"[\w.\-]{1,253}|\[?[0-9a-f:.]+\]?", word) for word in words):
        raise ValueError("is not a list of hosts without ports, such as gpus.example,10.0.0.5")
    return words


def parse_header(text: str) -> str:
    """The name of an HTTP header that a proxy may set (a token of RFC 9110)."""
    word = text.strip()
    if not re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,100}", word) or word.lower() in ("authorization", "host"):
        raise ValueError("is not a header such as X-Forwarded-User")
    return word


def parse_networks(text: str) -> tuple[Network, ...]:
    """Addresses or CIDR blocks, separated by commas; none that is everybody."""
    found = []
    for word in filter(None, (each.strip() for each in text.split(","))):
        try:
            network = ipaddress.ip_network(word)
        except ValueError:
            raise ValueError("is not a list of addresses or blocks such as 10.0.0.5,10.1.0.0/24") from None
        if network.prefixlen == 0:
            raise ValueError(f"has {word}, which is everybody; name the proxies alone")
        found.append(network)
    return tuple(found)


MAX_KEYS = 40
"""Attributes that a store searches by at most: each is a column of every segment."""


def parse_attributes(text: str) -> tuple[str, ...]:
    """Names of attributes, separated by commas."""
    words = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if any(not re.fullmatch(r"[\w.\-/:]{1,100}", word) for word in words):
        raise ValueError("is not a list of attributes such as http.route,hw.id")
    if len(words) > MAX_KEYS:
        raise ValueError(f"has {len(words)} attributes; a store searches by {MAX_KEYS} at most")
    return words


def parse_slos(text: str) -> tuple[tuple[str, float, float], ...]:
    """What services promise: `name=p95` or `name=p95:failed`, with commas; seconds, and a share 0…1 (1 % unless told).

    `llm-chat=20s, serving/gateway=18s:0.5%`
    """
    found = []
    for word in filter(None, (each.strip() for each in text.split(","))):
        name, equals, promise = word.partition("=")
        if not name.strip().rpartition("/")[2]:
            raise ValueError(f"has {word!r}, which names no service; write name=20s or namespace/name=20s")
        duration, _, failed = promise.partition(":")
        if not equals:
            raise ValueError(f"has {word!r}, which is not like llm-chat=20s or llm-chat=20s:1%")
        try:
            share = float(failed.strip().rstrip("%")) / (100 if failed.strip().endswith("%") else 1) if failed else 0.01
        except ValueError:
            raise ValueError(f"has {word!r}, whose share of failures is not like 1% or 0.01") from None
        if not 0 <= share < 1:
            raise ValueError(f"has {word!r}, whose share of failures is not from 0 to below 100 %: write 1% or 0.01")
        found.append((name.strip(), parse_duration(duration.strip()), share))
    return tuple(found)


def parse_tiers(text: str) -> tuple[tuple[str, str], ...]:
    """The tiers of services: `name=tier` with commas, as `llm-chat=gold, ml/batch-embed=bronze`."""
    found: dict[str, str] = {}
    for word in filter(None, (each.strip() for each in text.split(","))):
        name, _, tier = (each.strip() for each in word.partition("="))
        if not name.rpartition("/")[2]:
            raise ValueError(f"has {word!r}, which names no service; write name=tier or namespace/name=tier")
        if not tier:
            raise ValueError(f"has {word!r}, which names no tier; write llm-chat=gold")
        if name in found:
            raise ValueError(f"has {name} twice, as {found[name]!r} and {tier!r}; leave one out")
        found[name] = tier
    return tuple(found.items())


def parse_time(text: str) -> float:
    """Unix seconds, or ISO 8601 with a time zone (`2026-11-25T10:00:00Z`)."""
    if re.fullmatch(r"\d+(\.\d+)?", text.strip()):
        return float(text)
    try:
        parsed = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError("is neither Unix seconds nor a time such as 2026-11-25T10:00:00Z") from None
    if parsed.tzinfo is None:
        raise ValueError("has no time zone; write 2026-11-25T10:00:00Z or +01:00")
    return parsed.timestamp()


def parse_bool(text: str) -> bool:
    """`true` or `false`."""
    word = text.strip().lower()
    if word not in ("true", "false", "yes", "no", "1", "0"):
        raise ValueError("is neither true nor false")
    return word in ("true", "yes", "1")
