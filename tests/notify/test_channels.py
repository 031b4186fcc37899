"""The file of channels: its lines, its messages, and the secrets in neither."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from foreshock_dashboard.common.reloading_file import FileError
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.notify.apprise_sender import AppriseSender, DeliveryError, mask
from foreshock_dashboard.notify.channels import Channel, read_channels
from foreshock_dashboard.render.notification import MessageText

SECRET = "s3cr3tT0ken"  # noqa: S105


def channels(tmp_path: Path, text: str) -> tuple[Channel, ...]:
    """The channels of a file with this text."""
    file = tmp_path / "channels"
    file.write_text(text)
    return read_channels(file)


def test_a_file_has_one_channel_a_line_with_a_filter(tmp_path: Path) -> None:
    """Comments and empty lines are skipped; a `#` within a URL belongs to it."""
    text = f"""
# on call
slack://{SECRET}/B/C/#oncall
pagerduty://a@b  name=pager severity=critical namespace=serving,ml
  json://hub  severity=warning service=llm-*
json://other
"""
    found = channels(tmp_path, text)
    assert [(item.name, item.schema, item.severity, item.line) for item in found] == [
        ("slack", "slack", "critical", 3),
        ("pager", "pagerduty", "critical", 4),
        ("json", "json", "warning", 5),
        ("json-2", "json", "critical", 6),
    ]
    assert found[0].url.endswith("#oncall")
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    ("filter_", "service", "owner", "accepted"),
    [
        ("", Service("serving", "llm"), "", True),
        ("namespace=serving,ml", Service("ml", "llm"), "", True),
        ("namespace=serving", Service("", "llm"), "", False),
        ("service=llm-*", Service("", "llm-chat"), "", True),
        ("service=llm-* namespace=ml", Service("serving", "llm-chat"), "", False),
        ("owner=team-a", Service("", "llm"), "team-a", True),
        ("owner=team-a", Service("", "llm"), "", False),
    ],
)
def test_a_filter_selects_services(tmp_path: Path, filter_: str, service: Service, owner: str, accepted: bool) -> None:
    """All keys must match, each with one of its values."""
    (channel,) = channels(tmp_path, f"json://hub {filter_}")
    assert channel.accepts(service, owner) is accepted


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"no-url {SECRET}", "line 2: does not begin with a URL"),
        (f"json://hub {SECRET}", "line 2: word 1 after the URL is not a filter"),
        ("json://hub severity=page", "line 2: severity: use critical, or warning to get early warnings as well"),
        ("json://hub name=a/b", "line 2: name: use letters"),
        ("json://hub name=x\njson://hub/2 name=x", "line 3: a second channel has the name 'x'"),
        ("json://hub\njson://hub severity=warning", "line 3: a second channel has this URL; add name=NAME to one"),
    ],
)
def test_an_invalid_line_is_named_by_its_number_alone(tmp_path: Path, line: str, message: str) -> None:
    """Whatever is in it may be a secret."""
    with pytest.raises(FileError, match=message) as error:
        channels(tmp_path, f"# channels\n{line}\n")
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("url", [f"unknown://{SECRET}", f"pagerduty://{SECRET}", f"slack://{SECRET}/"])
def test_a_url_that_apprise_does_not_accept_is_named_by_its_line(
    tmp_path: Path, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The warnings of apprise, which quote the URL, reach no log."""
    (channel,) = channels(tmp_path, f"\n{url}\n")
    with pytest.raises(FileError, match="line 2: apprise does not accept this") as error:
        AppriseSender(channel, tmp_path / "channels")
    assert SECRET not in str(error.value) + caplog.text


def test_a_failure_shows_no_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in its error nor in a log, at any level of the hub."""
    caplog.set_level(logging.DEBUG)
    url = f"json://user:{SECRET}@127.0.0.1:9/{SECRET}/path?token={SECRET}&+Authorization=Bearer%20{SECRET}"
    (channel,) = channels(tmp_path, url)
    with pytest.raises(DeliveryError) as error:
        AppriseSender(channel, tmp_path).send(MessageText("title", "text"), "failure", "i1")
    assert "onnection" in str(error.value)
    assert SECRET not in str(error.value) + caplog.text


@pytest.mark.parametrize(
    ("text", "url", "shown"),
    [
        ("POST /services/T00/abcd failed", "slack://T0000/abcd/efgh", "POST /services/T00/**** failed"),
        ("host hub.example.com:443", "json://user:pass@hub.example.com/hook", "host hub.example.com:443"),
        ("user:p@ss word", "json://user:p%40ss%20word@hub.example.com", "****:****"),
        ("token o.abcdefsecret", "pbul://o.abcdefSECRET", "token ****"),
        ("key integrationkey", "pagerduty://integrationkey@apikey", "key ****"),
    ],
)
def test_parts_of_a_url_are_masked(text: str, url: str, shown: str) -> None:
    """All but host names: some services have tokens in place of them."""
    assert mask(text, url, has_host=url.startswith("json")) == shown


@pytest.mark.parametrize(
    ("url", "has_host"),
    [("json://hub.example.com", True), ("mailto://a:b@example.com", True), ("pbul://o.abcdefSECRET", False)],
)
def test_a_host_is_shown_where_a_service_has_no_token_there(tmp_path: Path, url: str, has_host: bool) -> None:
    """As the forms of its URL say."""
    (channel,) = channels(tmp_path, url)
    assert AppriseSender(channel, tmp_path)._has_host is has_host


def test_a_channel_keeps_its_key_when_lines_move(tmp_path: Path) -> None:
    """Else what was sent would be sent again."""
    (before,) = channels(tmp_path, "json://hub")
    _, after = channels(tmp_path, "json://other\njson://hub severity=warning")
    assert (before.key, after.name) == (after.key, "json-2")
    assert before.key != channels(tmp_path, "json://hub2")[0].key


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("pagerduty://integration@apikey", "action=map&dedup=i1%26x"),
        ("pagerduty://integration@apikey?dedup=own", "dedup=own"),
        ("opsgenie://apikey12345", "action=map"),
    ],
)
def test_services_with_incidents_get_the_id_of_the_incident_as_key(tmp_path: Path, url: str, shown: str) -> None:
    """So a message opens, updates, or resolves one incident there; a key of the URL is left as it is."""
    (channel,) = channels(tmp_path, url)
    service = AppriseSender(channel, tmp_path)._service("i1&x")
    assert service is not None
    assert shown in str(service.url())
