"""The command with a web configuration, as a separate process."""

from __future__ import annotations

import os
import re
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from tests.exporter.web.conftest import Ask

COMMAND = str(Path(sys.executable).with_name("foreshock-exporter"))
TLS = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n"


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("FORESHOCK_")}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tls_server_config: {key_file: key.pem}\n", "tls_server_config.cert_file is missing"),
        ("basic_auth_users: {alice: secret}\n", "basic_auth_users.alice is not a bcrypt hash"),
        (None, "No such file"),
    ],
)
def test_a_bad_file_ends_the_start_with_two(
    text: str | None, says: str, config: Callable[[str], Path], tmp_path: Path
) -> None:
    path = tmp_path / "web.yml" if text is None else config(text)
    ran = subprocess.run(
        [COMMAND, "--mock", "--web.listen-address=127.0.0.1:0", f"--web.config.file={path}"],
        capture_output=True, text=True, check=False, env=environment(), timeout=60,
    )  # fmt: skip
    assert ran.returncode == 2
    assert f"{path}: {says}" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_command_serves_tls_with_passwords_until_a_signal(
    config: Callable[[str], Path], hashed: Callable[[str], str], trusting: Callable[..., ssl.SSLContext], ask: Ask
) -> None:
    path = config(TLS + f"basic_auth_users:\n  alice: {hashed('apple')}\n")
    command = [COMMAND, "--mock", "--web.listen-address=127.0.0.1:0", f"--web.config.file={path}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment()) as process:
        try:
            assert process.stderr is not None
            found = None
            for line in process.stderr:
                if found := re.search(r"listens on https://127\.0\.0\.1:(\d+)/metrics", line):
                    break
            assert found, "it ended without saying where it listens"
            port = int(found[1])
            assert ask(port, tls=trusting()).status == 401
            reply = ask(port, login=("alice", "apple"), tls=trusting())
            names = {family.name for family in text_string_to_metric_families(reply.body.decode())}
            assert "foreshock_exporter_mock" in names
            reply = ask(port, "/metrics?collect[]=nosuch", login=("alice", "apple"), tls=trusting())
            assert (reply.status, b"nosuch" in reply.body) == (400, True)
        finally:
            process.terminate()
            process.communicate(timeout=30)
    assert process.returncode == 0
