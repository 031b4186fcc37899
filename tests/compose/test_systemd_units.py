"""The systemd units: accepted by systemd, and confined as far as their work allows."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = ("foreshock-exporter", "foreshock-hub")


@pytest.fixture
def analyze() -> str:
    """The command systemd-analyze."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    return "systemd-analyze"


@pytest.mark.parametrize("name", UNITS)
def test_systemd_accepts_the_unit(name: str, root: Path, tmp_path: Path, analyze: str) -> None:
    """`systemd-analyze verify` says nothing, with a program in place of the one that is not installed here."""
    text = (root / f"compose/systemd/{name}.service").read_text()
    (tmp_path / f"{name}.service").write_text(re.sub(r"/opt/foreshock/bin/[\w-]+", "/bin/true", text))
    done = subprocess.run(
        [analyze, "verify", "--man=no", tmp_path / f"{name}.service"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", UNITS)
def test_the_unit_is_confined(name: str, root: Path, analyze: str) -> None:
    """`systemd-analyze security` gives the points of the documents, 1.4 of 10 at most; 9.6 without settings."""
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=14", root / f"compose/systemd/{name}.service"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-300:]
    (points,) = re.findall(rf"exposure level for {name}.service: (\S+)", done.stdout)
    program = name.removeprefix("foreshock-")
    for page in ("docs/guides/security.md", "docs/reference/guarantees.md", "compose/README.md"):
        assert f"{program} {points}" in (root / page).read_text(), page


@pytest.mark.parametrize("name", UNITS)
def test_the_unit_has_no_privilege_that_the_guide_does_not_list(name: str, root: Path) -> None:
    """Capabilities, system calls, network, and devices, as docs/guides/security.md has them."""
    guide = (root / "docs/guides/security.md").read_text()
    text = (root / f"compose/systemd/{name}.service").read_text()
    directives = re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE)
    assert ("CapabilityBoundingSet", "") in directives
    assert {"DynamicUser", "NoNewPrivileges", "PrivateUsers", "ProtectSystem"} <= dict(directives).keys()
    for directive in ("SystemCallFilter", "RestrictAddressFamilies", "IPAddressAllow", "DeviceAllow"):
        for value in (value for key, value in directives if key == directive):
            assert f"`{value}`" in guide, (directive, value)


def test_the_units_start_the_commands_that_the_package_installs(root: Path) -> None:
    """And with options that they have."""
    scripts = re.findall(r"^(foreshock[\w-]*) =", (root / "pyproject.toml").read_text(), re.MULTILINE)
    for name in UNITS:
        text = (root / f"compose/systemd/{name}.service").read_text()
        command = re.search(r"^ExecStart=/opt/foreshock/bin/([\w-]+)", text, re.MULTILINE)
        assert command is not None
        assert command[1] in scripts
