"""Files of users: their bounds, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from foreshock_dashboard.access.users import Users
from foreshock_dashboard.common.reloading_file import MAX_FILE_BYTES, FileError


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        (b"\xff", "is not UTF-8 text"),
        (b"#" * MAX_FILE_BYTES, "has no users"),
        (b"ada:$2b$17$" + b"a" * 53, "line 1 has bcrypt cost 17 (maximum 16, default 10)"),
    ],
)
def test_a_file_of_users_has_bounds(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "users"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FileError) as refused:
        Users(path)
    assert message in str(refused.value)


def test_a_user_may_have_the_largest_cost(tmp_path: Path) -> None:
    (tmp_path / "users").write_bytes(b"\n # none\n#none\n ada:$2b$16$" + b"a" * 53 + b" \n")
    users = Users(tmp_path / "users")
    assert ("ada" in users, "none" in users) == (True, False)
    for given in ("", "Bearer x", "Basic !"):
        assert not users.known(given)
        assert users.check(given, "10.0.0.1") == "wrong"
