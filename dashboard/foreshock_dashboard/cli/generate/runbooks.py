"""`foreshock generate runbooks`: the runbooks as static pages, for any web server that runs while the hub is down."""

from __future__ import annotations

from html import escape
from pathlib import Path

import click

from foreshock_dashboard.cli.options import GroupedCommand, output_dir_option
from foreshock_dashboard.common.package_data import alerts_dir
from foreshock_dashboard.model.query import SourceError

INDEX = "index.html"
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<title>{title} · foreshock</title>
<style>
body{{max-width:46rem;margin:2rem auto;padding:0 1rem;font:1rem/1.5 system-ui,sans-serif}}
code{{font-family:ui-monospace,monospace;overflow-wrap:anywhere}}
pre{{overflow-x:auto;padding:.75rem;border:1px solid}}
td,th{{padding:.25rem .75rem .25rem 0;text-align:left;vertical-align:top}}
</style>
</head>
<body>
{body}
</body>
</html>
"""


@click.command(cls=GroupedCommand)
@output_dir_option
def runbooks(output_dir: Path) -> None:
    """Generate runbooks as static HTML pages that you can serve while the hub is down.

    The page of an alert is DIR/ALERT/index.html. Serve DIR with any web server, and pass its URL to
    `foreshock generate rules --runbook-url`. Prometheus serves the folder of --web.user-assets below /user.

    \b
    Examples:
      foreshock generate runbooks --output-dir /var/www/runbooks
      foreshock generate runbooks --output-dir /etc/prometheus/assets/runbooks
      foreshock generate rules --runbook-url http://prometheus:9090/user/runbooks --output-dir /etc/prometheus/foreshock
    """
    texts = {file.stem: file.read_text() for file in sorted((alerts_dir() / "runbooks").glob("*.md"))}
    try:
        for name, text in pages(texts).items():
            (output_dir / name).parent.mkdir(parents=True, exist_ok=True)
            (output_dir / name).write_text(text)
    except OSError as error:
        raise SourceError(f"{error.filename or output_dir}: {error.strerror or error}") from None
    click.echo(f"{output_dir}: {len(texts)} runbooks. List: {output_dir / INDEX}")


def pages(texts: dict[str, str]) -> dict[str, str]:
    """Each runbook and their list as HTML, by file name. texts: in Markdown, by alert."""
    from foreshock_dashboard.web.documents.runbooks import html_of  # its libraries take half a second to import

    links = "".join(f'<li><a href="{name}/">{name}</a></li>\n' for name in sorted(texts))
    found = {INDEX: PAGE.format(title="Runbooks", body=f"<h1>Runbooks</h1>\n<ul>\n{links}</ul>")}
    for name, text in texts.items():
        body = html_of(text).replace('href="/runbooks/', 'href="../')
        found[f"{name}/{INDEX}"] = PAGE.format(
            title=escape(name), body=f'<nav><a href="../">Runbooks</a></nav>\n{body}'
        )
    return found
