"""`foreshock notify test`."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.notify.receivers import Webhook

from foreshock_dashboard.cli.main import main


def test_each_receiver_gets_a_test_and_failures_are_named(
    hook: Webhook, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a picture, so that attachments are tested as well; and an alert that ends by itself."""
    file = tmp_path / "channels"
    file.write_text(f"json://{hook.address}/a name=works\njson://127.0.0.1:9/s3cr3tPath name=refused\n")
    assert main(["notify", "test", "--notify-file", str(file), "--alertmanager-url", f"http://{hook.address}"]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == [f"http://{hook.address}: delivered", "works: delivered"]
    assert printed[2].startswith("refused: failed: ")
    assert "s3cr3tPath" not in printed[2]
    ((alert,), message) = hook.posted
    assert alert["labels"] == {"alertname": "ForeshockTest", "severity": "warning"}
    assert message["title"] == "[test] Notifications of foreshock"
    assert message["attachments"][0]["mimetype"] == "image/png"

    assert main(["notify", "test", "--notify-file", str(file), "--channel", "works"]) == 0


@pytest.mark.parametrize(
    ("lines", "flags", "code", "message"),
    [
        ("", (), 2, "no receiver is configured"),
        (
            "json://hub",
            ("--notify-file", "channels", "--channel", "pager"),
            2,
            "'pager' is not configured. Configured channels: json.",
        ),
        ("slack", ("--notify-file", "channels"), 1, "--notify-file: channels: line 1: does not begin with a URL"),
        ("", ("--alertmanager-url", "am:9093"), 2, "--alertmanager-url: 'am:9093' is not a valid URL"),
        (
            "",
            ("--alertmanager-config", "c"),
            2,
            "alertmanager_config: has no effect without a URL. Set --alertmanager-url",
        ),
    ],
)
def test_what_cannot_be_tested_is_named(
    lines: str,
    flags: tuple[str, ...],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With the option, or the line of the file."""
    monkeypatch.chdir(tmp_path)
    Path("channels").write_text(lines)
    assert main(["notify", "test", *flags]) == code
    assert message in capsys.readouterr().err
