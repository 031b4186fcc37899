"""The commands of `foreshock`: what each takes, and which function runs it.

Each imports what it needs only once it is asked for: whoever prints a trace is not to wait for the web's libraries.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from foreshock_dashboard import __version__
from foreshock_dashboard.hub.errors import HubError
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.settings.settings import SettingsError, add_flags

Run = Callable[[argparse.Namespace], int]


class _Parts(NamedTuple):
    """What makes a command: the function that runs it, what adds its flags, and a longer text about it."""

    run: Run
    add_flags: Callable[[argparse.ArgumentParser], None] | None = None
    description: str | None = None


class _Command(argparse.ArgumentParser):
    """A command, made of its parts when it is asked for.

    It refuses words that it does not know with its own usage, not with that of all commands.
    """

    parts: Callable[[], _Parts]

    def parse_known_args(  # type: ignore[override]  # argparse's overloads allow any namespace
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        if self.get_default("run") is None:
            run, add, self.description = self.parts()
            if add is not None:
                add(self)
            self.set_defaults(run=run)
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="foreshock", description="See which AI service starves which GPU, and be warned before it cascades."
    )
    top.add_argument("--version", action="version", version=f"foreshock {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Command)
    for name, (about, parts) in _COMMANDS.items():
        command = commands.add_parser(name, help=about, formatter_class=argparse.RawDescriptionHelpFormatter)
        command.parts = parts
    return top


def run(arguments: argparse.Namespace) -> int:
    """Run a parsed command; failures become one line and exit code 1, wrong usage 2."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its C library would print lines of its own beside ours
    command: Run = arguments.run
    try:
        return command(arguments)
    except SettingsError as error:
        print(f"foreshock: {error}", file=sys.stderr)
        return 2
    except (HubError, SourceError) as error:
        print(f"foreshock: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # who read the answer wanted no more of it: `foreshock replay DIR | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _serve() -> _Parts:
    from foreshock_dashboard.cli.serve import SERVE, run_serve

    return _Parts(run_serve, add_flags, SERVE)


def _demo() -> _Parts:
    from foreshock_dashboard.simulated.demo import add_demo_flags, run_demo

    return _Parts(run_demo, add_demo_flags)


def _trace() -> _Parts:
    from foreshock_dashboard.cli.trace import add_trace_flags, trace

    return _Parts(trace, add_trace_flags)


def _scenarios() -> _Parts:
    from foreshock_dashboard.cli.scenarios import run_scenarios

    return _Parts(run_scenarios)


def _simulate() -> _Parts:
    from foreshock_dashboard.cli.simulate import add_simulate_flags, simulate

    return _Parts(simulate, add_simulate_flags)


def _import() -> _Parts:
    from foreshock_dashboard.cli.recordings import IMPORT, add_import_flags, run_import

    return _Parts(run_import, add_import_flags, IMPORT)


def _export() -> _Parts:
    from foreshock_dashboard.cli.recordings import EXPORT, add_export_flags, run_export

    return _Parts(run_export, add_export_flags, EXPORT)


def _replay() -> _Parts:
    from foreshock_dashboard.cli.replay import REPLAY, add_replay_flags, run_replay

    return _Parts(run_replay, add_replay_flags, REPLAY)


def _explain() -> _Parts:
    from foreshock_dashboard.cli.explain import EXPLAIN, add_explain_flags, run_explain

    return _Parts(run_explain, add_explain_flags, EXPLAIN)


def _pools() -> _Parts:
    from foreshock_dashboard.cli.pools import POOLS, add_pools_flags, run_pools

    return _Parts(run_pools, add_pools_flags, POOLS)


def _report() -> _Parts:
    from foreshock_dashboard.cli.report import REPORT, add_report_flags, run_report

    return _Parts(run_report, add_report_flags, REPORT)


def _alerts() -> _Parts:
    from foreshock_dashboard.cli.alerts import ALERTS, add_alerts_flags, run_alerts

    return _Parts(run_alerts, add_alerts_flags, ALERTS)


def _boards() -> _Parts:
    from foreshock_dashboard.cli.boards import BOARDS, add_boards_flags, run_boards

    return _Parts(run_boards, add_boards_flags, BOARDS)


def _evaluate() -> _Parts:
    from foreshock_dashboard.cli.evaluate import EVALUATE, add_evaluate_flags, evaluate

    return _Parts(evaluate, add_evaluate_flags, EVALUATE)


_COMMANDS: dict[str, tuple[str, Callable[[], _Parts]]] = {
    "serve": ("run the hub", _serve),
    "demo": ("run a simulated platform and a hub over it", _demo),
    "trace": ("print one trace and what ran on its GPUs", _trace),
    "scenarios": ("list what the simulated platform can play", _scenarios),
    "simulate": ("record a scenario into a folder", _simulate),
    "import": ("make a recording of OpenMetrics and OTLP files", _import),
    "export": ("write a recording as OpenMetrics and OTLP files", _export),
    "replay": ("judge a recording as a hub would have while it happened", _replay),
    "explain": ("rank who is to blame for what one service suffers at one time", _explain),
    "pools": ("list GPUs that tiers share, and how few GPUs each tier needs", _pools),
    "report": ("write a post-mortem of an incident", _report),
    "alerts": ("write the alert rules for a Prometheus, with this hub's address and objectives", _alerts),
    "boards": ("write the Grafana boards and their data sources, with this hub's address", _boards),
    "evaluate": ("score the analysis on recordings whose truth is known", _evaluate),
}
