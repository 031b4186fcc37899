"""The distribution: what the wheel holds, and what the base install does without the hub's libraries."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {"foreshock_exporter", "foreshock_simulator", "foreshock_dashboard"}

BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"dash", "duckdb", "grpc", "httpx", "numpy", "orjson", "plotly", "uvicorn", "fastapi"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
"""


@pytest.fixture(name="wheel", scope="module")
def _wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_the_three_packages_and_nothing_else(wheel: set[str]) -> None:
    """No tests, no documents, no stray folder."""
    tops = {name.split("/")[0] for name in wheel}

    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES


def test_the_wheel_holds_everything_that_runs(wheel: set[str]) -> None:
    """Every file of the packages that git tracks, assets, traces and their licence among them."""
    tracked = subprocess.run(
        ["git", "ls-files", "exporter", "simulator", "dashboard"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()

    assert {name.split("/", 1)[1] for name in tracked} <= wheel
    assert any(name.endswith("base.css") for name in wheel)
    alerts = {f"foreshock_dashboard/alerts/{file.name}" for file in (ROOT / "alerts").glob("*.yml")}
    alerts |= {f"foreshock_dashboard/alerts/runbooks/{file.name}" for file in (ROOT / "alerts/runbooks").glob("*.md")}
    assert {name for name in wheel if "/alerts/" in name} == alerts
    assert any("LICENSE" in name for name in wheel if name.startswith("foreshock_simulator"))


def test_without_the_hubs_libraries_foreshock_says_what_to_install() -> None:
    """One line and exit code 1, no traceback."""
    script = BLOCKED + "from foreshock_dashboard.cli import main\nsys.exit(main(['serve']))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "foreshock needs its hub parts; install them with: pip install 'foreshock[hub]'\n"


def test_without_the_hubs_libraries_the_exporter_runs() -> None:
    """The base install is the exporter."""
    script = BLOCKED + "from foreshock_exporter.cli import main\nsys.exit(main(['--mock', '--once']))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert all("level=INFO" in line for line in done.stderr.splitlines()), done.stderr
    assert "gpu_service_stalled_by_seconds_total" in done.stdout


def test_the_lock_file_pins_every_direct_dependency_and_names_no_index() -> None:
    """What was resolved, and nothing about where it came from."""
    lock = (ROOT / "requirements.lock").read_text().lower().replace("_", "-")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    direct = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    names = [d.split(">")[0].split("[")[0].lower().replace("_", "-") for d in direct if not d.startswith("foreshock")]

    assert [name for name in names if f"\n{name}==" not in f"\n{lock}"] == []
    assert "://" not in lock
    assert "--" not in lock
