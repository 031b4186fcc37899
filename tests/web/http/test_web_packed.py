"""Scripts and styles: sent compressed, kept by the browser for as long as they are the same."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from tests.web.caller import Caller

from foreshock_dashboard.web.http.assets import Assets, content_hash


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/assets/dom.js?m={state}", "immutable"),
        ("/assets/dom.js", "no-cache"),
        ("/_dash-component-suites/dash/deps/react-dom@18.v4_4_1m1.3.1.min.js", "max-age=31536000"),
    ],
)
def test_scripts_are_compressed_and_kept_where_their_address_names_their_state(
    caller: Caller, path: str, kept: str
) -> None:
    """At any other address another script may be tomorrow: it is requested again, and comes if it is another."""
    path = path.format(state=content_hash(caller.get("/assets/dom.js").content))
    packed = caller.get(path, headers={"Accept-Encoding": "gzip"})
    plain = caller.get(path, headers={"Accept-Encoding": "identity"})
    assert (packed.headers["content-encoding"], packed.headers["vary"]) == ("gzip", "Accept-Encoding")
    assert int(packed.headers["content-length"]) < len(plain.content) / 2
    assert "content-encoding" not in plain.headers
    assert packed.text == plain.text
    assert kept in packed.headers["cache-control"]
    again = caller.get(path, headers={"If-None-Match": packed.headers["etag"]})
    assert (again.status_code, again.content, again.headers["cache-control"]) == (
        304,
        b"",
        packed.headers["cache-control"],
    )
    assert caller.get(path, headers={"If-None-Match": '"another"'}).content == plain.content


def test_a_page_names_the_state_of_each_of_its_scripts(caller: Caller) -> None:
    """Also of those that Dash does not list."""
    links = re.findall(r'="(/assets/[^"]+)"', caller.get("/").text)
    assert {"dom.js", "main.js", "theme.js", "icon.svg", "styles.css"} <= {link[8:].partition("?")[0] for link in links}
    assert [link for link in links if "immutable" not in caller.get(link).headers["cache-control"]] == []


@pytest.mark.parametrize(
    ("path", "script"), [("/", "now.js"), ("/services/gateway", "service.js"), ("/cost", "cost.js")]
)
def test_a_page_loads_its_own_scripts_and_no_other_pages(caller: Caller, path: str, script: str) -> None:
    """Not before the import map, without which their imports fail."""
    head = caller.get(path).text
    loaded = [link.partition("?")[0] for link in re.findall(r'"modulepreload" href="/assets/([^"]+)"', head)]
    assert {"now.js", "service.js", "cost.js", "dom.js"} & set(loaded) == {script, "dom.js"}
    assert head.index('type="importmap"') < head.index('"modulepreload"')


def test_a_script_of_another_version_is_missing(caller: Caller) -> None:
    """A document of the version before must not mix its scripts with new ones."""
    (link,) = re.findall(r'"modulepreload" href="(/assets/now\.js\?m=[^"]+)"', caller.get("/").text)
    assert caller.get(link).status_code == 200
    assert caller.get(link.partition("?")[0]).status_code == 200
    assert caller.get(link.partition("?")[0] + "?m=0123456789abcdef").status_code == 404


def test_files_of_one_size_and_time_that_differ_have_different_addresses(tmp_path: Path) -> None:
    """Builds that can be repeated set one time for all."""
    maps = []
    for text in ("one", "two"):
        (tmp_path / "a.js").write_text(text)
        os.utime(tmp_path / "a.js", (1, 1))
        maps.append(Assets(tmp_path, [tmp_path / "a.js"]).import_map)
    assert maps[0] != maps[1]
    assert all(re.fullmatch(r'{"imports": {"#web/a\.js": "/assets/a\.js\?m=[0-9a-f]{16}"}}', text) for text in maps)


def test_two_assets_of_one_name_are_refused(tmp_path: Path) -> None:
    """All are served from one folder."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "page.js").write_text("")
    with pytest.raises(ValueError, match="same name"):
        Assets(tmp_path, tmp_path.rglob("*.js"))
