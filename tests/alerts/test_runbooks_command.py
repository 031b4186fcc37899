"""`foreshock generate runbooks`: pages for a web server that runs while the hub is down."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import httpx
import pytest
from tests.conftest import Eventually
from tests.ports import free_port

from foreshock_dashboard.cli.main import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the pages."""
    assert main(["generate", "runbooks", "--output-dir", str(tmp_path / "runbooks")]) == 0
    return tmp_path


def test_each_runbook_is_a_page_whose_links_lead_to_others(root: Path, folder: Path) -> None:
    """Without scripts and files of the hub, which is down."""
    alerts = {file.stem for file in root.glob("alerts/runbooks/*.md")}
    pages = {page.parent.name: page.read_text() for page in folder.glob("runbooks/*/index.html")}
    assert pages.keys() == alerts
    for alert, page in pages.items():
        assert f"<h1>{alert}</h1>" in page
        assert not re.search(r"<script|\.css|```", page), alert
        links = re.findall(r'href="(?!https?:)([^"]+)"', page)
        assert [link for link in links if not (folder / "runbooks" / alert / link / "index.html").exists()] == []
    listed = (folder / "runbooks/index.html").read_text()
    assert set(re.findall(r'href="(\w+)/"', listed)) == alerts


def test_prometheus_serves_them_below_the_prefix_of_the_rules(folder: Path, eventually: Eventually) -> None:
    """A link of a rule, `PREFIX/ALERT`, leads to the page."""
    (folder / "prometheus.yml").write_text("global: {}\n")
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
               f"--web.listen-address={address}", f"--web.user-assets={folder}"]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://{address}/user/runbooks/ForeshockHubDown"

            def page() -> str:
                try:
                    return httpx.get(url, follow_redirects=True).text
                except httpx.TransportError:
                    return ""

            eventually(lambda: "<h1>ForeshockHubDown</h1>" in page(), "the runbook")
        finally:
            process.terminate()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["generate", "runbooks", "--output-dir", str(tmp_path / "file")]) == 1
    assert f"{tmp_path / 'file'}" in capsys.readouterr().err
