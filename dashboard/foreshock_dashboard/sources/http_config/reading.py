"""Reads YAML files strictly: an unknown key is an error with its remedy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar, get_args

import yaml
from pydantic import BaseModel, SecretStr, ValidationError

from foreshock_dashboard.common.did_you_mean import did_you_mean
from foreshock_dashboard.common.reloading_file import FileError, read_bounded
from foreshock_dashboard.sources.http_config.values import FOLDER, MAX_SECRET_BYTES, HttpConfig, one_line

_MAX_TEXT = 200
_Model = TypeVar("_Model", bound=BaseModel)

_PROXY = "Remove it: HTTPS_PROXY and NO_PROXY in the environment apply, and in a targets file only proxy_url"
_ADDRESS = "Remove it: the URL is a separate option"
_LIMIT = "Remove it: a response has at most 32 MiB"
_INTERVAL = "Remove it: --scrape-interval applies to all targets"
REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        "bearer_token": "Write authorization: {credentials: …}",
        "bearer_token_file": "Write authorization: {credentials_file: …}",
        "ca": "Write it to a file, and set ca_file",
        "cert": "Write it to a file, and set cert_file",
        "key": "Write it to a file, and set key_file",
        "max_version": "Remove it: the newest version of both sides is used",
        "follow_redirects": "Remove it: redirects are not followed, so that no other server gets the credentials",
        "enable_http2": "Remove it: requests use HTTP/1.1",
        "no_proxy": _PROXY,
        "proxy_from_environment": _PROXY,
        "proxy_connect_header": _PROXY,
        "client_secret_ref": "Use client_secret_file",
        "azuread": "Use oauth2 with token_url https://login.microsoftonline.com/TENANT/oauth2/v2.0/token",
        "google_iam": "Read through Google's frontend for Prometheus, which adds the credentials",
        "kubeconfig_file": "Set api_server, authorization, and tls_config",
        "scrape_interval": _INTERVAL,
        "scrape_timeout": _INTERVAL,
        "honor_timestamps": "Remove it: samples have the time of the scrape",
        "track_timestamps_staleness": "Remove it: samples have the time of the scrape",
        "enable_compression": "Remove it: targets may compress their responses",
        "scrape_protocols": "Remove it: the text formats of Prometheus and OpenMetrics are read",
        "fallback_scrape_protocol": "Remove it: the text formats of Prometheus and OpenMetrics are read",
        **dict.fromkeys(("sample_limit", "label_limit", "target_limit", "body_size_limit"), _LIMIT),
        "metric_relabel_configs": "Remove it: all metrics of a target are stored",
        "url": _ADDRESS,
        "name": _ADDRESS,
        "remote_timeout": "Remove it: queries have a limit of 30 s",
    }
)
"""Keys of Prometheus that have another form here."""
_REASONS = {
    "model_type": "is not a mapping. Write {key: value}",
    "dict_type": "is not a mapping. Write {key: value}",
    "tuple_type": "is not a list. Write [value]",
    "string_type": "is not text. Write one value, in quotes",
    "missing": "is missing. Set it",
}
"""What an operator reads instead of pydantic's message, by its type."""


def read_http_config(path: Path) -> HttpConfig:
    """Read an HTTP configuration; the secrets in the files that it names are read later. Raises FileError."""
    return read_yaml(path, HttpConfig)


def read_yaml(path: Path, kind: type[_Model]) -> _Model:
    """Read a YAML file into a model. Raises FileError, which names the place in the file and the remedy."""
    text = read_bounded(path)
    try:
        return validated(path, load_yaml(text) or {}, kind)
    except yaml.YAMLError as error:
        # Its text may quote a line with a secret.
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise FileError(f"{path}: invalid YAML{place}. Check indentation and quotes") from None
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: cannot be used: {type(error).__name__}. Write a YAML mapping") from None


class _TextLoader(yaml.SafeLoader):
    """Takes scalars without quotes as text; null alone keeps its meaning, and `<<` merges."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as in the class above
        first: [pair for pair in pairs if pair[0] in ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def load_yaml(text: bytes) -> object:
    """Parsed YAML in which `true` and `8080` are text, as Go decodes them into strings. Raises YAMLError.

    So a regex, a label, and a password need no quotes, as in Prometheus; pydantic makes numbers and booleans of text.
    """
    return yaml.load(text, _TextLoader)  # noqa: S506 - a SafeLoader


def validated(path: Path, content: object, kind: type[_Model]) -> _Model:
    """The content of a file as a model. Raises FileError."""
    try:
        return kind.model_validate(content, context={FOLDER: path.parent})
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        place = " ".join(str(part)[:_MAX_TEXT] for part in first["loc"])
        if first["type"] == "extra_forbidden":
            key = str(first["loc"][-1])
            remedy = REMEDIES.get(key) or f"Keys: {', '.join(_keys_at(kind, first['loc'][:-1]))}"
            guess = "" if key in REMEDIES else did_you_mean(key, _keys_at(kind, first["loc"][:-1]))
            raise FileError(f"{path}: {place[:_MAX_TEXT]}: unknown key.{guess} {remedy}.") from None
        reason = first.get("ctx", {}).get("error") or _REASONS.get(first["type"], first["msg"])
        raise FileError(f"{path}: {place or 'the file'}: {reason}.") from None


def _keys_at(kind: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    """The keys of the block at a place of the file."""
    for part in place:
        field = kind.model_fields.get(str(part))
        if field is not None:
            kind = next(iter(_models(field.annotation)), kind)
    return list(kind.model_fields)


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    """The models in the annotation of a field."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def secret_text(inline: SecretStr | str | None, file: Path | None) -> str:
    """A secret from the configuration, or the one line of a file. Raises FileError."""
    if file is None:
        return inline.get_secret_value() if isinstance(inline, SecretStr) else inline or ""
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_SECRET_BYTES + 1)
        text = one_line(content.decode().strip())
    except OSError as error:
        raise FileError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FileError(f"{file}: is not UTF-8 text") from error
    except ValueError:
        text = ""
    if not text or len(content) > MAX_SECRET_BYTES:
        raise FileError(f"{file}: must contain exactly one line. Write the secret to it")
    return text
