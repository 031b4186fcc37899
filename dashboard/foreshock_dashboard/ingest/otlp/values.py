"""Converts attribute values from and to OTLP's AnyValue, and to search texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from foreshock_dashboard.model.span import MAX_SERVICE_CHARS, Attributes, AttributeValue

MAX_SEARCH_TEXT_CHARACTERS = MAX_SERVICE_CHARS
"""Longest search text."""
_INT64 = 1 << 63


def attributes_of(pairs: Iterable[KeyValue]) -> dict[str, AttributeValue]:
    """Return decoded attributes. The first of several values of a key is used."""
    attributes: dict[str, AttributeValue] = {}
    for pair in pairs:
        attributes.setdefault(pair.key, value_of(pair.value))
    return attributes


def value_of(value: AnyValue) -> AttributeValue:
    """Return a decoded value."""
    if text := value.string_value:  # nearly all are non-empty strings, and WhichOneof costs more
        return text
    match value.WhichOneof("value"):
        case "string_value":
            return ""
        case "int_value":
            return value.int_value
        case "bool_value":
            return value.bool_value
        case "double_value":
            return value.double_value
        case "bytes_value":
            return value.bytes_value
        case "array_value":
            return [value_of(item) for item in value.array_value.values]
        case "kvlist_value":
            return {**attributes_of(value.kvlist_value.values)}
        case _:
            return None


def pairs_of(attributes: Attributes) -> list[KeyValue]:
    """Return encoded attributes."""
    return [KeyValue(key=valid_unicode(key), value=_any(value)) for key, value in attributes.items()]


def valid_unicode(text: str) -> str:
    """Return the text with lone surrogates replaced, which are not valid UTF-8."""
    return text.encode("utf-8", "replace").decode()


def _any(value: AttributeValue) -> AnyValue:
    """Return an encoded value. An integer beyond 64 bits, which OTLP lacks, becomes its digits."""
    encoded = AnyValue()
    match value:
        case None:
            pass
        case bool():
            encoded.bool_value = value
        case str():
            encoded.string_value = valid_unicode(value)
        case int() if -_INT64 <= value < _INT64:
            encoded.int_value = value
        case int():
            encoded.string_value = str(value)
        case float():
            encoded.double_value = value
        case bytes():
            encoded.bytes_value = value
        case list() | tuple():
            encoded.array_value.SetInParent()
            encoded.array_value.values.extend([_any(item) for item in value])
        case Mapping():
            encoded.kvlist_value.SetInParent()
            encoded.kvlist_value.values.extend(pairs_of(value))
        case _:
            raise TypeError(f"an attribute cannot be {type(value).__name__}")
    return encoded


def search_text(value: AttributeValue) -> str:
    """Return the text by which a value is searched and listed: at most `MAX_SEARCH_TEXT_CHARACTERS`, valid Unicode."""
    if type(value) is str and len(value) <= MAX_SEARCH_TEXT_CHARACTERS and value.isascii():
        return value
    if isinstance(value, str):
        return valid_unicode(value[:MAX_SEARCH_TEXT_CHARACTERS])
    if isinstance(value, bool):
        return "true" if value else "false"
    return valid_unicode((value.hex() if isinstance(value, bytes) else str(value))[:MAX_SEARCH_TEXT_CHARACTERS])
