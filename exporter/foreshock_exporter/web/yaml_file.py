"""YAML file with text values, read key by key, so that errors name file and key."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

_NOT_OFFERED = {
    "rate_limit": "is not supported; the exporter limits connections, so remove it",
    "cert": "is not supported inline; put the certificate in a file and set cert_file",
    "key": "is not supported inline; put the key in a file and set key_file",
    "client_ca": "is not supported inline; put the certificate in a file and set client_ca_file",
}
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class ConfigError(ValueError):
    """Unusable web configuration; the message has file, key, and remedy."""


class Section:
    """Mapping in the file; errors name file and key."""

    def __init__(self, path: Path, name: str, node: Any, known_keys: Collection[str] | None) -> None:  # noqa: ANN401 - YAML
        self.path = path
        self._name = name
        if node in (None, ""):
            node = {}
        if not isinstance(node, dict):
            raise ConfigError(f"{path}: {name or 'the file'} must be a mapping of keys to values")
        self.keys: dict[str, Any] = node
        for key in self.keys:
            if known_keys is not None and key not in known_keys:
                raise self.wrong(key, _NOT_OFFERED.get(key) or f"is not known; known are {', '.join(known_keys)}")

    def wrong(self, key: str, why: str) -> ConfigError:
        return ConfigError(f"{self.path}: {self._named(key)} {why}")

    def _named(self, key: str) -> str:
        return f"{self._name}.{key}" if self._name else key

    def section(self, key: str, known_keys: Collection[str] | None) -> Section:
        return Section(self.path, self._named(key), self.keys.get(key), known_keys)

    def text(self, key: str) -> str:
        """Value of a key; "" without one."""
        value = self.keys.get(key, "")
        if not isinstance(value, str):
            raise self.wrong(key, "must be a single value")
        return value

    def file(self, key: str) -> Path | None:
        value = self.text(key)
        return self.path.parent / value if value else None

    def flag(self, key: str, default: bool = True) -> bool:
        value = self.text(key)
        if value and value.lower() not in _WORDS:
            raise self.wrong(key, f"is {value!r}; it must be true or false")
        return _WORDS[value.lower()] if value else default

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.keys.get(key)
        if value in (None, ""):
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise self.wrong(key, "must be a list of values")
        return tuple(value)

    def one_of(self, key: str, table: Mapping[str, Any], default: str) -> Any:  # noqa: ANN401 - the table's value
        value = self.text(key) or default
        if value not in table:
            raise self.wrong(key, f"is {value!r}; it must be one of {', '.join(table)}")
        return table[value]


def load_yaml(text: str, path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """Parsed YAML with every scalar as text. Duplicate keys are refused."""
    import yaml

    class Loader(yaml.BaseLoader):
        """Knows no type but text, lists and mappings."""

    def mapping(loader: yaml.BaseLoader, node: yaml.MappingNode) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = loader.construct_object(key_node)
            if not isinstance(key, str) or key in result:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} is a duplicate or not a string", key_node.start_mark
                )
            result[key] = loader.construct_object(value_node, deep=True)
        return result

    Loader.add_constructor("tag:yaml.org,2002:map", mapping)
    load: Callable[[str, type[yaml.BaseLoader]], Any] = yaml.load
    try:
        return load(text, Loader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{path}{line}: invalid YAML: {error.problem}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{path}: invalid YAML: {' '.join(str(error).split())}") from error
