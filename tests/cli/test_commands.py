"""Usage and help of `foreshock`."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from foreshock_dashboard.cli.commands import parser
from foreshock_dashboard.cli.main import main


def test_without_a_command_all_of_them_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """With a help text each, and the exit code of wrong usage."""
    assert main([]) == 2
    said = capsys.readouterr().err
    assert "run a simulated platform and a hub over it" in said
    assert "judge a recording as a hub would have while it happened" in said


@pytest.mark.parametrize("command", ["pools", "trace", "serve"])
def test_an_unknown_argument_is_refused_with_the_usage_of_the_command(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """Which lists the right flag."""
    with pytest.raises(SystemExit) as ended:
        main([command, "one", "two", "--three"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"usage: foreshock {command} ")
    assert f"foreshock {command}: error: unrecognized arguments: " in said
    assert "two --three" in said


def test_a_command_line_can_be_parsed_twice() -> None:
    """Its flags are added once."""
    top = parser()
    for folder in ("one", "two"):
        assert top.parse_args(["replay", folder, "--json"]).recording == folder


PAGELESS = sorted(set(re.findall(r"^    (\w+)  ", parser().format_help(), re.MULTILINE)) - {"serve", "demo"})


def test_commands_without_a_page_do_not_import_the_web_libraries() -> None:
    """Those libraries take most of a second to import."""
    script = (
        "import sys\n"
        "from foreshock_dashboard.cli.main import main\n"
        f"for words in [['--help'], ['scenarios'], *([command, '--help'] for command in {PAGELESS})]:\n"
        "    try:\n"
        "        main(words)\n"
        "    except SystemExit as ended:\n"
        "        assert ended.code == 0\n"
        "    print(words, sorted({'dash', 'fastapi', 'grpc'} & set(sys.modules)), file=sys.stderr)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    lines = ended.stderr.splitlines()
    assert len(lines) == len(PAGELESS) + 2
    assert [line for line in lines if not line.endswith(" []")] == []
