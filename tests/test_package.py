"""The distribution: what the wheel holds, and what the base install does without the hub's libraries."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
PACKAGES = {"foreshock_exporter", "foreshock_simulator", "foreshock_dashboard", "foreshock_evaluation"}

BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"dash", "duckdb", "grpc", "httpx", "numpy", "orjson", "plotly", "uvicorn", "fastapi"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
"""

ONLY_THE_EXTRA = """
import sys
from importlib.metadata import packages_distributions, requires
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
wanted, installed = [Requirement("foreshock[hub]")], {}
while wanted:
    one = wanted.pop()
    name, extras = canonicalize_name(one.name), one.extras | {""}
    if new := extras - installed.setdefault(name, set()):
        installed[name] |= new
        every = [Requirement(text) for text in requires(one.name) or ()]
        wanted += [each for each in every if not each.marker or any(each.marker.evaluate({"extra": e}) for e in extras)]
there = packages_distributions()
class Blocked:
    def find_spec(self, name, path=None, target=None):
        owners = {canonicalize_name(owner) for owner in there.get(name.partition(".")[0], ())}
        if owners and not owners & set(installed):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
"""


def build(source: Path, folder: Path, target: str = "wheel") -> Path:
    """Build the wheel or sdist of a source tree."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (built,) = folder.glob("*.whl" if target == "wheel" else "*.tar.gz")
    return built


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    return build(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def wheel(built: Path) -> set[str]:
    """Names of the files in it."""
    with zipfile.ZipFile(built) as archive:
        return set(archive.namelist())


def test_the_wheel_and_the_sdist_are_reproducible(built: Path, tmp_path: Path) -> None:
    """From another folder, with other times of the files, they are the same bytes; and the sdist gives the wheel."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [path for path in listed.split("\0") if path and ((ROOT / path).is_file() or (ROOT / path).is_symlink())]
    for number, name in enumerate(paths):
        copy = tmp_path / "source" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy, follow_symlinks=False)
        os.utime(copy, (number, number), follow_symlinks=False)
    assert build(tmp_path / "source", tmp_path / "wheel").read_bytes() == built.read_bytes()
    sdist = build(tmp_path / "source", tmp_path / "sdist", "sdist")
    assert sdist.read_bytes() == build(ROOT, tmp_path / "sdist2", "sdist").read_bytes()
    shutil.unpack_archive(sdist, tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert build(unpacked, tmp_path / "wheel2").read_bytes() == built.read_bytes()


def test_a_package_index_accepts_wheel_and_sdist(built: Path, tmp_path: Path) -> None:
    """Their metadata is whole, and the README renders."""
    sdist = build(ROOT, tmp_path, "sdist")
    command: list[str | Path] = [sys.executable, "-m", "twine", "check", "--strict", built, sdist]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout


def test_the_wheel_holds_the_three_packages_and_nothing_else(wheel: set[str]) -> None:
    """No tests, no documents, no stray folder."""
    tops = {name.split("/")[0] for name in wheel}

    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES


def test_the_wheel_holds_everything_that_runs(wheel: set[str]) -> None:
    """Every file of the packages that git tracks, assets, traces and their licence among them."""
    tracked = subprocess.run(
        ["git", "ls-files", "exporter", "simulator", "dashboard", "evaluation"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()

    assert {name.split("/", 1)[1] for name in tracked} <= wheel
    assert any(name.endswith("base.css") for name in wheel)
    alerts = {f"foreshock_dashboard/alerts/{file.name}" for file in (ROOT / "alerts").glob("*.yml")}
    alerts |= {f"foreshock_dashboard/alerts/runbooks/{file.name}" for file in (ROOT / "alerts/runbooks").glob("*.md")}
    alerts |= {f"foreshock_dashboard/alerts/fleet/{file.name}" for file in (ROOT / "alerts/fleet").glob("*.yml")}
    assert {name for name in wheel if "/alerts/" in name} == alerts
    boards = {f"foreshock_dashboard/{file.relative_to(ROOT)}" for file in (ROOT / "grafana").glob("dashboards/*.json")}
    boards |= {f"foreshock_dashboard/{file.relative_to(ROOT)}" for file in (ROOT / "grafana/provisioning").glob("*/*")}
    assert {name for name in wheel if "/grafana/" in name} == boards
    assert any("LICENSE" in name for name in wheel if name.startswith("foreshock_simulator"))


def test_the_wheel_runs_the_evaluation(built: Path, tmp_path: Path) -> None:
    """From its own files, outside the repository."""
    shutil.unpack_archive(built, tmp_path, "zip")
    script = "import sys, foreshock_dashboard.cli.main as cli, foreshock_evaluation as package\n"
    script += "print(package.__file__, flush=True)\nsys.exit(cli.main(['dev', 'evaluate', '--help']))"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    package, _, usage = done.stdout.partition("\n")
    assert Path(package).is_relative_to(tmp_path)
    assert "--recordings" in usage


def test_without_the_hubs_libraries_foreshock_says_what_to_install() -> None:
    """One line and exit code 1, no traceback."""
    script = BLOCKED + "from foreshock_dashboard.cli.main import main\nsys.exit(main(['serve']))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: this command requires the hub's dependencies. In a clone, run: pip install '.[hub]'\n"


def test_the_hub_starts_with_what_its_extra_installs(tmp_path: Path) -> None:
    """The tools of developers bring more along: a library that the extra forgot would be missed by users alone."""
    settings = f"Settings(store_path=Path({str(tmp_path)!r}), port=0, otlp_grpc_port=0, otlp_http_port=0)"
    script = f"""{ONLY_THE_EXTRA}
from pathlib import Path
from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.hub.hub import Hub
from foreshock_dashboard.settings.settings import Settings
Hub({settings}, Clock()).close()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_without_the_hubs_libraries_the_exporter_runs() -> None:
    """The base install is the exporter."""
    script = BLOCKED + "from foreshock_exporter.cli import main\nsys.exit(main(['--mock', '--once']))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert all("level=INFO" in line for line in done.stderr.splitlines()), done.stderr
    assert "gpu_service_wait_by_aggressor_seconds_total" in done.stdout


LOCKS = (*(f"requirements{group}.lock" for group in ("", "-audit", "-docs", "-mutation")), "lab/requirements.lock", *(
    f"compose/{name}.lock" for name in ("build", "exporter", "hub")
))  # fmt: skip


def locked(name: str) -> dict[str, str]:
    """The line of each package in a lock file, with its hashes."""
    lines = (ROOT / name).read_text().replace("\\\n", "").splitlines()
    return {line.partition("==")[0]: line for line in lines}


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_file_has_a_hash_of_every_package_and_names_no_index(name: str) -> None:
    """So that pip refuses a file that was replaced in an index."""
    text = (ROOT / name).read_text()

    assert [line for line in locked(name).values() if "--hash=sha256:" not in line] == []
    assert "://" not in text
    assert set(re.findall(r"--\w+", text)) == {"--hash"}


@pytest.mark.parametrize("name", ["scripts/setup", "compose/Dockerfile", "compose/README.md"])
def test_every_installation_from_a_lock_file_fetches_nothing_without_a_hash(name: str) -> None:
    """The build backend neither: pip would fetch it into an isolated environment."""
    commands = re.findall(r"pip (?:install|wheel) .*", (ROOT / name).read_text())
    assert commands
    for command in commands:
        wheel = "--no-deps" in command and ("--no-build-isolation" in command or command.endswith(".whl"))
        assert "--require-hashes" in command or wheel, command


def test_the_lock_files_pin_every_direct_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    base, extras = project["project"]["dependencies"], project["project"]["optional-dependencies"]
    for lock, direct in {
        "compose/build.lock": project["build-system"]["requires"],
        "compose/exporter.lock": [*base, *extras["pod-resources"]],
        "compose/hub.lock": [*base, *extras["hub"], *extras["mcp"]],
        "requirements.lock": [*base, *extras["hub"], *extras["mcp"], *extras["dev"]],
        **{f"requirements-{name}.lock": group for name, group in project["dependency-groups"].items()},
    }.items():
        names = {canonicalize_name(Requirement(line).name) for line in direct} - {"foreshock"}
        assert names - locked(lock).keys() == set(), lock


@pytest.mark.parametrize("name", ["compose/build.lock", "compose/exporter.lock", "compose/hub.lock"])
def test_the_images_have_the_packages_that_the_tests_run_with(name: str) -> None:
    """The same versions and hashes; run `make lock` where they differ."""
    tested = {package: without_marker(line) for package, line in locked("requirements.lock").items()}

    assert {package: without_marker(line) for package, line in locked(name).items()}.items() <= tested.items()


def without_marker(line: str) -> str:
    """The requirement without the environment that it is for, which depends on who requires it."""
    return re.sub(r" ;.*?(?= --hash)", "", line)


SCRIPTS = sorted(path for path in (ROOT / "scripts").rglob("*") if path.is_file())
SHELL_SCRIPTS = [path for path in SCRIPTS if path.read_bytes().startswith(b"#!/bin/sh")]


@pytest.mark.parametrize("path", SHELL_SCRIPTS, ids=lambda path: path.name)
def test_a_shell_script_parses(path: Path) -> None:
    done = subprocess.run(["sh", "-n", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("commands", "said"),
    [
        (("apt-get",), "make setup: missing a b. Run: sudo apt-get install -y --no-install-recommends a b"),
        ((), "make setup: missing a b. There is no apt-get: install them with the package manager of this system"),
    ],
)
def test_who_may_not_install_packages_reads_who_needs_them_and_the_command(
    tmp_path: Path, commands: tuple[str, ...], said: str
) -> None:
    """On a machine without root, and on one without apt-get."""
    for name in ("id", *commands):
        (tmp_path / name).write_text("#!/bin/sh\necho 1000\n")
        (tmp_path / name).chmod(0o755)
    for name in ("sh", "dirname"):
        (tmp_path / name).symlink_to(shutil.which(name) or "")
    command = [str(ROOT / "scripts/apt-install"), "make setup", "a", "b"]
    done = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (1, said)
