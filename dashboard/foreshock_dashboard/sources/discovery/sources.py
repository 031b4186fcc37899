"""Where targets are found: files, HTTP, and DNS. Each function returns the labels of targets before relabeling.

They raise DiscoveryError if the source cannot be read.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import yaml

from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.sources.discovery.scrape_config import DnsSd, FileSd, HttpSd
from foreshock_dashboard.sources.http_client import error_text
from foreshock_dashboard.sources.http_config.client import ReloadingClient
from foreshock_dashboard.sources.http_config.reading import load_yaml
from foreshock_dashboard.sources.prometheus.target import TargetGroup, target_groups

TIMEOUT_SECONDS = 10.0
MAX_BYTES = 8 << 20
"""Largest list of targets."""

Labels = Mapping[str, str]


class DiscoveryError(Exception):
    """Targets cannot be found. The message names the source and the remedy."""


def file_targets(config: FileSd) -> Iterator[Labels]:
    """Targets in all files that match; a pattern without a file has none, as in Prometheus."""
    for pattern in config.files:
        for name in sorted(glob.glob(str(pattern))):  # noqa: PTH207 - the pattern is absolute
            try:
                with Path(name).open("rb") as file:
                    groups = _groups(file.read(MAX_BYTES + 1), load_yaml)
            except OSError as error:
                raise DiscoveryError(f"{name}: cannot be read: {error.strerror}") from error
            except (yaml.YAMLError, ValueError, RecursionError) as error:
                raise DiscoveryError(f"{name}: {' '.join(str(error).split())}") from error
            for group in groups:
                yield from ({**labels, "__meta_filepath": name} for labels in group.labels_by_target())


def http_targets(config: HttpSd, client: ReloadingClient) -> Iterator[Labels]:
    """Targets that an address returns."""
    url = str(config.url)
    accept = {"Accept": "application/json"}
    try:
        with client.current().stream("GET", url, headers=accept, timeout=TIMEOUT_SECONDS) as response:
            if response.status_code != 200:
                raise DiscoveryError(f"{url}: returned {response.status_code}. Check its log, and the credentials")
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > MAX_BYTES:
                    break
        groups = _groups(bytes(body), json.loads)
    except (httpx.HTTPError, SourceError) as error:
        raise DiscoveryError(f"{url}: cannot be reached ({error_text(error)}). Check that it runs there") from error
    except (ValueError, RecursionError) as error:
        raise DiscoveryError(f"{url}: {error}") from error
    for group in groups:
        yield from ({**labels, "__meta_url": url} for labels in group.labels_by_target())


def _groups(text: bytes, parse: Callable[[bytes], object]) -> tuple[TargetGroup, ...]:
    """The groups of a list of targets. Raises ValueError if it is too large, or has another form."""
    if len(text) > MAX_BYTES:
        raise ValueError(f"is larger than {MAX_BYTES >> 20} MiB. List fewer targets")
    return target_groups(parse(text) or [])


def dns_targets(config: DnsSd) -> Iterator[Labels]:
    """Targets of the records of each name; a name without records has none."""
    import dns.exception  # 3 MiB, which only hubs that look up names need
    import dns.resolver

    for name in config.names:
        try:
            answer = dns.resolver.resolve(name, config.type, lifetime=TIMEOUT_SECONDS, search=True)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            continue
        except dns.exception.DNSException as error:
            raise DiscoveryError(f"{name}: DNS lookup failed ({error}). Check the name server") from error
        for record in answer:
            if config.type == "SRV":
                host, port = str(record.target).rstrip("."), config.port or record.port
            else:
                host, port = f"[{record}]" if config.type == "AAAA" else str(record), config.port
            yield {"__address__": f"{host}:{port}", "__meta_dns_name": name}
