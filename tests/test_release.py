"""Signed checksums: what docs/guides/security.md has users run accepts a release, and nothing else."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "docs/guides/security.md"


def new_key(folder: Path) -> Path:
    """A throwaway key pair in a folder."""
    folder.mkdir()
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    return key


def sign(release: Path, key: Path) -> None:
    """Sign a folder."""
    subprocess.run([ROOT / "scripts/release/sign", release, key], check=True)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The key of the maintainers."""
    return new_key(tmp_path / "maintainer")


@pytest.fixture
def release(tmp_path: Path, key: Path) -> Path:
    """A signed release."""
    folder = tmp_path / "release"
    folder.mkdir()
    (folder / "foreshock-1.tar.gz").write_bytes(b"sdist")
    (folder / "foreshock-1-py3-none-any.whl").write_bytes(b"wheel")
    sign(folder, key)
    public = " ".join(key.with_suffix(".pub").read_text().split()[:2])
    (folder / "foreshock.signers").write_text(f'releases@foreshock namespaces="foreshock" {public}\n')
    return folder


def verify(release: Path) -> int:
    """Exit status of the guide's commands."""
    (commands,) = re.findall(r"```sh\n(ssh-keygen -Y verify .*?)```", GUIDE.read_text(), re.DOTALL)
    return subprocess.run(["sh", "-e", "-c", commands], cwd=release, capture_output=True, check=False).returncode


def test_a_signed_release_is_verified_without_the_network(release: Path) -> None:
    assert verify(release) == 0


def test_a_part_of_a_release_is_verified(release: Path) -> None:
    """Users download one file with the checksums."""
    (release / "foreshock-1.tar.gz").unlink()
    assert verify(release) == 0


def changed_file(release: Path, _: Path) -> None:
    (release / "foreshock-1.tar.gz").write_bytes(b"sdisT")


def changed_sums(release: Path, _: Path) -> None:
    changed_file(release, _)
    subprocess.run("sha256sum foreshock-1* >SHA256SUMS", shell=True, cwd=release, check=True)  # noqa: S602


def changed_signature(release: Path, _: Path) -> None:
    signature = release / "SHA256SUMS.sig"
    lines = signature.read_text().splitlines()
    lines[2] = lines[2][::-1]
    signature.write_text("\n".join(lines))


def no_signature(release: Path, _: Path) -> None:
    (release / "SHA256SUMS.sig").unlink()


def other_key(release: Path, folder: Path) -> None:
    sign_again(release, new_key(folder / "stranger"))


def sign_again(release: Path, key: Path, namespace: str = "foreshock") -> None:
    (release / "SHA256SUMS.sig").unlink()
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", key, release / "SHA256SUMS"], check=True)


def other_purpose(release: Path, folder: Path) -> None:
    """A signature of the same key that was made for something else, such as a commit."""
    sign_again(release, folder / "maintainer/key", "git")


@pytest.mark.parametrize(
    "damage", [changed_file, changed_sums, changed_signature, no_signature, other_key, other_purpose]
)
def test_a_changed_release_is_refused(release: Path, tmp_path: Path, damage: Callable[[Path, Path], None]) -> None:
    damage(release, tmp_path)
    assert verify(release) != 0


def test_the_release_workflow_builds_what_there_is() -> None:
    """The images of scripts/release/images, with pinned actions, and commands and targets that exist."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
    assert workflow["permissions"] == {}
    jobs = workflow["jobs"]
    (listed,) = re.findall(r"^for image in (.*); do$", (ROOT / "scripts/release/images").read_text(), re.MULTILINE)
    images = jobs["images"]["strategy"]["matrix"]["image"]
    assert images == listed.split()
    stages = re.findall(r"^FROM .* AS (\S+)$", (ROOT / "compose/Dockerfile").read_text(), re.MULTILINE)
    assert set(images) <= set(stages)
    steps = [step for job in jobs.values() for step in job["steps"]]
    used = [step["uses"] for step in steps if "uses" in step]
    assert len(used) >= 10
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+(\.\d+)*", name) for name in used)
    commands = "\n".join(step["run"] for step in steps if "run" in step)
    subprocess.run(["bash", "-n"], input=commands, text=True, check=True)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"setup", "audit", "sbom"} <= targets & set(re.findall(r"\bmake ([a-z-]+)", commands))
