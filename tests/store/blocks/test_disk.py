"""The file operations by themselves: what they leave behind, and what an operator is advised to do."""

from __future__ import annotations

import errno
import zlib
from pathlib import Path

import pytest

from foreshock_dashboard.store.blocks.disk import Disk, file_id, remedy


@pytest.mark.parametrize(
    ("codes", "advice"),
    [
        ((errno.ENOSPC, errno.EDQUOT), "free space"),
        ((errno.EMFILE, errno.ENFILE), "raise the limit of open files"),
        ((errno.EACCES, errno.EPERM, errno.EROFS), "make the folder writable"),
        ((errno.EIO, errno.ENOENT), "check the disk"),
    ],
)
def test_a_failed_operation_has_the_remedy_of_its_cause(codes: tuple[int, ...], advice: str) -> None:
    assert all(remedy(OSError(code, "it failed")).startswith(advice) for code in codes)


def test_a_write_replaces_a_file_as_a_whole(tmp_path: Path) -> None:
    """It leaves no other file."""
    for content in (b"first, longer", b"second", b""):
        Disk().write(tmp_path / "file", content)
        assert (tmp_path / "file").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_folders_above_a_new_one_are_created(tmp_path: Path) -> None:
    for _ in range(2):
        Disk().make_folder(tmp_path / "a" / "b" / "c")
        assert (tmp_path / "a" / "b" / "c").is_dir()


@pytest.mark.parametrize("size", [0, 1, (1 << 20) + 1])
def test_a_checksum_is_the_crc_32_of_the_whole_file(tmp_path: Path, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    (tmp_path / "file").write_bytes(content)
    assert Disk().checksum(tmp_path / "file") == zlib.crc32(content)


def test_a_removed_folder_leaves_neither_itself_nor_its_trash(tmp_path: Path) -> None:
    """Also where an earlier removal was cut short."""
    folder, trash = tmp_path / "blocks" / "one", tmp_path / "tmp" / "gone"
    for leftover in (False, True):
        folder.mkdir(parents=True)
        (folder / "rows").write_bytes(b"x")
        if leftover:
            trash.mkdir()
            (trash / "rows").write_bytes(b"y")
        Disk().remove(folder, trash)
        assert not folder.exists()
        assert [*trash.parent.iterdir()] == []


def test_a_disk_works_if_what_is_written_is_read_back(tmp_path: Path) -> None:
    class Forgetful(Disk):
        """It has other content than was written."""

        def checksum(self, path: Path) -> int:
            return super().checksum(path) ^ 1

    class Full(Disk):
        """It takes nothing."""

        def write(self, *_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    assert [disk.works(tmp_path / "tmp") for disk in (Disk(), Forgetful(), Full())] == [True, False, False]
    assert [*(tmp_path / "tmp").iterdir()] == []


def test_a_file_keeps_its_id_under_another_name_only(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"")
    known = file_id(one)
    assert known == (one.stat().st_dev, one.stat().st_ino)
    one.rename(other)
    one.write_bytes(b"")
    assert file_id(other) == known != file_id(one)
    assert file_id(tmp_path / "missing") is None
