"""`foreshock boards`: writes the Grafana dashboards and their data sources, with the addresses of a fleet."""

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

from foreshock_dashboard.cli.commands import Command
from foreshock_dashboard.cli.hub_client import HUB_URL, add_output_flags, hub_url
from foreshock_dashboard.common.package_data import grafana_dir
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.settings.settings import Settings, SettingsError, add_flags, load_settings

DESCRIPTION = """\
Writes the Grafana boards that come along into DIR/dashboards, with the address of this hub in every link, and into
DIR/provisioning what Grafana reads at its start: where the boards are and, of Prometheus and Tempo, those that are
named, as data sources that lead to each other and to the hub. All is written anew.

  foreshock boards --out /var/lib/foreshock/grafana --hub https://hub.example.com --prometheus-url http://prometheus:9090"""
OPTION_NAMES = ("prometheus_url", "tempo_url", "scrape_interval")
"""Options of the hub that this command shares."""
HEAD = "# Written by `foreshock boards`: change its options, and write it again.\n"
PROVIDER = "provisioning/dashboards/foreshock.yml"
PROMETHEUS = "provisioning/datasources/prometheus.yml"
TEMPO = "provisioning/datasources/tempo.yml"


def add_boards_flags(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    add_output_flags(parser)
    parser.add_argument(
        "--mounted-at", metavar="DIR", type=Path, help="where Grafana sees the folder, if it runs in a container"
    )
    add_flags(parser, only=OPTION_NAMES)


def run_boards(arguments: argparse.Namespace) -> int:
    """Write the files; returns 0. Raises SettingsError for an option, SourceError for a file."""
    hub, settings, out = hub_url(arguments), load_settings(arguments), arguments.out.absolute()
    mounted = out if arguments.mounted_at is None else arguments.mounted_at
    if not mounted.is_absolute():
        raise SettingsError(f"--mounted-at: {str(mounted)!r} is not a path from the root, such as /var/lib/foreshock")
    if settings.tempo_url and not settings.prometheus_url:
        if arguments.tempo_url is not None:
            raise SettingsError("--tempo-url: Tempo's service map needs a Prometheus. Set --prometheus-url.")
        _say("no Tempo data source: Tempo's service map needs a Prometheus. Set --prometheus-url.")
        settings = replace(settings, tempo_url="")
    try:
        files = dict(_files(grafana_dir(), mounted, hub, settings))
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


def _files(shipped: Path, mounted: Path, hub: str, settings: Settings) -> Iterator[tuple[str, str]]:
    """Files by name below the folder, which Grafana sees as `mounted`."""
    for file in sorted(shipped.glob("dashboards/*.json")):
        yield f"dashboards/{file.name}", file.read_text().replace(json.dumps(HUB_URL), json.dumps(hub))
    provider = yaml.safe_load((shipped / PROVIDER).read_text())
    provider["providers"][0]["options"]["path"] = _literal(str(mounted / "dashboards"))
    yield PROVIDER, _yaml_text(provider)
    if settings.prometheus_url:
        config = yaml.safe_load((shipped / PROMETHEUS).read_text())
        (source,) = config["datasources"]
        _address(source, settings.prometheus_url)
        source["jsonData"]["timeInterval"] = f"{settings.scrape_interval:g}s"
        to_tempo, to_hub = source["jsonData"]["exemplarTraceIdDestinations"]
        to_hub["url"] = to_hub["url"].replace(HUB_URL, _literal(hub))
        source["jsonData"]["exemplarTraceIdDestinations"] = [to_tempo, to_hub] if settings.tempo_url else [to_hub]
        yield PROMETHEUS, _yaml_text(config)
    if settings.tempo_url:
        config = yaml.safe_load((shipped / TEMPO).read_text())
        _address(config["datasources"][0], settings.tempo_url)
        yield TEMPO, _yaml_text(config)


def _address(source: dict[str, Any], url: str) -> None:
    """Set the address of a data source; its password becomes a variable of Grafana, since anybody can read the file."""
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
    """A text with its dollar signs escaped: Grafana expands variables in the file."""
    return text.replace("$", "$$")


def _yaml_text(content: object) -> str:
    return HEAD + yaml.safe_dump(content, sort_keys=False, width=120, allow_unicode=True)


COMMAND = Command(run_boards, add_boards_flags, DESCRIPTION)
