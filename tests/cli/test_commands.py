"""Usage, help, and errors of `foreshock`."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from foreshock_dashboard.cli.commands import COMMAND, PROGRAM
from foreshock_dashboard.cli.main import main

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs/reference/cli.md"
COLUMNS = 100


def tree(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command and group, depth first."""
    yield path
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            yield from tree(command.commands[name], (*path, name))


PATHS = tuple(tree(COMMAND))


def help_of(path: tuple[str, ...]) -> str:
    """The help text of a command, `COLUMNS` wide."""
    context = click.Context(COMMAND, info_name=PROGRAM, **COMMAND.context_settings, terminal_width=COLUMNS)
    command: click.Command = COMMAND
    for name in path:
        assert isinstance(command, click.Group)
        lazy = command.get_command(context, name)
        assert lazy is not None
        context = lazy.make_context(name, [], parent=context, resilient_parsing=True)
        command = context.command
    return command.get_help(context)


def page() -> str:
    """The reference of all commands: their help."""
    head = """\
# Command line

This page lists the help text of every command (`foreshock COMMAND --help`). [hub.md](hub.md) explains the hub options.

## Sources, times, and output

| subject | rule |
|---|---|
| source | `--from URL` for a hub, `--from DIR` for a [recording](recordings.md); default: `http://127.0.0.1:8050` |
| credentials | `--http-config FILE`, YAML in Prometheus [`http_config`](http-config.md) format |
| environment variables | `FORESHOCK_HUB` for `--from`, `FORESHOCK_HUB_HTTP_CONFIG` for `--http-config` |
| time | RFC 3339 (`2026-11-25T10:00:00Z`), Unix seconds, `now`, `now-15m`, `now/d` (midnight UTC) |
| time in a recording | `now` is the end of the recording |
| duration | `100ms`, `10s`, `5m`, `2h`, `7d`; a number without a unit is in seconds |
| `-o table` | aligned columns, without colors |
| `-o json`, `-o yaml` | the [API](http-api.md) response |
| `-o csv` | one line per row, RFC 4180 |
| exit code | 0 success, 1 failure, 2 usage error, 3 `--fail-on` matched |
| completion | `foreshock completion bash`, `zsh`, or `fish` prints a completion script |

`foreshock dev evaluate` is described in [evaluation](../internals/evaluation.md).
"""
    sections = [f"## {' '.join((PROGRAM, *path))}\n\n```text\n{help_of(path)}\n```\n" for path in PATHS]
    return "\n".join([head, *sections])


def test_golden_reference_of_the_command_line(request: pytest.FixtureRequest) -> None:
    """The page has the help of every command."""
    if request.config.getoption("--golden"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page()


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_help_has_examples_and_noun_phrases(path: tuple[str, ...]) -> None:
    """Commands have an example each; options have no article, no capital, and no full stop."""
    text = help_of(path)
    is_group = isinstance(COMMAND, click.Group) and path in {
        (),
        ("get",),
        ("incident",),
        ("silence",),
        ("trace",),
        ("recording",),
        ("generate",),
        ("notify",),
        ("change",),
        ("token",),
        ("dev",),
    }
    assert is_group or f"  foreshock {' '.join(path)}" in text
    assert "default: none" not in text.lower()
    command = text.split("Options:")[-1]
    assert not re.search(r"^ +-\S.*?  +(The|A|An|the|a|an) ", command, re.MULTILINE)


def examples() -> Iterator[str]:
    """The example command lines of all help texts."""
    for path in PATHS:
        yield from re.findall(r"^    ?(foreshock .*?)(?:  .*)?$", help_of(path), re.MULTILINE)


@pytest.mark.parametrize("line", [line for line in dict.fromkeys(examples()) if "COMMAND" not in line])
def test_every_example_parses(line: str) -> None:
    """Its commands, options, and values exist."""
    words = shlex.split(re.split(r" [|>] ", line)[0])[1:]
    context = click.Context(COMMAND, info_name=PROGRAM)
    command: click.Command = COMMAND
    while isinstance(command, click.Group):
        found = command.get_command(context, words.pop(0))
        assert found is not None
        if isinstance(found, click.Group):
            command = found
        else:
            assert found.make_context(found.name, words, parent=context) is not None
            return


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["reprot"], "No such command 'reprot'. Did you mean 'incident report'?"),
        (["incidents"], "No such command 'incidents'. Did you mean 'get incidents'?"),
        (["xyzzy"], "No such command 'xyzzy'."),
        (["alerts"], "No such command 'alerts'. It was renamed to 'generate rules' in 0.2."),
        (["simulate", "calm"], "It was renamed to 'dev simulate' in 0.2."),
        (["serve", "--objectives", "a=1s"], "No such option '--objectives'. It was renamed to '--slo' in 0.2."),
        (["serve", "--memory", "1GiB"], "It was renamed to '--memory-limit' in 0.2."),
        (["get", "gpus", "--hub", "http://a"], "It was renamed to '--from' in 0.2."),
        (["generate", "rules", "--hub", "http://a"], "It was renamed to '--hub-url' in 0.2."),
        (["get", "gpus", "--json"], "It was renamed to '--output' in 0.2."),
        (["incident", "reprot"], "Did you mean 'report'?"),
        (["recording", "replya"], "Did you mean 'replay'?"),
        (
            ["serve", "--scrape-intervall", "5s"],
            "No such option '--scrape-intervall'. Did you mean '--scrape-interval'?",
        ),
        (["serve", "--prot", "1"], "No such option '--prot'. Did you mean '--port'?"),
        (["get", "services", "--out", "json"], "No such option '--out'."),
        (["get", "services", "-o", "jsn"], "'jsn' is not one of 'table', 'json', 'yaml', 'csv'."),
        (["get", "pools", "one"], "Got unexpected extra argument (one)"),
        (["incident", "show"], "Missing argument 'INCIDENT'."),
        (
            ["get", "gpus", "--from", "localhost:8050"],
            "--from: 'localhost:8050' is neither a folder nor a valid URL; use a URL such as http",
        ),
        (["dev", "simulate", "clam", "--output-dir", "x"], "did you mean 'calm'?"),
        (["dev", "scenarios", "calm", "-o", "json"], "a scenario is printed as YAML. Omit --output."),
    ],
)
def test_wrong_usage_is_named_with_the_remedy(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    """Exit code 2."""
    assert main(words) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_without_a_command_the_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """With the exit code of wrong usage."""
    assert main([]) == 2
    said = capsys.readouterr().err
    assert said.startswith("Usage: foreshock [OPTIONS] COMMAND")
    assert "GPU observability for shared inference clusters." in said


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_printed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """For each shell."""
    assert main(["completion", shell]) == 0
    assert f"_FORESHOCK_COMPLETE={shell}_complete" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("foreshock inc", "incident"),
        ("foreshock get s", "services"),
        ("foreshock serve --otlp-g", "--otlp-grpc-port"),
        ("foreshock unknown inc", "incident"),
    ],
)
def test_commands_and_options_are_completed(line: str, expected: str) -> None:
    """By the script's own call, which prints no error into the prompt."""
    words = line.split()
    environment = {"_FORESHOCK_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    ended = subprocess.run(
        [sys.executable, "-m", "foreshock_dashboard"], env=environment, capture_output=True, text=True, check=True
    )
    assert (f"plain,{expected}" in ended.stdout.splitlines(), ended.stderr) == (True, "")


LIGHT = [path for path in PATHS if path not in {("serve",), ("demo",)}]


def test_commands_of_a_hub_s_api_do_not_import_the_web_libraries() -> None:
    """Those libraries take most of a second to import."""
    script = (
        "import sys\n"
        "from foreshock_dashboard.cli.main import main\n"
        f"for words in {LIGHT!r}:\n"
        "    main([*words, '--help'])\n"
        "    print(words, sorted({'dash', 'fastapi', 'grpc'} & set(sys.modules)), file=sys.stderr)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    lines = ended.stderr.splitlines()
    assert len(lines) == len(LIGHT)
    assert [line for line in lines if not line.endswith(" []")] == []


def test_an_error_is_one_printable_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Names in it come from files and from other hosts."""
    assert main(["recording", "replay", "no\x1b[2J\r\nError: FAKE\u202e"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: recording ")
    assert error.endswith("/no\\x1b[2J\\r\\nError: FAKE\\u202e: there is no such folder\n")
    assert error.count("\n") == 1
