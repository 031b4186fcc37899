"""Parsers of option values. Callers prepend the quoted value to the ValueError message."""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

from foreshock_dashboard.access.roles import GROUP, Role
from foreshock_dashboard.common.addresses import without_credentials
from foreshock_dashboard.settings.times import parse_time
from foreshock_exporter.common.durations import parse_duration

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

EXPORTER_PORT = 10_877
"""Default port of foreshock-exporter."""

_BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


def split_words(text: str) -> tuple[str, ...]:
    """The words of a comma-separated text."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def parse_size(text: str) -> int:
    """Bytes of a size such as `512MiB`, `2GB`, or `1000000`."""
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*([kmg]i?)?b?", text.strip().lower())
    if not match:
        raise ValueError("is not a valid size; use 512MiB or 2GB")
    return int(float(match[1]) * _BYTES[match[2] or ""])


def parse_label_names(text: str) -> tuple[str, ...]:
    """Names of labels, in order."""
    names = split_words(text)
    if bad := [name for name in names if not re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", name)]:
        raise ValueError(f"{bad[0]!r} is not a label name; use letters, digits, and underscores")
    return names


def parse_shard(text: str) -> tuple[int, int]:
    """Number and count of a shard such as `2/3`."""
    match = re.fullmatch(r"\s*([0-9]{1,3})/([0-9]{1,3})\s*", text)
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= count:
        raise ValueError("is not a valid shard; use NUMBER/COUNT, from 1/COUNT to COUNT/COUNT, such as 2/3")
    return number, count


def parse_shard_clusters(text: str) -> tuple[tuple[str, int], ...]:
    """(cluster, number of its shard) pairs from text such as `eu-1=1, us-1=2`."""
    shards: dict[str, int] = {}
    for word in split_words(text):
        cluster, equals, number = (part.strip() for part in word.rpartition("="))
        if not equals or not number.isdecimal():
            raise ValueError(f"{word!r} is not a valid assignment; use CLUSTER=NUMBER, such as eu-1=1,us-1=2")
        if shards.setdefault(cluster, int(number)) != int(number):
            raise ValueError(f"{cluster} is assigned to two shards, {shards[cluster]} and {number}; remove one")
    return tuple(sorted(shards.items()))


def parse_count(text: str) -> int:
    """A positive integer such as `100000` or `100_000`."""
    word = text.strip().replace("_", "").replace(",", "")
    if not re.fullmatch("[0-9]{1,12}", word) or int(word) == 0:
        raise ValueError("is not a valid count; use a positive integer such as 100000")
    return int(word)


def parse_port(text: str) -> int:
    """A TCP port; 0 selects a free one."""
    if not text.strip().isdecimal() or int(text) > 65_535:
        raise ValueError("is not a valid port; use 1 to 65535, or 0 for any free port")
    return int(text)


def parse_url(text: str) -> str:
    """An http or https URL, without a trailing slash."""
    url = text.strip()
    try:
        urlsplit(url).port  # noqa: B018 - it checks the port, and urlsplit an IPv6 address
        is_valid = re.fullmatch(r"https?://([^\s/?#]*@)?(\[[^\s/?#\]]+\]|[^\s/?#:@\[\]]+)(:\d+)?(/[^\s?#]*)?", url)
    except ValueError:
        is_valid = None
    if not is_valid:
        raise ValueError("is not a valid URL; use http://127.0.0.1:9090")
    return url.rstrip("/")


def url_without_credentials(option: str) -> Callable[[str], str]:
    """A parser of URLs without credentials, which the process list would show. option: that takes them instead."""

    def parse(text: str) -> str:
        url = parse_url(text)
        if "@" in urlsplit(url).netloc:
            raise ValueError(
                f"contains credentials, which the process list would expose; move them to the file of {option}"
            )
        return url

    return parse


def parse_alertmanagers(text: str) -> tuple[str, ...]:
    """Comma-separated URLs, see `url_without_credentials`."""
    return _urls(text, "--alertmanager-config")


def parse_hubs(text: str) -> tuple[str, ...]:
    """Comma-separated URLs of hubs, see `url_without_credentials`."""
    return _urls(text, "--shards-config")


def _urls(text: str, option: str) -> tuple[str, ...]:
    urls, parse = [], url_without_credentials(option)
    for word in split_words(text):
        try:
            urls.append(parse(word))
        except ValueError as error:
            raise ValueError(f"{without_credentials(word)!r} {error}") from None
    return tuple(dict.fromkeys(urls))


def parse_postgres_url(text: str) -> str:
    """A URL as libpq's, without a password: the command line and the environment are not secret."""
    parts = urlsplit(text)
    if parts.scheme not in ("postgres", "postgresql") or not parts.hostname or "@" in parts.path:
        raise ValueError("is not a valid URL; use postgresql://HOST/DATABASE?user=NAME")
    if parts.password or re.search(r"(^|&)(ssl)?password=", parts.query):
        raise ValueError(
            "contains a password, which the process list would expose; move it to --postgres-password-file"
        )
    return text


class TargetOption(NamedTuple):
    """A scrape URL, and the service whose metrics are there, `name` or `namespace/name`; "" where the series say it."""

    url: str
    service: str = ""


def parse_targets(text: str) -> tuple[TargetOption, ...]:
    """Scrape targets from a comma-separated list: `host-1`, `host-1:10877`, or a URL; `SERVICE=` assigns one."""
    return tuple(map(_target, split_words(text)))


def _target(word: str) -> TargetOption:
    match = re.fullmatch(r"(?:((?:[\w.\-]+/)?[\w.\-]+)=)?(.+)", word)
    service, place = (match[1] or "", match[2]) if match else ("", word)
    parse = url_without_credentials("--targets-file")
    return TargetOption(parse(place if "://" in place else f"http://{_with_port(place)}/metrics"), service)


def _with_port(host: str) -> str:
    return host if re.search(r":\d+$", host) else f"{host}:{EXPORTER_PORT}"


def parse_hosts(text: str) -> tuple[str, ...]:
    """Comma-separated host names or addresses, without ports, in lower case."""
    words = tuple(dict.fromkeys(split_words(text.lower())))
    if any(not re.fullmatch(r"[\w.\-]{1,253}|\[?[0-9a-f:.]+\]?", word) for word in words):
        raise ValueError("is not a valid host list; use names without ports, such as gpus.example,10.0.0.5")
    return words


def parse_header(text: str) -> str:
    """Name of an HTTP header that a proxy may set (a token of RFC 9110)."""
    word = text.strip()
    if not re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,100}", word) or word.lower() in ("authorization", "host"):
        raise ValueError("is not a valid header name; use X-Forwarded-User")
    return word


def parse_networks(text: str) -> tuple[Network, ...]:
    """Comma-separated addresses or CIDR blocks, none of which contains every address."""
    networks = []
    for word in split_words(text):
        try:
            network = ipaddress.ip_network(word)
        except ValueError:
            raise ValueError("is not a valid list of addresses or CIDRs; use 10.0.0.5,10.1.0.0/24") from None
        if network.prefixlen == 0:
            raise ValueError(f"trusts every client ({word}); list only the proxies")
        networks.append(network)
    return tuple(networks)


MAX_ATTRIBUTES = 40
"""Limit of indexed attributes: each adds a column to every block."""


def parse_attributes(text: str) -> tuple[str, ...]:
    """Comma-separated attribute names."""
    words = tuple(dict.fromkeys(split_words(text)))
    if any(not re.fullmatch(r"[\w.\-/:]{1,100}", word) for word in words):
        raise ValueError("is not a valid attribute list; use http.route,hw.id")
    if len(words) > MAX_ATTRIBUTES:
        raise ValueError(f"lists {len(words)} attributes; the embedded store indexes at most {MAX_ATTRIBUTES}")
    return words


def parse_slos(text: str) -> tuple[tuple[str, float, float], ...]:
    """SLOs as (service, p95 in seconds, error rate 0…1), from text such as `llm-chat=20s, serving/gateway=18s:0.5%`.

    The error rate is 1% by default.
    """
    slos = []
    for word in split_words(text):
        name, equals, targets = word.partition("=")
        duration, _, error_rate = (part.strip() for part in targets.partition(":"))
        if not equals or not _service_name(name):
            raise ValueError(f"{word!r} is not a valid SLO; use NAME=P95[:ERROR_RATE], such as serving/llm-chat=20s:1%")
        try:
            ratio = float(error_rate.rstrip("%")) / (100 if error_rate.endswith("%") else 1) if error_rate else 0.01
        except ValueError:
            ratio = -1.0
        if not 0 <= ratio < 1:
            raise ValueError(f"{word!r} has an invalid error rate; use a value below 100%, such as 1% or 0.01")
        try:
            slos.append((name.strip(), parse_duration(duration), ratio))
        except ValueError as error:
            raise ValueError(f"{word!r}: {duration!r} {error}") from None
    return tuple(slos)


def parse_tiers(text: str) -> tuple[tuple[str, str], ...]:
    """(service, tier) pairs from text such as `llm-chat=gold, ml/batch-embed=bronze`."""
    tiers: dict[str, str] = {}
    for word in split_words(text):
        name, _, tier = (part.strip() for part in word.partition("="))
        if not _service_name(name) or not tier:
            raise ValueError(
                f"{word!r} is not a valid tier; use NAME=TIER, such as llm-chat=gold or serving/llm-chat=gold"
            )
        if name in tiers:
            raise ValueError(f"{name} is assigned to two tiers, {tiers[name]!r} and {tier!r}; remove one")
        tiers[name] = tier
    return tuple(tiers.items())


def parse_role(text: str) -> Role:
    """A role by name."""
    try:
        return Role[text.strip().upper()]
    except KeyError:
        raise ValueError(f"is not a role; use {', '.join(role.name.lower() for role in Role)}") from None


def parse_roles(text: str) -> tuple[tuple[str, Role], ...]:
    """(name, role) pairs from text such as `ada=admin, group:sre=responder`."""
    roles = []
    for word in split_words(text):
        name, equals, role = (part.strip() for part in word.rpartition("="))
        if not equals or not name.removeprefix(GROUP):
            raise ValueError(f"{word!r} is not a valid role; use NAME=ROLE or group:NAME=ROLE, such as ada=admin")
        try:
            roles.append((name, parse_role(role)))
        except ValueError as error:
            raise ValueError(f"{word!r}: {role!r} {error}") from None
    return tuple(roles)


def parse_claim(text: str) -> str:
    """Name of a claim of an ID token."""
    if not re.fullmatch(r"[!-~]{1,200}", text.strip()):
        raise ValueError("is not a valid claim; use email, preferred_username, or sub")
    return text.strip()


def _service_name(text: str) -> str:
    """The name in `name` or `namespace/name`."""
    return text.strip().rpartition("/")[2]


def parse_past(text: str) -> float:
    """Unix seconds of a time, relative to the wall clock; see `parse_time`."""
    return parse_time(text.strip(), time.time())


def parse_bool(text: str) -> bool:
    """A Boolean: `true`, `false`, `yes`, `no`, `1`, or `0`."""
    word = text.strip().lower()
    if word not in ("true", "false", "yes", "no", "1", "0"):
        raise ValueError("is not a boolean; use true or false")
    return word in ("true", "yes", "1")
