"""Where tests run in several processes, which of them go first and which stay together is by names of files."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import LONGEST, SHARING, SLOW

TESTS = Path(__file__).parent


@pytest.mark.parametrize("folder", SHARING)
def test_a_folder_whose_files_share_something_costly_has_tests(folder: str) -> None:
    """One that was renamed would have its server or browser started in every process."""
    assert any((TESTS / folder).glob("test_*.py"))


@pytest.mark.parametrize("scope", LONGEST)
def test_what_goes_first_is_a_file_of_tests_or_a_folder_whose_files_stay_together(scope: str) -> None:
    """Any other name would never be met, and the longest tests would go last in silence."""
    assert scope in SHARING or (TESTS / scope).is_file()


@pytest.mark.parametrize("name", SLOW)
def test_a_slow_folder_exists(name: str) -> None:
    """A renamed one would be run by `make test-fast`."""
    assert (TESTS / name).is_dir()
