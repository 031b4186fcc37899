"""An OpenID provider in a separate process: the npm package oidc-provider."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_port

SCRIPT = Path(__file__).parents[1] / "javascript" / "oidc_provider.js"
SECRET = "client-secret-of-the-tests"  # noqa: S105


@dataclass(frozen=True)
class Provider:
    """A provider that accepts the hub at `hub_port`."""

    port: int
    hub_port: int

    @property
    def issuer(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def provider(hub_port: int) -> Iterator[Provider]:
    """Start a provider and wait until it listens."""
    port = free_port()
    command: list[str | Path] = ["node", SCRIPT, str(port), SECRET, f"http://127.0.0.1:{hub_port}/login/callback"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield Provider(port, hub_port)
        finally:
            process.terminate()
