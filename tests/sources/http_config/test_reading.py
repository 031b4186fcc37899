"""Files of HTTP configurations: what they accept, and what they say of mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from foreshock_dashboard.common.reloading_file import FileError
from foreshock_dashboard.sources.http_config.client import ReloadingClient
from foreshock_dashboard.sources.http_config.reading import read_http_config

MISTAKES = {
    "basic_auht: {username: a}": "basic_auht: unknown key. Did you mean 'basic_auth'? Keys: basic_auth, authorization,",
    "basic_auth: {user: a}": "basic_auth user: unknown key. Did you mean 'username'? Keys: username, username_file,",
    "bearer_token_file: t": "bearer_token_file: unknown key. Write authorization: {credentials_file: …}.",
    "tls_config: {ca: x}": "tls_config ca: unknown key. Write it to a file, and set ca_file.",
    "oauth2: {client_id: a, client_secret: s3cret, token_url: u}": "oauth2 token_url: relative URL without a base.",
    "oauth2: {client_id: a, client_secret: b, token_url: 'https://u:s3cret@i/t'}": "oauth2 token_url: a user and",
    "oauth2: {client_id: a, token_url: https://i/t}": "oauth2: is incomplete. Set client_secret or client_secret_file.",
    "basic_auth: {username: a, password: s3cret, password_file: b}": "basic_auth: password and password_file are",
    "basic_auth: {username: a, password: s3cret}\nsigv4: {}": "the file: basic_auth and sigv4 are mutually exclusive.",
    "authorization: {type: Basic, credentials: s3cret}": "authorization: type is Basic. Use basic_auth.",
    "authorization: {credentials: Bearer s3cret}": "authorization: is not a bearer token. Remove 'Bearer'",
    "authorization: {credentials_file: empty}": "empty: must contain exactly one line. Write the secret to it",
    "authorization: {credentials_file: two}": "two: must contain exactly one line. Write the secret to it",
    "authorization: {credentials_file: gone}": "gone: cannot be read: No such file or directory",
    "tls_config: {cert_file: a}": "tls_config: cert_file or key_file is missing. Set both.",
    "tls_config: {ca_file: empty}": "empty: is not a file of PEM certificates",
    "tls_config: {cert_file: two, key_file: two}": "two: cannot be used as certificate and key",
    "sigv4: {access_key: s3cret}": "sigv4: access_key or secret_key is missing. Set both.",
    "authorization: {credentials: |\n  s3cret\n  s3cret\n}": "invalid YAML at line 1",
    "authorization:\n  credentials: |\n    s3cret\n    s3cret": "authorization credentials: must be one line, without",
    'http_headers: {X-Key: {secrets: ["s3cret\\n\\ts"]}}': "http_headers X-Key secrets 0: must be one line, without",
    'headers: {X-Key: "s3cret\\0"}': "headers X-Key: must be one line, without control characters.",
    "headers: {'X Key: s3cret': a}": "headers: a key is not a valid header name.",
    "authorization: {credentials: ''}": "authorization: credentials is empty. Set it to the token",
    "basic_auth: {password: s3cret}": "basic_auth: is incomplete. Set username or username_file.",
    "params: {a: s3cret}": "params a: is not a list. Write [value].",
    "http_headers: {X: s3cret}": "http_headers X: is not a mapping. Write {key: value}.",
    "headers: {X: [s3cret]}": "headers X: is not text. Write one value, in quotes.",
    "oauth2: {client_id: a}": "oauth2 token_url: is missing. Set it.",
    "no_proxy: a": "no_proxy: unknown key. Remove it: HTTPS_PROXY and NO_PROXY in the environment apply",
    "honor_timestamps: true": "honor_timestamps: unknown key. Remove it: samples have the time of the scrape.",
    "password: [s3cret": "invalid YAML at line 1, column 18. Check indentation and quotes",
    "- s3cret": "the file: is not a mapping. Write {key: value}.",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_named_with_its_place_and_the_remedy(text: str, tmp_path: Path) -> None:
    """And no message quotes a secret."""
    (tmp_path / "empty").write_text("")
    (tmp_path / "two").write_text("s3cret\nlines")
    (tmp_path / "http.yml").write_text(text)
    with pytest.raises(FileError) as refused:
        ReloadingClient(read_http_config(tmp_path / "http.yml"))
    assert MISTAKES[text] in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_texts_need_no_quotes_and_a_key_without_a_value_is_not_given(tmp_path: Path) -> None:
    """As in Prometheus. The password of a proxy does not show."""
    (tmp_path / "http.yml").write_text(
        "basic_auth: {username: 0123456, password: 12345}\ntls_config: {insecure_skip_verify: yes}\n"
        "http_headers: {X-Scope-OrgID: {values: [1]}}\nparams: {dedup: [true]}\nsigv4:\n"
        "proxy_url: http://u:s3cret@proxy:3128\n"
    )
    read = read_http_config(tmp_path / "http.yml")
    assert read.basic_auth
    assert read.basic_auth.password
    assert (read.basic_auth.username, read.basic_auth.password.get_secret_value()) == ("0123456", "12345")
    assert read.tls_config
    assert read.tls_config.insecure_skip_verify is True
    assert read.http_headers["X-Scope-OrgID"].values == ("1",)
    assert (read.params, read.sigv4) == ({"dedup": ("true",)}, None)
    assert "s3cret" not in repr(read)
    (tmp_path / "http.yml").write_text("sigv5:\n")
    with pytest.raises(FileError, match=r"sigv5: unknown key. Did you mean 'sigv4'"):
        read_http_config(tmp_path / "http.yml")


def test_paths_start_from_the_folder_of_the_file(tmp_path: Path) -> None:
    """As in Prometheus."""
    (tmp_path / "http.yml").write_text("authorization: {credentials_file: a/b}\ntls_config: {ca_file: /etc/ca.pem}")
    assert read_http_config(tmp_path / "http.yml").files() == (tmp_path / "a/b", Path("/etc/ca.pem"))
