"""Hooks of mkdocs.yml: the site also has the runbooks, and the files of the repository that documents link to."""

from __future__ import annotations

import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
FOLDERS = {"docs": "", "alerts/runbooks": "runbooks/", "": "repository/"}
"""Folders of the repository, the most specific first, and where their files are on the site."""
LINK = re.compile(r"(?<=\]\()([^)#:\s]+)(?=[#)])")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the runbooks, and every file that a page links to."""
    pending = [_source(file) for file in files.documentation_pages()]
    pending += sorted((ROOT / "alerts/runbooks").glob("*.md"))
    while pending:
        source = pending.pop()
        address = site_path(source)
        if address not in files.src_uris:
            files.append(File.generated(config, address, abs_src_path=str(source)))
        if source.suffix == ".md":
            links = (source.parent / link for link in LINK.findall(source.read_text()))
            targets = (Path(os.path.normpath(link)) for link in links)
            pending += [path for path in targets if path.is_file() and site_path(path) not in files.src_uris]
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Point the links of a page to where their files are on the site."""
    source, here = _source(page.file), Path(page.file.src_uri).parent

    def link(match: re.Match[str]) -> str:
        target = Path(os.path.normpath(source.parent / match[0]))
        return os.path.relpath(site_path(target), here) if target.is_file() else match[0]

    return LINK.sub(link, markdown)


def site_path(source: Path) -> str:
    """Where a file of the repository is on the site."""
    path = source.relative_to(ROOT).as_posix()
    folder = next(folder for folder in FOLDERS if path.startswith(folder))
    return FOLDERS[folder] + path.removeprefix(f"{folder}/")


def _source(file: File) -> Path:
    assert file.abs_src_path
    return Path(file.abs_src_path)
