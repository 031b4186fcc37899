"""Asks an app over ASGI, without a socket; with which credentials, and what its schema says."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI


@dataclass(frozen=True)
class Caller:
    """A client of one app. An error inside the app becomes an answer of 500, as on a real server."""

    app: FastAPI

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """GET."""
        return self.ask("GET", path, headers=headers)

    def post(self, path: str, content: bytes, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """POST."""
        return self.ask("POST", path, content, headers)

    def ask(
        self, method: str, path: str, content: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Any method."""
        return asyncio.run(self._ask(method, path, content, headers))

    async def _ask(self, method: str, path: str, content: bytes, headers: Mapping[str, str] | None) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, path, content=content, headers=headers)


def basic(user: str, password: str) -> str:
    """An Authorization header with a password."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def answer_schema(document: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """The properties of the answer to GET that an OpenAPI document describes."""
    schema = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    return properties(document, schema)


def properties(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The properties of an object's schema, which may be a reference or one of several alternatives."""
    for part in schema.get("anyOf", ()):
        if part != {"type": "null"}:
            schema = part
    name = schema["$ref"].rpartition("/")[2] if "$ref" in schema else ""
    found: Mapping[str, Any] = (document["components"]["schemas"][name] if name else schema)["properties"]
    return found
