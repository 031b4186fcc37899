"""Bearer tokens: created by a command, kept as digests, reloaded with their file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from foreshock_dashboard.access.tokens import Tokens, new_token, token_line
from foreshock_dashboard.common.reloading_file import FileError

FIRST, SECOND = "first-token-0123456789", "second-token-0123456789"


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """A file with one token, a comment, and a blank line."""
    path = tmp_path / "tokens"
    path.write_text(f"# the collectors\n\n{token_line('collector', FIRST)}\n")
    return path


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (f"Bearer {FIRST}", "collector"),
        (f"bearer  {FIRST} ", "collector"),
        (f"Bearer {FIRST}x", None),
        (f"Bearer {FIRST[:-1]}", None),
        (f"Bearer {token_line('collector', FIRST)}", None),
        (f"Bearer {token_line('collector', FIRST).rpartition(':')[2]}", None),
        ("Bearer ", None),
        ("Bearer \udcff\x00", None),
        (f"Basic {FIRST}", None),
        (FIRST, None),
        ("", None),
        ("Bearer # the collectors", None),
    ],
)
def test_a_token_of_the_file_has_its_name_and_nothing_else_is_accepted(
    header: str, name: str | None, token_file: Path
) -> None:
    """What the file holds, the digest, does not open anything."""
    assert Tokens(token_file).name_of(header) == name


def test_a_new_token_holds_from_the_next_request_on_and_a_broken_file_changes_nothing(
    token_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = Tokens(token_file)
    token_file.write_text(f"{token_line('b', SECOND)}\n{token_line('c', 'x' * 20)}\n")
    assert (tokens.allows(f"Bearer {FIRST}"), tokens.allows(f"Bearer {SECOND}")) == (False, True)
    token_file.write_text("short\n")
    assert [tokens.allows(f"Bearer {SECOND}") for _ in range(3)] == [True, True, True]
    token_file.unlink()
    assert tokens.allows(f"Bearer {SECOND}")
    assert len(caplog.records) == 2, "each problem is logged once"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("# nothing\n", "has no tokens"),
        (f"{token_line('a', FIRST)}\n{FIRST}\n", "line 2 is not NAME:sha256:DIGEST. Create it with foreshock token"),
        ("a:sha256:ABCDEF\n", "line 1 is not NAME:sha256:DIGEST"),
        ("pâté" * 9, "line 1 is not NAME:sha256:DIGEST"),
    ],
)
def test_a_file_without_usable_tokens_is_refused_with_the_remedy(
    content: str | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "tokens"
    if content is not None:
        path.write_text(content)
    with pytest.raises(FileError) as refused:
        Tokens(path)
    assert message in str(refused.value)
    assert str(path) in str(refused.value)
    assert FIRST not in str(refused.value), "a message may be pasted into a ticket"


def create(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `foreshock token create`."""
    command = [Path(sys.executable).with_name("foreshock"), "token", "create", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_prints_the_token_and_writes_only_its_digest(tmp_path: Path) -> None:
    """Readable by its owner alone; a second token is appended."""
    path = tmp_path / "tokens"
    first, second = (create(name, "--file", path).stdout.strip() for name in ("prometheus", "ci"))
    tokens = Tokens(path)
    assert [tokens.name_of(f"Bearer {token}") for token in (first, second)] == ["prometheus", "ci"]
    assert len(first) >= 43
    assert not any(token in path.read_text() for token in (first, second))
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("name", "file", "code", "message"),
    [("a:b", "tokens", 2, "NAME: 'a:b' is not a valid name"), ("a", "none/tokens", 1, "No such file or directory")],
)
def test_the_command_names_what_it_cannot_use(tmp_path: Path, name: str, file: str, code: int, message: str) -> None:
    done = create(name, "--file", tmp_path / file)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr


def test_two_tokens_are_never_the_same() -> None:
    """They are random: 256 bits each."""
    assert len({new_token("a")[0] for _ in range(1000)}) == 1000
