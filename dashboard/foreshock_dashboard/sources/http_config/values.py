"""The keys of an HTTP configuration, as Prometheus names them.

https://prometheus.io/docs/prometheus/latest/configuration/configuration/
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, model_validator
from pydantic.networks import HttpUrl, UrlConstraints

FOLDER = "folder"
"""Key of the validation context: the folder that relative paths start from."""
MAX_SECRET_BYTES = 64 << 10
Value = TypeVar("Value")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2


def _below_folder(path: Path, info: ValidationInfo) -> Path:
    return Path((info.context or {}).get(FOLDER, ".")) / path


def one_line(text: str) -> str:
    """The text without a line end, as a YAML block or a file has one. Raises ValueError, which does not quote it."""
    text = text.strip("\r\n")
    if any(ord(character) < 0x20 or character == "\x7f" for character in text):
        raise ValueError("must be one line, without control characters")
    return text


def _secret_line(secret: SecretStr) -> SecretStr:
    return SecretStr(one_line(secret.get_secret_value()))


def _by_header(values: dict[str, Value]) -> dict[str, Value]:
    if not all(_HEADER_NAME.fullmatch(name) for name in values):  # not quoted: it may be a whole header
        raise ValueError("a key is not a valid header name")
    return values


Line = Annotated[str, AfterValidator(one_line)]
SecretLine = Annotated[SecretStr, AfterValidator(_secret_line)]
FilePath = Annotated[Path, AfterValidator(_below_folder)]
"""A path; a relative one starts from the folder of the configuration file, as in Prometheus."""
ProxyUrl = Annotated[HttpUrl, UrlConstraints(allowed_schemes=["http", "https"])]


def _no_password(url: HttpUrl) -> HttpUrl:
    if url.username or url.password:
        raise ValueError("a user and password here would be exposed. Set basic_auth, or oauth2's client_id, instead")
    return url


ServerUrl = Annotated[HttpUrl, AfterValidator(_no_password)]
"""An address that messages, pages, and labels show."""


class Block(BaseModel):
    """A mapping of the file: unknown keys are errors, and no message quotes a value, which may be a secret."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, content: object) -> object:
        """A key without a value is as one that is not given, as in Prometheus."""
        if not isinstance(content, dict):
            return content
        return {key: value for key, value in content.items() if value is not None or key not in cls.model_fields}

    def one_of(self, *keys: str, required: bool = False) -> None:
        """Raises ValueError for several of these keys, or for none of them if one is required."""
        given = [key for key in keys if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are mutually exclusive. Remove one")
        if required and not given:
            raise ValueError(f"is incomplete. Set {' or '.join(keys)}")


class BasicAuth(Block):
    """User name and password, which may be empty."""

    username: Line | None = None
    username_file: FilePath | None = None
    password: SecretLine | None = None
    password_file: FilePath | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.one_of("username", "username_file", required=True)
        self.one_of("password", "password_file")
        return self


class Authorization(Block):
    """A scheme and its credentials, such as a bearer token."""

    type: Line = "Bearer"
    credentials: SecretLine | None = None
    credentials_file: FilePath | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.one_of("credentials", "credentials_file", required=True)
        if self.type.strip().lower() == "basic":
            raise ValueError("type is Basic. Use basic_auth")
        return self


class TlsConfig(Block):
    """Authorities, client certificate, and checks of the server."""

    ca_file: FilePath | None = None
    cert_file: FilePath | None = None
    key_file: FilePath | None = None
    server_name: str | None = None
    insecure_skip_verify: bool = False
    min_version: Literal["TLS12", "TLS13"] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file or key_file is missing. Set both")
        return self

    def least_version(self) -> ssl.TLSVersion | None:
        """The least version of TLS; None for Python's, TLS 1.2."""
        return {None: None, "TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}[self.min_version]


class OAuth2(Block):
    """The client credentials grant (RFC 6749, section 4.4)."""

    client_id: Line
    client_secret: SecretLine | None = None
    client_secret_file: FilePath | None = None
    scopes: tuple[str, ...] = ()
    token_url: ServerUrl
    endpoint_params: dict[str, str] = {}
    tls_config: TlsConfig | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.one_of("client_secret", "client_secret_file", required=True)
        return self


class SigV4(Block):
    """AWS Signature Version 4. Without keys, those of the environment, the profile, or the role of the machine."""

    region: Line | None = None
    access_key: Line | None = None
    secret_key: SecretLine | None = None
    profile: str | None = None
    role_arn: str | None = None
    service_name: Line = "aps"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.access_key is None) != (self.secret_key is None):
            raise ValueError("access_key or secret_key is missing. Set both")
        return self


class Header(Block):
    """Values of a header: plain, secret, and in files."""

    values: tuple[Line, ...] = ()
    secrets: tuple[SecretLine, ...] = ()
    files: tuple[FilePath, ...] = ()


class HttpConfig(Block):
    """How requests to one server authenticate, and what they carry besides."""

    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None
    oauth2: OAuth2 | None = None
    sigv4: SigV4 | None = None
    tls_config: TlsConfig | None = None
    http_headers: Annotated[dict[str, Header], AfterValidator(_by_header)] = {}
    headers: Annotated[
        dict[str, SecretLine], AfterValidator(_by_header), Field(description="as in remote_read and remote_write")
    ] = {}
    params: dict[str, tuple[str, ...]] = {}
    proxy_url: Annotated[ProxyUrl | None, Field(repr=False, description="may hold a password")] = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.one_of("basic_auth", "authorization", "oauth2", "sigv4")
        return self

    def files(self) -> tuple[Path, ...]:
        """The files that it names."""
        return tuple(_paths(self))


def _paths(value: Any) -> Iterator[Path]:  # noqa: ANN401 - of any field
    if isinstance(value, Path):
        yield value
    elif isinstance(value, Block):
        for name in type(value).model_fields:
            yield from _paths(getattr(value, name))
    elif isinstance(value, dict | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _paths(item)
