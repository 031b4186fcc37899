"""The commands of `foreshock`.

The module of a command is imported when the command is used: `foreshock trace` does not load the web libraries.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NamedTuple

from foreshock_dashboard import __version__
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.settings.settings import HubError, SettingsError


class Command(NamedTuple):
    """A command: its function, which returns the exit code, its flags, and a description below its usage."""

    run: Callable[[argparse.Namespace], int]
    add_flags: Callable[[argparse.ArgumentParser], None] | None = None
    description: str | None = None


_COMMANDS = {
    "serve": ("run the hub", "serve:COMMAND"),
    "demo": ("run a simulated platform and a hub over it", "demo:COMMAND"),
    "trace": ("print one trace and what ran on its GPUs", "trace:COMMAND"),
    "scenarios": ("list what the simulated platform can play", "simulate:SCENARIOS"),
    "simulate": ("record a scenario into a folder", "simulate:SIMULATE"),
    "import": ("make a recording of OpenMetrics and OTLP files", "recordings:IMPORT"),
    "export": ("write a recording as OpenMetrics and OTLP files", "recordings:EXPORT"),
    "replay": ("judge a recording as a hub would have while it happened", "replay:COMMAND"),
    "explain": ("rank who is to blame for what one service suffers at one time", "explain:COMMAND"),
    "pools": ("list GPUs that tiers share, and how few GPUs each tier needs", "pools:COMMAND"),
    "report": ("write a post-mortem of an incident", "report:COMMAND"),
    "alerts": ("write the alert rules for a Prometheus, with this hub's address and objectives", "alerts:COMMAND"),
    "boards": ("write the Grafana boards and their data sources, with this hub's address", "boards:COMMAND"),
}
"""Help text, and the module and name of the `Command`."""


class _CommandParser(argparse.ArgumentParser):
    """Parser of one command; refuses unknown words with the usage of this command."""

    location: str

    def parse_known_args(  # type: ignore[override]  # argparse's overloads allow any namespace
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        if self.get_default("run") is None:
            module, _, name = self.location.partition(":")
            command: Command = getattr(import_module(f"foreshock_dashboard.cli.{module}"), name)
            self.description = command.description
            if command.add_flags is not None:
                command.add_flags(self)
            self.set_defaults(run=command.run)
        arguments, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return arguments, unknown


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="foreshock", description="See which AI service starves which GPU, and be warned before it cascades."
    )
    top.add_argument("--version", action="version", version=f"foreshock {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_CommandParser)
    for name, (text, location) in _COMMANDS.items():
        command = commands.add_parser(name, help=text, formatter_class=argparse.RawDescriptionHelpFormatter)
        command.location = location
    return top


def run(arguments: argparse.Namespace) -> int:
    """Run a parsed command and return its exit code: a failure is one line and 1, wrong usage 2."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # otherwise its C library prints lines, too
    command: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return command(arguments)
    except SettingsError as error:
        print(f"foreshock: {error}", file=sys.stderr)
        return 2
    except (HubError, SourceError) as error:
        print(f"foreshock: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of the output has closed it: `foreshock replay DIR | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
