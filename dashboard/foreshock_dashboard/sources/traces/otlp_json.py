"""Decodes the variants of OTLP's JSON: ids in hex or base64, enums by number or name."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

import orjson

from foreshock_dashboard.sources.otlp.codec import DecodedRequest, decode_json

_HEX = re.compile(r"[0-9a-fA-F]+")
_ID_BYTES = {"traceId": 16, "spanId": 8, "parentSpanId": 8}
_ENUMS: Mapping[str, int] = {
    f"{prefix}{name}": number
    for prefix, names in (
        ("SPAN_KIND_", ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")),
        ("STATUS_CODE_", ("UNSET", "OK", "ERROR")),
    )
    for number, name in enumerate(names)
}


def decode_groups(groups: Any) -> DecodedRequest:  # noqa: ANN401 - JSON
    """Decode a list of ResourceSpans.

    Raises:
        MalformedError: it is not such a list.
    """
    return decode_json(orjson.dumps({"resourceSpans": _normalized(groups)}))


def _normalized(value: Any, key: str = "") -> Any:  # noqa: ANN401 - JSON
    """Return the value with ids in hex and enums by number; attributes stay as they are."""
    if isinstance(value, dict):
        return {name: item if name == "attributes" else _normalized(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_normalized(item, key) for item in value]
    if isinstance(value, str):
        if key in _ID_BYTES:
            return _hex_id(value, _ID_BYTES[key])
        if key in ("kind", "code"):
            return _ENUMS.get(value, value)
    return value


def _hex_id(text: str, length: int) -> str:
    """Return an id in hex, converted if it is base64."""
    if len(text) == 2 * length and _HEX.fullmatch(text):
        return text
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return text
    return raw.hex() if len(raw) == length else text
