"""The folder of blocks by itself: what it loads, verifies, and sets aside."""

from __future__ import annotations

import shutil
import zlib
from pathlib import Path

import pytest

from foreshock_dashboard.store.blocks.block_dir import BlockDir
from foreshock_dashboard.store.blocks.block_meta import BlockMeta
from foreshock_dashboard.store.blocks.disk import DamagedBlock, Disk, StoreError


@pytest.fixture
def blocks(tmp_path: Path) -> BlockDir:
    """The folder of a kind, without blocks."""
    for name in ("spans", "tmp", "damaged"):
        (tmp_path / name).mkdir()
    made = BlockDir(tmp_path, "spans", Disk())
    assert made.load() == ([], 1)
    return made


def publish(blocks: BlockDir, first: int, last: int | None = None, level: int = 0) -> Path:
    """Publish a block of one file; return its folder."""
    staging = blocks.staging()
    (staging / "rows").write_bytes(b"content")
    meta = BlockMeta("spans", (first, last or first), level, 1, 0, 1, ())
    return blocks.publish(staging, meta).folder


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"content", ""), (b"Content", "rows does not match its checksum"), (None, "rows: .*No such file")],
    ids=["intact", "changed", "missing"],
)
def test_a_loaded_block_is_compared_with_its_checksums_once(
    blocks: BlockDir, content: bytes | None, reason: str
) -> None:
    file = publish(blocks, 1) / "rows"
    [block], _ = blocks.load()
    assert not block.verified
    file.unlink() if content is None else file.write_bytes(content)
    if reason:
        with pytest.raises(DamagedBlock, match=reason):
            blocks.verify(block)
        assert not block.verified
    else:
        blocks.verify(block)
        file.write_bytes(b"changed")
        blocks.verify(block)
        assert block.verified


def test_a_published_block_has_the_sizes_and_checksums_of_its_files(blocks: BlockDir) -> None:
    folder = publish(blocks, 3)
    [block], following = blocks.load()
    assert (block.folder, following) == (folder, 4)
    assert block.meta.files == {"rows": (7, zlib.crc32(b"content"))}


def test_files_of_a_new_block_are_written_into_an_empty_folder(blocks: BlockDir) -> None:
    """Also if an earlier attempt failed, or someone removed the folder for temporary files."""
    (blocks.staging() / "left").write_bytes(b"x")
    assert [*blocks.staging().iterdir()] == []
    shutil.rmtree(blocks.root / "tmp")
    assert [*blocks.staging().iterdir()] == []


def test_blocks_that_a_sound_merged_block_replaces_are_removed(blocks: BlockDir) -> None:
    """As after a kill amid a compaction. A damaged merged block is set aside instead, and its parts stay."""
    parts = [publish(blocks, number) for number in (1, 2, 3)]
    merged = publish(blocks, 1, 2, level=1)
    (merged / "rows").write_bytes(b"damaged")
    loaded, following = blocks.load()
    assert ([block.folder for block in loaded], following, blocks.corrupt) == (parts, 4, 1)
    assert [path.name for path in (blocks.root / "damaged").iterdir()] == [f"spans-{merged.name}"]
    merged = publish(blocks, 1, 2, level=1)
    loaded, _ = blocks.load()
    assert [block.folder for block in loaded] == [merged, parts[2]]
    assert sorted(blocks.folder.iterdir()) == [merged, parts[2]]


def test_sequence_numbers_of_blocks_that_were_set_aside_are_not_used_again(blocks: BlockDir) -> None:
    """Two of the same name are both kept."""
    for _ in range(3):
        blocks.quarantine(publish(blocks, 7), "test")
    assert sorted(path.name for path in (blocks.root / "damaged").iterdir()) == [
        "spans-0000000007.0", "spans-1-0000000007.0", "spans-2-0000000007.0",
    ]  # fmt: skip
    (blocks.root / "damaged" / "metrics-0000000009.0").mkdir()
    (blocks.root / "damaged" / "spans-other").mkdir()
    assert blocks.load() == ([], 8)
    assert blocks.corrupt == 3


def test_nothing_is_damaged_in_a_folder_that_is_gone(blocks: BlockDir) -> None:
    publish(blocks, 1)
    [block], _ = blocks.load()
    blocks.folder.rename(blocks.root / "moved")
    gone = "was removed, or another folder is in its place"
    with pytest.raises(StoreError, match=gone):
        blocks.verify(block)
    with pytest.raises(StoreError, match=gone):
        blocks.quarantine(block.folder, "test")
    blocks.folder.mkdir()
    with pytest.raises(StoreError, match=gone):
        blocks.remove(block)
    assert blocks.corrupt == 0
