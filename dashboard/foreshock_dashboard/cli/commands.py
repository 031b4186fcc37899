"""The tree of commands of `foreshock`.

The module of a command is imported when the command is used: `foreshock get` does not load the web libraries.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import click
from click.shell_completion import get_completion_class

from foreshock_dashboard.common.did_you_mean import did_you_mean
from foreshock_dashboard.settings.renamed import COMMANDS, renamed, renamed_flag
from foreshock_dashboard.settings.settings import HubError, SettingsError
from foreshock_exporter.common.log import escape_controls

PROGRAM = "foreshock"
COMPLETION_VARIABLE = "_FORESHOCK_COMPLETE"
SHELLS = ("bash", "zsh", "fish")

ABOUT = """GPU observability for shared inference clusters.

The hub correlates each service's GPU use and GPU wait with its traces, identifies noisy neighbors, and warns before a
slowdown cascades.
"""
EXAMPLES = """\b
Examples:
  foreshock demo                                         try it on a simulated platform
  foreshock serve --targets gpu-host-1,gpu-host-2        run the hub for two GPU hosts
  foreshock get incidents                                list open incidents on a running hub
  foreshock explain llm-chat --at now-15m                rank likely root causes
  foreshock recording replay DIR                         analyze a past incident

\b
Exit codes: 0 success, 1 failure, 2 usage error, 3 --fail-on matched.
Learn more: 'foreshock COMMAND --help'.
"""


class _LazyCommand(click.Command):
    """A command whose module is imported when the command is used. place: its module and name."""

    def __init__(self, name: str, summary: str, place: str) -> None:
        super().__init__(name, short_help=summary)
        self._place = place

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401
    ) -> click.Context:
        """The context of the real command."""
        module, _, name = self._place.partition(":")
        command: click.Command = getattr(import_module(f"foreshock_dashboard.cli.{module}"), name)
        return command.make_context(info_name, args, parent, **extra)


class _Group(click.Group):
    """A group that lists its commands in the order of declaration, and suggests one for an unknown word."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command of a word; an unknown one is refused with the new name since 0.2, or a similar command.

        Completion passes over it, as in click: an error would be printed into the prompt.
        """
        if ctx.resilient_parsing or args[0] in self.commands:
            return super().resolve_command(ctx, args)
        hint = renamed(args[0], COMMANDS) if ctx.parent is None else ""
        raise click.UsageError(f"No such command {args[0]!r}.{hint or self._suggestion(args[0])}", ctx)

    def _suggestion(self, word: str) -> str:
        """A similar command, also one of a group within: `incidents` is `get incidents`."""
        paths = {name: name for name in self.commands}
        for group, below in self.commands.items():
            for name in below.commands if isinstance(below, click.Group) else ():
                paths.setdefault(name, f"{group} {name}")
        return did_you_mean(word, paths, shown=paths)


def _group(name: str, summary: str, **commands: tuple[str, str]) -> _Group:
    """A group of lazy commands. commands: the place and the summary of each by name."""
    lazy: dict[str, click.Command] = {key: _LazyCommand(key, text, place) for key, (place, text) in commands.items()}
    return _Group(name, lazy, help=f"{summary}.", short_help=summary, no_args_is_help=True)


@click.command(short_help="Print a shell completion script")
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print a shell completion script.

    \b
    Examples:
      foreshock completion bash > ~/.local/share/bash-completion/completions/foreshock
      foreshock completion zsh > "${fpath[1]}/_foreshock"
      foreshock completion fish > ~/.config/fish/completions/foreshock.fish
    """
    complete = get_completion_class(shell)
    assert complete is not None  # noqa: S101 - `SHELLS` are those of click
    # The script alone is printed: `source` checks the version of bash, which may not be the shell of this terminal.
    instance = complete(COMMAND, {}, PROGRAM, COMPLETION_VARIABLE)
    click.echo(instance.source_template % instance.source_vars())


COMMAND = _Group(
    PROGRAM,
    {
        "serve": _LazyCommand("serve", "Run the hub", "serving.serve:serve"),
        "demo": _LazyCommand("demo", "Run the hub on a simulated platform", "serving.demo:demo"),
        "status": _LazyCommand("status", "Check whether a hub is ready", "get.status:status"),
        "get": _group(
            "get",
            "List incidents, services, GPUs, limits, forecasts, cost, pools, changes, or scrape targets",
            incidents=("get.incidents:incidents", "List open incidents"),
            services=("get.services:services", "List services with their latency, error rate, and health"),
            gpus=("get.gpus:gpus", "List GPUs with their utilization, contention, and services"),
            limits=(
                "get.gpus:limits",
                "List services that lose time at the limit of DRAM, PCIe, NVLink, power, CPU, storage, or host memory",
            ),
            cost=("get.cost:cost", "Show who holds GPUs, how they use them, what the GPUs cost, and which are unused"),
            forecast=("get.forecast:forecast", "Show the load forecast for the next 7 days"),
            pools=("get.pools:pools", "Show GPUs per tier and the minimum each tier needs"),
            changes=("get.incidents:changes", "List deployments and other changes"),
            targets=("get.status:targets", "List scrape targets"),
        ),
        "incident": _group(
            "incident",
            "Manage incidents and write postmortems",
            list=("incident:list_", "List open and resolved incidents in a time range"),
            show=("incident:show_", "Show an incident in detail"),
            report=("incident:report_", "Write a postmortem for an incident"),
            ack=("respond.incident:ack", "Acknowledge an incident"),
            assign=("respond.incident:assign", "Assign an incident to a person"),
            note=("respond.incident:note", "Add a note to an incident"),
            silence=("respond.incident:silence", "Silence an incident for a limited time"),
            feedback=("respond.incident:feedback", "Rate the suspected cause"),
        ),
        "silence": _group(
            "silence",
            "List, create, and end silences and maintenance windows",
            list=("respond.silence:list_", "List silences and maintenance windows"),
            create=("respond.silence:create", "Silence a service or a GPU pair, or plan maintenance"),
            end=("respond.silence:end", "End a silence or maintenance window"),
        ),
        "change": _group(
            "change", "Report changes", add=("respond.change:add", "Report a change, such as a deployment")
        ),
        "trace": _group("trace", "Show traces", show=("trace:show", "Show a trace and what was running on its GPUs")),
        "explain": _LazyCommand(
            "explain", "Rank likely root causes for a service at a point in time", "explain:explain"
        ),
        "recording": _group(
            "recording",
            "Create, convert, and replay recordings of past incidents",
            create=("recording:create", "Record a time range from Prometheus"),
            **{"import": ("recording:import_", "Convert OpenMetrics and OTLP files to a recording")},
            export=("recording:export_", "Convert a recording to OpenMetrics and OTLP files"),
            label=("respond.label:label", "Add incident feedback to a recording as ground truth"),
            replay=("recording:replay_", "Replay a recording and print the resulting incidents"),
        ),
        "generate": _group(
            "generate",
            "Generate Prometheus rules, Grafana dashboards, and runbooks",
            rules=("generate.rules:rules", "Generate Prometheus alerting rules"),
            dashboards=("generate.dashboards:dashboards", "Generate Grafana dashboards and data sources"),
            runbooks=("generate.runbooks:runbooks", "Generate runbook pages that work while the hub is down"),
        ),
        "notify": _group(
            "notify",
            "Check notification receivers",
            test=("notify:test", "Send a test message to each channel and Alertmanager"),
        ),
        "mcp": _LazyCommand("mcp", "Serve tools for agents (Model Context Protocol)", "serving.mcp:mcp"),
        "token": _group(
            "token",
            "Create bearer tokens",
            create=("token:create", "Create a token and add its digest to a token file"),
        ),
        "dev": _group(
            "dev",
            "Simulate platforms and score the analysis",
            scenarios=("simulate:scenarios", "List built-in scenarios"),
            simulate=("simulate:simulate", "Simulate a scenario and record it"),
            evaluate=("evaluate:evaluate", "Score root causes and forecasts on labeled recordings"),
        ),
        "completion": completion,
    },
    help=ABOUT,
    epilog=EXAMPLES,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    params=[],
)
click.version_option(None, "-V", "--version", package_name="foreshock", message="foreshock %(version)s")(COMMAND)


def run(command: click.Command, words: Sequence[str]) -> int:
    """Run a command line and return its exit code: 1 with a one-line message for a failure, 2 for a usage error."""
    return exit_code(
        lambda: command.main(list(words), PROGRAM, complete_var=COMPLETION_VARIABLE, standalone_mode=False)
    )


def exit_code(execute: Callable[[], object]) -> int:
    """Run and return the exit code; errors are printed in one line."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # otherwise its C library prints lines, too
    try:
        code = execute()
    except click.NoSuchOption as error:
        unknown = error.option_name
        known = [flag for param in error.ctx.command.params for flag in param.opts] if error.ctx else []
        hint = renamed_flag(unknown, known) or did_you_mean(unknown, [flag for flag in known if flag[1] == "-"], "--")
        error = click.NoSuchOption(unknown, f"No such option {unknown!r}.{hint}", ctx=error.ctx)
        error.show()
        return error.exit_code
    except click.ClickException as error:  # a usage error, with the usage line
        error.show()
        return error.exit_code
    except click.Abort:
        return 1
    except SettingsError as error:
        return _failed(error, 2)
    except HubError as error:
        return _failed(error, 1)
    except Exception as error:
        from foreshock_dashboard.model.query import SourceError  # NumPy comes with it, and has been imported by now

        if not isinstance(error, SourceError):
            raise
        return _failed(error, 1)
    return code if isinstance(code, int) else 0


def _failed(error: Exception, code: int) -> int:
    click.echo(f"Error: {escape_controls(str(error))}", err=True)
    return code
