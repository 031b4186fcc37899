"""`foreshock boards`: the Grafana boards and their data sources as files, with the addresses of a fleet."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import yaml

from foreshock_dashboard.cli.hub_client import HUB_URL, hub_url
from foreshock_dashboard.common.package_data import grafana_dir
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.settings.settings import Settings, SettingsError, add_flags, load_settings

BOARDS = """\
Writes the Grafana boards that come along into DIR/dashboards, with the address of this hub in every link, and into
DIR/provisioning what Grafana reads at its start: where the boards are and, of Prometheus and Tempo, those that are
named, as data sources that lead to each other and to the hub. All is written anew.

  foreshock boards --out /var/lib/foreshock/grafana --hub https://hub.example.com --prometheus http://prometheus:9090"""
USED = ("prometheus_url", "tempo_url", "scrape_interval")
"""The hub's own options that matter here, read from where the hub has them."""
HEAD = "# Written by `foreshock boards`: change its options, and write it again.\n"
PROVIDER = "provisioning/dashboards/foreshock.yml"
PROMETHEUS = "provisioning/datasources/prometheus.yml"
TEMPO = "provisioning/datasources/tempo.yml"


def add_boards_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the command."""
    parser.add_argument("--out", metavar="DIR", required=True, type=Path, help="folder for the files; made if missing")
    parser.add_argument(
        "--hub",
        default=HUB_URL,
        metavar="URL",
        help=f"address at which people reach the hub's page (default: {HUB_URL})",
    )
    parser.add_argument(
        "--mounted-at", metavar="DIR", type=Path, help="where Grafana sees the folder, if it runs in a container"
    )
    add_flags(parser, only=USED)


def run_boards(arguments: argparse.Namespace) -> int:
    """Write the files. 0: they are there.

    Raises:
        SettingsError: an option cannot be used.
        SourceError: a file cannot be read or written.
    """
    hub, settings, out = hub_url(arguments), load_settings(arguments), arguments.out.absolute()
    seen = out if arguments.mounted_at is None else arguments.mounted_at
    if not seen.is_absolute():
        raise SettingsError(f"--mounted-at: {str(seen)!r} is not a path from the root, such as /var/lib/foreshock")
    if settings.tempo_url and not settings.prometheus_url:
        if arguments.tempo_url is not None:
            raise SettingsError("--tempo: Grafana draws Tempo's service map of a Prometheus; give --prometheus as well")
        _say("Tempo is left out: Grafana draws its service map of a Prometheus; give --prometheus to have both")
        settings = replace(settings, tempo_url="")
    try:
        files = dict(_files(grafana_dir(), seen, hub, settings))
        for name, text in files.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_text(text)
        for name in {PROMETHEUS, TEMPO} - files.keys():
            (out / name).unlink(missing_ok=True)
    except OSError as error:
        raise SourceError(f"{error.filename or out}: {error.strerror or error}") from None
    for name in files:
        print(out / name)
    return 0


def _files(shipped: Path, seen: Path, hub: str, settings: Settings) -> Iterator[tuple[str, str]]:
    """What is written, by its name below the folder, which Grafana sees as `seen`."""
    for file in sorted(shipped.glob("dashboards/*.json")):
        yield f"dashboards/{file.name}", file.read_text().replace(json.dumps(HUB_URL), json.dumps(hub))
    provider = yaml.safe_load((shipped / PROVIDER).read_text())
    provider["providers"][0]["options"]["path"] = _literal(str(seen / "dashboards"))
    yield PROVIDER, _text(provider)
    if settings.prometheus_url:
        made = yaml.safe_load((shipped / PROMETHEUS).read_text())
        (source,) = made["datasources"]
        _address(source, settings.prometheus_url)
        source["jsonData"]["timeInterval"] = f"{settings.scrape_interval:g}s"
        to_tempo, to_hub = source["jsonData"]["exemplarTraceIdDestinations"]
        to_hub["url"] = to_hub["url"].replace(HUB_URL, _literal(hub))
        source["jsonData"]["exemplarTraceIdDestinations"] = [to_tempo, to_hub] if settings.tempo_url else [to_hub]
        yield PROMETHEUS, _text(made)
    if settings.tempo_url:
        made = yaml.safe_load((shipped / TEMPO).read_text())
        _address(made["datasources"][0], settings.tempo_url)
        yield TEMPO, _text(made)


def _address(source: dict[str, Any], url: str) -> None:
    """Where the source is. A password does not come into the file: anybody may read it, and Grafana has variables."""
    whole = urlsplit(url)
    login, _, host = whole.netloc.rpartition("@")
    source["url"] = _literal(urlunsplit(whole._replace(netloc=host)))
    if login:
        variable = f"{source['name'].upper()}_PASSWORD"
        source["basicAuth"] = True
        source["basicAuthUser"] = _literal(unquote(login.partition(":")[0]))
        source["secureJsonData"] = {"basicAuthPassword": f"${variable}"}
        _say(f"the password of {source['name']} is not written: set {variable} in Grafana's environment")


def _say(text: str) -> None:
    print(f"foreshock: {text}", file=sys.stderr)


def _literal(text: str) -> str:
    """For a file in which Grafana takes a dollar for the beginning of a variable."""
    return text.replace("$", "$$")


def _text(made: object) -> str:
    return HEAD + yaml.safe_dump(made, sort_keys=False, width=120, allow_unicode=True)
