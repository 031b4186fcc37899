"""OTLP's JSON as others write it: ids in hex or base64, enums by number or name."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

import orjson

from foreshock_dashboard.sources.otlp.codec import DecodedRequest, decode_json

_HEX = re.compile(r"[0-9a-fA-F]+")
_LENGTHS = {"traceId": 16, "spanId": 8, "parentSpanId": 8}
_ENUMS: Mapping[str, int] = {
    f"{prefix}{name}": number
    for prefix, names in (
        ("SPAN_KIND_", ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")),
        ("STATUS_CODE_", ("UNSET", "OK", "ERROR")),
    )
    for number, name in enumerate(names)
}


def decode_groups(groups: Any) -> DecodedRequest:  # noqa: ANN401 - JSON
    """The spans of a list of ResourceSpans.

    Raises:
        MalformedError: it is none.
    """
    return decode_json(orjson.dumps({"resourceSpans": _plain(groups)}))


def _plain(value: Any, key: str = "") -> Any:  # noqa: ANN401 - JSON
    """Hex ids and numbers for enums, wherever OTLP has them; attributes are left alone."""
    if isinstance(value, dict):
        return {name: item if name == "attributes" else _plain(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, key) for item in value]
    if isinstance(value, str):
        if key in _LENGTHS:
            return _hex_of(value, _LENGTHS[key])
        if key in ("kind", "code"):
            return _ENUMS.get(value, value)
    return value


def _hex_of(text: str, length: int) -> str:
    """An id in hex: as it is, or from base64, whose text is shorter."""
    if len(text) == 2 * length and _HEX.fullmatch(text):
        return text
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return text
    return raw.hex() if len(raw) == length else text
