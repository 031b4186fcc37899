"""The hub serves a page for each runbook: what a `runbook_url` leads to."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.web.caller import Caller
from tests.web.worlds import SCENES, FakeHub

from foreshock_dashboard.web.app import create_app
from foreshock_dashboard.web.documents.runbooks import html_of


@pytest.fixture(scope="module")
def caller() -> Caller:
    """Asks the app of a hub."""
    return Caller(create_app(FakeHub(SCENES["contended"]()), version="0"))


def test_every_runbook_is_a_page_whose_links_lead_to_others(root: Path, caller: Caller) -> None:
    """With all of its words, without Markdown's marks."""
    listed = caller.get("/runbooks").text
    for file in root.glob("alerts/runbooks/*.md"):
        answer = caller.get(f"/runbooks/{file.stem}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert f'<a href="/runbooks/{file.stem}">' in listed
        assert f"<h1>{file.stem}</h1>" in answer.text
        policy = (part.split() for part in answer.headers["content-security-policy"].split(";"))
        scripts = {name: sources for name, *sources in policy}["script-src"]
        assert "'self'" in scripts
        assert "'unsafe-inline'" not in scripts
        text = _text(answer.text)
        assert not re.search(r"```|^#|\]\(|\*\*", text, re.MULTILINE), file.name
        assert set(re.findall(r"\w{4,}", file.read_text())) - {"yaml", "promql"} <= set(
            re.findall(r"\w{4,}", text)
        ) | set(re.findall(r"\w{4,}", answer.text))
        for link in re.findall(r'href="(/runbooks/\w+)"', answer.text):
            assert caller.get(link).status_code == 200, link


def test_alerts_are_listed_with_what_they_mean(root: Path, caller: Caller) -> None:
    """What the search of the pages finds them by: a name, a sentence without marks, and where the runbook is."""
    rows = {row["alert"]: row for row in caller.get("/api/runbooks").json()["runbooks"]}
    assert rows.keys() == {file.stem for file in root.glob("alerts/runbooks/*.md")}
    for row in rows.values():
        assert row["meaning"].endswith((".", ":")), row
        assert not re.search(r"[`*\[\n]", row["meaning"]), row
        assert caller.get(row["address"]).status_code == 200
    assert caller.get("/api/runbooks?q=x").status_code == 400


@pytest.mark.parametrize("path", ["/runbooks/Nothing", "/runbooks/..%2Falertmanager", "/runbooks/%3Cscript%3E"])
def test_an_alert_without_a_runbook_is_reported(caller: Caller, path: str) -> None:
    """And nothing outside the folder is served."""
    answer = caller.get(path)
    assert answer.status_code == 404
    assert "<script>" not in answer.text or answer.headers["content-type"] == "application/json"


MARKDOWN = {
    "# A\n\n## B and `c`": "<h1>A</h1>\n<h2>B and <code>c</code></h2>",
    "one\ntwo *three* **four**": "<p>one\ntwo <em>three</em> <strong>four</strong></p>",
    "1. a\n   b\n2. c": "<ol>\n<li>a\nb</li>\n<li>c</li>\n</ol>",
    "- a\n- b": "<ul>\n<li>a</li>\n<li>b</li>\n</ul>",
    "```yaml\na: <b>\n```": '<pre><code class="language-yaml">a: &lt;b&gt;\n</code></pre>',
    "| a |\n|---|\n| 1 |": (
        "<table>\n<thead>\n<tr>\n<th>a</th>\n</tr>\n</thead>\n<tbody>\n<tr>\n<td>1</td>\n</tr>\n</tbody>\n</table>"
    ),
    "[x](Other.md)": '<p><a href="/runbooks/Other">x</a></p>',
    "[y](https://a.example/?a=1&b=2)": '<p><a href="https://a.example/?a=1&amp;b=2">y</a></p>',
    "<img src=x onerror=alert(1)> `<script>`": "<p>&lt;img src=x onerror=alert(1)&gt; <code>&lt;script&gt;</code></p>",
    "[x](javascript:alert)": "<p>[x](javascript:alert)</p>",
    '["x"](https://a"onclick=b)': '<p><a href="https://a%22onclick=b">&quot;x&quot;</a></p>',
    'rate(x{a="b"}[5m]) * 2 * 3': "<p>rate(x{a=&quot;b&quot;}[5m]) * 2 * 3</p>",
}


@pytest.mark.parametrize(("markdown", "html"), MARKDOWN.items())
def test_markdown_becomes_escaped_html(markdown: str, html: str) -> None:
    """What the runbooks use, and what a reader might try."""
    assert html_of(markdown) == html


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def _text(page: str) -> str:
    reader = _Words()
    reader.feed(page[page.index("<main>") :])
    return "\n".join(reader.words)
