"""Values of attributes ↔ OTLP's AnyValue, and the texts by which they are searched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from foreshock_dashboard.model.span import LONGEST_SERVICE, Attributes, AttributeValue

LONGEST_TEXT = LONGEST_SERVICE
"""Characters of a text that is searched by."""
_INT64 = 1 << 63


def attributes_of(pairs: Iterable[KeyValue]) -> dict[str, AttributeValue]:
    """Encoded attributes; of a key that is there twice the first holds."""
    attributes: dict[str, AttributeValue] = {}
    for pair in pairs:
        attributes.setdefault(pair.key, value_of(pair.value))
    return attributes


def value_of(value: AnyValue) -> AttributeValue:
    """An encoded value."""
    if text := value.string_value:  # nearly all are non-empty strings, and asking which is set costs more
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
    """Attributes encoded."""
    return [KeyValue(key=sound(key), value=_any(value)) for key, value in attributes.items()]


def sound(text: str) -> str:
    """The text without lone surrogates, which are no valid UTF-8."""
    return text.encode("utf-8", "replace").decode()


def _any(value: AttributeValue) -> AnyValue:
    """A value as OTLP has it; integers beyond 64 bits, which OTLP lacks, become their digits."""
    made = AnyValue()
    match value:
        case None:
            pass
        case bool():
            made.bool_value = value
        case str():
            made.string_value = sound(value)
        case int() if -_INT64 <= value < _INT64:
            made.int_value = value
        case int():
            made.string_value = str(value)
        case float():
            made.double_value = value
        case bytes():
            made.bytes_value = value
        case list() | tuple():
            made.array_value.SetInParent()
            made.array_value.values.extend([_any(item) for item in value])
        case Mapping():
            made.kvlist_value.SetInParent()
            made.kvlist_value.values.extend(pairs_of(value))
        case _:
            raise TypeError(f"an attribute cannot be {type(value).__name__}")
    return made


def searched(value: AttributeValue) -> str:
    """A value as it is searched by and listed: a text that is not too long, and valid Unicode."""
    if type(value) is str and len(value) <= LONGEST_TEXT and value.isascii():
        return value
    return sound(text_of(value))


def text_of(value: AttributeValue) -> str:
    """A value as a search names it: `true`, `7`, `0.5`, a text's first characters."""
    if type(value) is str:
        return value if len(value) <= LONGEST_TEXT else value[:LONGEST_TEXT]
    if isinstance(value, bool):
        return "true" if value else "false"
    return (value.hex() if isinstance(value, bytes) else str(value))[:LONGEST_TEXT]
