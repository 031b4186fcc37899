"""The distribution: what the wheel holds, and what the base install does without the hub's libraries."""

from __future__ import annotations

import re
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
    boards = {f"foreshock_dashboard/{file.relative_to(ROOT)}" for file in (ROOT / "grafana").glob("dashboards/*.json")}
    boards |= {f"foreshock_dashboard/{file.relative_to(ROOT)}" for file in (ROOT / "grafana/provisioning").glob("*/*")}
    assert {name for name in wheel if "/grafana/" in name} == boards
    assert any("LICENSE" in name for name in wheel if name.startswith("foreshock_simulator"))


def test_without_the_hubs_libraries_foreshock_says_what_to_install() -> None:
    """One line and exit code 1, no traceback."""
    script = BLOCKED + "from foreshock_dashboard.cli.main import main\nsys.exit(main(['serve']))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr == "Error: this command needs the hub's dependencies. Install them: pip install 'foreshock[hub]'\n"
    )


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


def test_the_lock_files_pin_every_direct_dependency_and_name_no_index() -> None:
    locks = ("requirements.lock", "requirements-docs.lock")
    lock = "\n".join((ROOT / name).read_text() for name in locks).lower().replace("_", "-")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    direct = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    names = [re.split(r"[><=[]", d)[0].lower().replace("_", "-") for d in direct if not d.startswith("foreshock")]

    assert [name for name in names if f"\n{name}==" not in f"\n{lock}"] == []
    assert "://" not in lock
    assert "--" not in lock
