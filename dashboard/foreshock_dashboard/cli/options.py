"""Options shared by several commands, and their types."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from foreshock_dashboard.common.addresses import without_credentials
from foreshock_dashboard.render.rules.rule_files import HUB_URL
from foreshock_dashboard.settings.option_types import parse_past, parse_port, parse_url
from foreshock_dashboard.settings.settings import OPTIONS, SettingsError
from foreshock_exporter.common.durations import parse_duration

EXIT_FINDINGS = 3
"""Exit code where `--fail-on` matches."""
SEVERITIES = ("critical", "warning")

Function = TypeVar("Function", bound=Callable[..., Any])


class Parsed(click.ParamType[Any]):
    """Click type that wraps a parser. The parser's ValueError message is appended to the quoted value."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """The value of a text; other values are defaults and stay."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            place = (
                param.opts[0] if isinstance(param, click.Option) else param.make_metavar(ctx) if param and ctx else ""
            )
            raise SettingsError(f"{place}: {without_credentials(value)!r} {error}") from None


DURATION = Parsed("duration", parse_duration)
TIME = Parsed("time", parse_past)
PORT = Parsed("port", parse_port)
URL = Parsed("url", parse_url)


class GroupedOption(click.Option):
    """An option below a heading of the help text."""

    def __init__(self, *words: Any, group: str = "", **rest: Any) -> None:  # noqa: ANN401
        super().__init__(*words, **rest)
        self.group = group


class GroupedCommand(click.Command):
    """A command whose help lists options by heading, the common ones last."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if isinstance(param, click.Option) and (record := param.get_help_record(ctx)):
                sections.setdefault(getattr(param, "group", ""), []).append(record)
        for heading, records in sorted(sections.items(), key=lambda item: item[0] == ""):
            with formatter.section(heading or "Options"):
                formatter.write_dl(records)


def hub_settings(*names: str, config: bool = True) -> Callable[[Function], Function]:
    """Decorator: the flags of the hub's settings, or of those of these names, for `load_settings`.

    config: whether with `--config`.
    """

    def decorate(function: Function) -> Function:
        for item in reversed([item for item in OPTIONS if not names or item.name in names]):
            flag = item.flag if item.metavar else f"{item.flag}/--no-{item.flag.removeprefix('--')}"
            function = click.option(
                flag,
                item.name,
                cls=GroupedOption,
                group="" if names else item.group,
                default=None,
                multiple=bool(item.separator),
                metavar=item.metavar or None,
                help=item.description,
            )(function)
        if not config:
            return function
        text = "YAML file with hub options [env var: FORESHOCK_CONFIG]"
        return click.option("--config", metavar="FILE", help=text)(function)

    return decorate


def output_option(*formats: str) -> Callable[[Function], Function]:
    """Decorator: `-o FORMAT`; the first is the default."""
    text = f"output format: {', '.join(formats)} (default: {formats[0]})"
    return click.option(
        "-o", "--output", "form", type=click.Choice(formats), default=formats[0], metavar="FORMAT", help=text
    )


output_dir_option = click.option(
    "--output-dir", type=click.Path(path_type=Path), required=True, metavar="DIR", help="output folder"
)
hub_url_option = click.option(
    "--hub-url", type=URL, default=HUB_URL, metavar="URL", help=f"hub URL to use in links (default: {HUB_URL})"
)

fail_on_option = click.option(
    "--fail-on",
    type=click.Choice(SEVERITIES),
    metavar="SEVERITY",
    help=f"exit with code {EXIT_FINDINGS} if any incident has this severity or higher: {', '.join(SEVERITIES)}",
)


def findings_code(incidents: Iterable[Mapping[str, Any]], fail_on: str | None) -> int:
    """The exit code of a command that found these incidents: `EXIT_FINDINGS` where `--fail-on` matches, else 0."""
    failing = SEVERITIES[: SEVERITIES.index(fail_on) + 1] if fail_on else ()
    return EXIT_FINDINGS if any(item["severity"] in failing for item in incidents) else 0
