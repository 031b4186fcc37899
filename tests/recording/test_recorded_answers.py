"""An agent with only the tools answers "why is llm-chat slow, and what should we do?" on recorded incidents."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import httpx2
import pytest
from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from tests.conftest import soak

from foreshock_dashboard.access.tokens import token_line
from foreshock_dashboard.common.clock import clock_at
from foreshock_dashboard.hub.hub import Hub
from foreshock_dashboard.replay.recording_hub import open_recording
from foreshock_dashboard.settings.settings import Settings

if TYPE_CHECKING:
    from tests.conftest import Incident

FORESHOCK = str(Path(sys.executable).with_name("foreshock"))
SERVICE, TOKEN = "serving/llm-chat", "secret-of-the-agent"
Json = dict[str, Any]


class Reply(NamedTuple):
    """What the agent says: cause, who or what is behind it, what to do, and why it thinks so."""

    cause: str
    confidence: str
    suspect: str
    actions: tuple[str, ...]
    commands: tuple[str, ...]
    evidence: tuple[str, ...]


class Expected(NamedTuple):
    """Parts of a correct reply; `action` is one of those recommended, `evidence` the beginning of a signal's text."""

    cause: str
    suspect: str
    action: str
    evidence: str


EXPECTED = {
    "starve": Expected(
        "GPU contention",
        "ml/batch-embed",
        "Scale ml/batch-embed to 0 replicas (terminates its pods)",
        "GPU wait of serving/llm-chat waiting on ml/batch-embed",
    ),
    "demand-ramp": Expected(
        "Overload",
        "product/assistant-feature",
        "Rate-limit product/assistant-feature",
        "call rate of serving/gateway -> serving/llm-chat",
    ),
    "long-prompts": Expected(
        "KV cache pressure",
        "serving/gateway",
        "Limit the prompt length of requests from serving/gateway",
        "KV cache per request of serving/llm-chat",
    ),
    "packet-loss": Expected(
        "Network", "serving/gateway and serving/llm-chat", "Drain host host-1", "TCP retransmit rate of host-1"
    ),
    "gpu-lost": Expected(
        "Hardware fault",
        "host-1/gpu-0 and host-2/gpu-0 with XID 79, GPU has fallen off the bus",
        "Drain host-1/gpu-0",
        "XID 79 (GPU has fallen off the bus) of host-1/gpu-0: 1 since",
    ),
}


async def reply(client: Client, name: str) -> Reply:
    """Why a service is slow and what to do, from results of tools alone: the worst incident of the service, explained.

    name: as a person writes it, without the namespace.
    """

    async def answer(tool: str, **arguments: str) -> Json:
        result = await client.call_tool(tool, arguments)
        assert not result.is_error, result.content
        assert isinstance(result.structured_content, dict)
        return result.structured_content

    (service,) = (row["service"] for row in (await answer("query_services", service=name))["services"])
    listed = (await answer("list_incidents", state="open"))["incidents"]
    concerned = [row for row in listed if service in (row["service"], *row["affected"]) or service in row["suspect"]]
    found = await answer("explain_incident", incident=concerned[0]["id"])
    return Reply(
        found["cause_label"],
        found["confidence"],
        f"{found['suspect']['service']}: {found['suspect']['text']}",
        tuple(action["text"] for action in found["actions"]),
        tuple(action["command"] for action in found["actions"] if action["command"]),
        tuple(row["text"] for row in found["evidence"]),
    )


@contextmanager
def hub_over(recording: Path, tokens: Path) -> Iterator[str]:
    """A hub over a recording with tools for agents that have a token."""
    tokens.write_text(f"{token_line('agent', TOKEN)}\n")
    with ExitStack() as opened:
        own = Settings(
            recording=recording, port=0, otlp_grpc_port=0, otlp_http_port=0, auth_token_file=tokens, mcp=True
        )
        settings, read = opened.enter_context(open_recording(own))
        hub = opened.enter_context(closing(Hub(settings, clock_at(settings.at), recording=read)))
        hub.start()
        yield hub.web.url


async def over_http(url: str, token: str) -> Reply:
    """By the hub's own endpoint."""
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"} if token else {}, trust_env=False) as http,
        Client(streamable_http_client(f"{url}mcp", http_client=http)) as client,
    ):
        return await reply(client, "llm-chat")


async def over_stdio(*arguments: str) -> Reply:
    """By a process that the client starts."""
    command = StdioServerParameters(command=FORESHOCK, args=["mcp", *arguments])
    async with Client(stdio_client(command)) as client:
        return await reply(client, "llm-chat")


SLOW = [name for name in EXPECTED if name != "starve"]


@pytest.mark.parametrize("scenario", ["starve", *soak(*SLOW)])
def test_an_agent_says_why_llm_chat_is_slow_and_what_to_do(scenario: str, incident: Incident, tmp_path: Path) -> None:
    """Over HTTP and over standard input and output: cause, suspect, action, and evidence; without a token, nothing."""
    expected, tokens, credentials = EXPECTED[scenario], tmp_path / "tokens", tmp_path / "credentials"
    credentials.write_text(f"authorization: {{credentials: {TOKEN}}}")
    with hub_over(incident(scenario), tokens) as url:
        said = anyio.run(over_http, url, TOKEN)
        assert anyio.run(over_stdio, "--from", url, "--http-config", str(credentials)) == said
        with pytest.raises((MCPError, httpx2.HTTPError, ExceptionGroup)):
            anyio.run(over_http, url, "")
    assert (said.cause, said.confidence) == (expected.cause, "high")
    assert expected.suspect in said.suspect
    assert any(action.startswith(expected.action) for action in said.actions)
    assert any(text.startswith(expected.evidence) for text in said.evidence)


@pytest.mark.soak
@pytest.mark.parametrize("scenario", EXPECTED)
def test_a_recording_answers_without_a_hub(scenario: str, incident: Incident) -> None:
    """The process starts a hub over it."""
    said = anyio.run(over_stdio, "--from", str(incident(scenario)))
    assert (said.cause, said.confidence) == (EXPECTED[scenario].cause, "high")
