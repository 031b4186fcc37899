"""The commands of `foreshock`: what each takes, and which function runs it."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from foreshock_dashboard import __version__
from foreshock_dashboard.alerts_command import ALERTS, add_alerts_flags, run_alerts
from foreshock_dashboard.boards_command import BOARDS, add_boards_flags, run_boards
from foreshock_dashboard.clock import clock_of
from foreshock_dashboard.demo import add_demo_flags, demo
from foreshock_dashboard.evaluate_command import EVALUATE, add_evaluate_flags, evaluate
from foreshock_dashboard.explain_command import EXPLAIN, add_explain_flags, run_explain
from foreshock_dashboard.hub import Hub, HubError
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.pools_command import POOLS, add_pools_flags, run_pools
from foreshock_dashboard.recording_commands import (
    EXPORT,
    IMPORT,
    add_export_flags,
    add_import_flags,
    run_export,
    run_import,
)
from foreshock_dashboard.replay_command import REPLAY, add_replay_flags, run_replay
from foreshock_dashboard.report_command import REPORT, add_report_flags, run_report
from foreshock_dashboard.settings import SettingsError, add_flags, settings_of
from foreshock_dashboard.simulate_command import add_simulate_flags, simulate
from foreshock_dashboard.standing import standing
from foreshock_dashboard.trace_command import add_trace_flags, trace
from foreshock_simulator.scenarios.load import load, names

SERVE = """\
Runs the hub: takes in what exporters and services tell, judges it every few seconds, and shows the page, the JSON API
and its own metrics.

  foreshock serve --targets host-1:10877,host-2:10877      scrape these exporters, keep everything in the embedded store
  foreshock serve --prometheus http://prometheus:9090      read metrics from a fleet's own Prometheus instead
  foreshock serve --recording DIR                          stand at the end of a recording

Services send their spans to the OTLP ports. Every option is a flag, an environment variable and a key of the YAML
file."""


class _Command(argparse.ArgumentParser):
    """A command, which refuses words that it does not know with its own usage, not with that of all commands."""

    def parse_known_args(  # type: ignore[override]  # argparse's overloads allow any namespace
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
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
    shape = argparse.RawDescriptionHelpFormatter

    command = commands.add_parser("serve", help="run the hub", description=SERVE, formatter_class=shape)
    add_flags(command)
    command.set_defaults(run=serve)

    command = commands.add_parser("demo", help="run a simulated platform and a hub over it")
    add_demo_flags(command)
    command.set_defaults(run=run_demo)

    command = commands.add_parser("trace", help="print one trace and what ran on its GPUs")
    add_trace_flags(command)
    command.set_defaults(run=trace)

    command = commands.add_parser("scenarios", help="list what the simulated platform can play")
    command.set_defaults(run=scenarios)

    command = commands.add_parser("simulate", help="record a scenario into a folder")
    add_simulate_flags(command)
    command.set_defaults(run=simulate)

    about = "make a recording of OpenMetrics and OTLP files"
    command = commands.add_parser("import", help=about, description=IMPORT, formatter_class=shape)
    add_import_flags(command)
    command.set_defaults(run=run_import)

    about = "write a recording as OpenMetrics and OTLP files"
    command = commands.add_parser("export", help=about, description=EXPORT, formatter_class=shape)
    add_export_flags(command)
    command.set_defaults(run=run_export)

    about = "judge a recording as a hub would have while it happened"
    command = commands.add_parser("replay", help=about, description=REPLAY, formatter_class=shape)
    add_replay_flags(command)
    command.set_defaults(run=run_replay)

    about = "rank who is to blame for what one service suffers at one time"
    command = commands.add_parser("explain", help=about, description=EXPLAIN, formatter_class=shape)
    add_explain_flags(command)
    command.set_defaults(run=run_explain)

    about = "list GPUs that tiers share, and how few GPUs each tier needs"
    command = commands.add_parser("pools", help=about, description=POOLS, formatter_class=shape)
    add_pools_flags(command)
    command.set_defaults(run=run_pools)

    about = "write a post-mortem of an incident"
    command = commands.add_parser("report", help=about, description=REPORT, formatter_class=shape)
    add_report_flags(command)
    command.set_defaults(run=run_report)

    about = "write the alert rules for a Prometheus, with this hub's address and objectives"
    command = commands.add_parser("alerts", help=about, description=ALERTS, formatter_class=shape)
    add_alerts_flags(command)
    command.set_defaults(run=run_alerts)

    about = "write the Grafana boards and their data sources, with this hub's address"
    command = commands.add_parser("boards", help=about, description=BOARDS, formatter_class=shape)
    add_boards_flags(command)
    command.set_defaults(run=run_boards)

    about = "score the analysis on recordings whose truth is known"
    command = commands.add_parser("evaluate", help=about, description=EVALUATE, formatter_class=shape)
    add_evaluate_flags(command)
    command.set_defaults(run=evaluate)
    return top


def run(arguments: argparse.Namespace) -> int:
    """Run a parsed command; failures become one line and exit code 1, wrong usage 2."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its C library would print lines of its own beside ours
    command: Callable[[argparse.Namespace], int] = arguments.run
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


def serve(arguments: argparse.Namespace) -> int:
    """Run the hub until it is told to stop."""
    settings = settings_of(arguments)
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel("WARNING")  # one line per scrape would bury what matters
    with stopping() as stop, standing(settings) as (settings, recording):
        hub = Hub(settings, clock_of(settings.at), recording=recording)
        try:
            hub.start()
            print(f"page       {hub.web.url}", flush=True)
            if recording is None:
                host = settings.otlp_host or settings.host
                print(f"OTLP/gRPC  {host}:{hub.grpc.port}", flush=True)
                scheme = "https" if settings.otlp_tls_cert else "http"
                print(f"OTLP/HTTP  {scheme}://{host}:{hub.http.port}/v1/traces", flush=True)
            stop.wait()
        finally:
            hub.close()
    return 0


def run_demo(arguments: argparse.Namespace) -> int:
    """Run the demo until it is told to stop."""
    with stopping() as stop:
        return demo(arguments, stop)


def scenarios(_: argparse.Namespace) -> int:
    """Print the scenarios."""
    width = max(map(len, names()))
    for name in names():
        print(f"{name:<{width}}  {load(name).description}")
    return 0


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, for as long as the block runs."""
    stop = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: stop.set()) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
