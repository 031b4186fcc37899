"""The folder of a store: its first moments, its format file, a full disk, and its removal under a running store."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.store.snapshots import SnapshotDisk

from foreshock_dashboard.store import Store, StoreError
from foreshock_dashboard.store.blocks.disk import Disk
from foreshock_dashboard.store.folder import disk_bytes

if TYPE_CHECKING:
    from tests.store.conftest import Bench, MakeSpan, Scrape, Values


def test_every_folder_of_the_first_run_is_synced_into_its_parent(tmp_path: Path) -> None:
    """Else a power loss may take a folder away, with all that was stored in it."""
    made: dict[Path, bool] = {}
    root = tmp_path / "new" / "deep" / "store"

    class RecordingDisk(Disk):
        def sync(self, path: Path) -> None:
            super().sync(path)
            made.update(dict.fromkeys(path.iterdir() if path.is_dir() else [], True))

    store = Store.open(root, now=lambda: 1e9, disk=RecordingDisk())
    folders = [root.parent.parent, root.parent, root, *(path for path in root.iterdir() if path.is_dir())]
    assert {path.name for path in folders} >= {"new", "deep", "store", "metrics", "spans", "damaged", "tmp"}
    assert [path for path in folders if path not in made] == []
    assert root / "format" in made
    store.close()


def test_a_kill_at_any_step_of_the_first_start_is_no_obstacle(bench: Bench, scrape: Scrape, tmp_path: Path) -> None:
    """Each folder that a kill leaves opens and stores data."""
    disk = SnapshotDisk(bench.path, tmp_path / "snapshots")
    bench.path.mkdir()
    bench.open(disk=disk)
    operations = [operation for operation, _ in disk.taken]
    assert operations[-3:] == ["write format", "rename format.new format", "sync store"]
    for operation, folder in disk.taken:
        store = bench.open(folder=folder)
        store.append_samples([scrape(0)])
        assert store.stats().corrupt == 0, operation
        store.close()


@pytest.mark.parametrize(
    ("content", "corrupt"),
    [(b"", 0), (b"\n", 0), (b"3", 0), (b"3\n\n", 0), (b"\xff\n", 1), (b"s\n", 1), (b"\0\0", 1), (b"-3\n", 1)],
)
def test_an_empty_or_damaged_format_file_does_not_stop_the_store(
    bench: Bench, scrape: Scrape, values: Values, content: bytes, corrupt: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A power loss in the first start leaves an empty one. A damaged one is counted, logged and written again."""
    store = bench.open()
    store.append_samples([scrape(0)])
    store.maintain()
    store.close()
    (bench.path / "format").write_bytes(content)
    store = bench.open()
    assert set(values(store, 1)) == {0}
    assert store.stats().corrupt == corrupt
    assert ("format file is damaged" in caplog.text) == bool(corrupt)
    assert (bench.path / "format").read_bytes().strip() == b"3"


@pytest.mark.parametrize("content", [b"2\n", b"4\n", b"30"])
def test_another_format_is_refused_with_a_sentence(bench: Bench, content: bytes) -> None:
    """A later version wrote the folder, or an earlier one."""
    bench.open().close()
    (bench.path / "format").write_bytes(content)
    with pytest.raises(StoreError, match=rf"has format '{content.strip().decode()}', this version reads 3; use the"):
        bench.open()
    assert (bench.path / "format").read_bytes() == content


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free space"),
        (errno.EROFS, "writable"),
        (errno.EMFILE, "open files"),
        (errno.EIO, "check the disk"),
    ],
)
@pytest.mark.parametrize("operation", ["write", "sync", "make_folder", "rename"])
def test_a_new_store_on_a_failing_disk_is_refused_with_a_sentence(
    bench: Bench, number: int, remedy: str, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing stays locked: once the cause is gone, it opens."""

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(Disk, operation, fail)
        with pytest.raises(StoreError, match=rf"^store {bench.path}: .*{os.strerror(number)}.*; .*{remedy}"):
            bench.open()
    bench.open()


def test_a_lock_file_that_has_no_room_for_the_process_id_still_locks(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk does not stop an existing store."""
    bench.open().close()

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail)
        store = bench.open()
    with pytest.raises(StoreError, match="in use"):
        bench.open()
    store.close()


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_store_without_its_folder_refuses_and_is_not_ready(
    bench: Bench, scrape: Scrape, values: Values, how: str
) -> None:
    """It is ready again once the folder is back; maintenance touches no other folder in its place."""
    store = bench.open()
    store.append_samples([scrape(0)])
    aside = bench.path.rename(bench.path.parent / "aside")
    if how == "replaced":
        other = bench.open()
        other.close()
        before = sorted(bench.path.rglob("*"))

    with pytest.raises(StoreError, match=r"folder was removed or replaced; put it back"):
        store.append_samples([scrape(1)])
    store.maintain()
    assert store.ready() == (False, store.stats().last_error)
    assert "put it back, or restart" in store.stats().last_error

    if how == "replaced":
        assert sorted(bench.path.rglob("*")) == before
        shutil.rmtree(bench.path)
    assert not bench.path.exists()
    aside.rename(bench.path)
    store.maintain()
    assert store.ready() == (True, "")
    store.append_samples([scrape(1)])
    store.close()
    assert set(values(bench.open(), 2)) == {0, 1}


@pytest.mark.parametrize("place", ["nothing", "an empty folder", "another store"])
def test_blocks_of_a_store_whose_folder_was_away_are_all_kept(
    bench: Bench, scrape: Scrape, values: Values, span: MakeSpan, place: str
) -> None:
    """Queries that meet unverified blocks meanwhile are refused with a sentence, and nothing counts as damaged."""
    store = bench.open()
    for n in range(3):
        store.append_samples([scrape(n)])
        store.append_spans([span()])
        store.maintain()
    store.close()
    store = bench.open()
    aside = bench.path.rename(bench.path.parent / "aside")
    match place:
        case "an empty folder":
            bench.path.mkdir()
        case "another store":
            other = bench.open()
            for n in range(3):
                other.append_samples([scrape(n, 9.0)])
                other.append_spans([span()])
                other.maintain()
            other.close()
    before = sorted(bench.path.rglob("*"))

    for _ in range(2):
        with pytest.raises(StoreError, match=r"metrics was removed, or another folder is in its place; put it back"):
            values(store, 3)
        with pytest.raises(StoreError, match=r"spans was removed, or another folder is in its place; put it back"):
            store.get(f"{1:032x}")
    store.maintain()
    assert sorted(bench.path.rglob("*")) == before

    shutil.rmtree(bench.path, ignore_errors=True)
    aside.rename(bench.path)
    store.maintain()
    assert store.ready() == (True, "")
    for n in range(3, 15):
        store.append_samples([scrape(n)])
        store.maintain()
    assert set(values(store, 15)) == set(range(15))
    store.close()
    store = bench.open()
    assert set(values(store, 15)) == set(range(15))
    assert values(store, 1) == {0: [0.0] * 3}
    assert store.stats().corrupt == 0


def test_readiness_falls_without_an_append(bench: Bench) -> None:
    """Maintenance sees that the folder is gone."""
    store = bench.open()
    shutil.rmtree(bench.path)
    store.maintain()
    assert store.ready()[0] is False
    store.close()
    assert bench.open().ready() == (True, "")


@pytest.mark.parametrize("name", ["tmp", "damaged"])
def test_subfolders_for_passing_files_are_made_again(bench: Bench, scrape: Scrape, values: Values, name: str) -> None:
    """A cleaner of temporary files has removed them."""
    store = bench.open()
    store.append_samples([scrape(0)])
    shutil.rmtree(bench.path / name)
    store.maintain()
    (bench.path / "metrics" / "0000000001.0" / "series.parquet").write_bytes(b"")
    store.close()
    store = bench.open()
    assert store.stats().corrupt == 1
    store.append_samples([scrape(1)])
    store.maintain()
    assert store.stats().last_error == ""
    assert set(values(store, 2)) == {1}


def test_blocks_that_vanish_under_a_running_store_cost_themselves(
    bench: Bench, scrape: Scrape, values: Values, caplog: pytest.LogCaptureFixture
) -> None:
    """One query fails with a sentence; the next one answers from what is left, and the loss is counted and logged."""
    store = bench.open()
    for n in range(2):
        store.append_samples([scrape(n)])
        store.maintain()
    assert set(values(store, 2)) == {0, 1}
    shutil.rmtree(bench.path / "metrics" / "0000000001.0")
    with pytest.raises(StoreError, match="cannot read m"):
        values(store, 2)
    assert set(values(store, 2)) == {1}
    assert store.stats().corrupt == 1
    assert "0000000001.0" in caplog.text
    store.append_samples([scrape(2)])
    store.maintain()
    assert set(values(store, 3)) == {1, 2}


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.EACCES])
def test_a_block_that_cannot_be_read_for_now_is_kept(
    bench: Bench, scrape: Scrape, values: Values, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The query fails with a sentence. Only a read error that lasts a minute counts as damage."""
    store = bench.open()
    for n in range(2):
        store.append_samples([scrape(n)])
        store.maintain()
    store.close()
    store = bench.open()
    time = [1_000.0]
    monkeypatch.setattr("foreshock_dashboard.store.blocks.block_dir.time.monotonic", lambda: time[0])
    read = Disk.checksum

    def fail(disk: Disk, path: Path) -> int:
        if path.parent.name == "0000000001.0":
            raise OSError(number, os.strerror(number))
        return read(disk, path)

    with monkeypatch.context() as patch:
        patch.setattr(Disk, "checksum", fail)
        for time[0] in (1_000.0, 1_059.0):
            with pytest.raises(StoreError, match="cannot read a block"):
                values(store, 2)
            store.maintain()
            assert "cannot read a block" in store.stats().last_error
        time[0] = 1_061.0
        if number == errno.EIO:
            assert set(values(store, 2)) == {1}
            assert store.stats().corrupt == 1
            return
        with pytest.raises(StoreError, match="cannot read a block"):
            values(store, 2)
    assert set(values(store, 2)) == {0, 1}
    assert store.stats().corrupt == 0
    store._samples.expire(10**15)
    assert not list((bench.path / "metrics").iterdir()), "the failed queries still count as readers"


@pytest.mark.parametrize("operations", [["checksum"], ["checksum", "rename", "sync"]], ids=["reads", "everything"])
def test_a_disk_that_fails_for_minutes_sets_no_block_aside(
    bench: Bench, scrape: Scrape, values: Values, operations: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read errors count only while other files can be written and read back; all blocks answer afterwards."""
    store = bench.open()
    for n in range(3):
        store.append_samples([scrape(n)])
        store.maintain()
    store.close()
    store = bench.open()
    seconds = [1_000.0]
    monkeypatch.setattr("foreshock_dashboard.store.blocks.block_dir.time.monotonic", lambda: seconds[0])

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        for operation in operations:
            patch.setattr(Disk, operation, fail)
        for seconds[0] in (1_000.0, 1_059.0, 1_061.0, 1_200.0):
            for _ in range(2):
                with pytest.raises(StoreError, match="cannot read a block"):
                    values(store, 3)
    assert set(values(store, 3)) == {0, 1, 2}
    assert store.stats().corrupt == 0
    assert not list((bench.path / "damaged").iterdir())


@pytest.mark.parametrize("works", [True, False], ids=["one sector", "the whole disk"])
def test_a_bad_sector_in_a_block_meta_costs_its_block(
    bench: Bench, scrape: Scrape, values: Values, works: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store opens without it. If the whole disk fails, it does not open, and keeps the block."""
    store = bench.open()
    for n in range(3):
        store.append_samples([scrape(n)])
        store.maintain()
    store.close()
    read = Path.read_bytes

    def fail(path: Path) -> bytes:
        if path == bench.path / "metrics" / "0000000002.0" / "segment.json":
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", fail)
        if not works:
            patch.setattr(Disk, "works", lambda *_: False)
            with pytest.raises(StoreError, match=r"cannot open: .*segment\.json"):
                bench.open()
    if works:
        monkeypatch.setattr(Path, "read_bytes", fail)
    store = bench.open()
    assert set(values(store, 3)) == ({0, 2} if works else {0, 1, 2})
    assert store.stats().corrupt == int(works)


def test_a_block_whose_description_cannot_be_read_for_now_is_kept(bench: Bench, scrape: Scrape) -> None:
    """The store does not open; with too many open files it would otherwise set all blocks aside."""
    store = bench.open()
    store.append_samples([scrape(0)])
    store.maintain()
    store.close()
    meta = bench.path / "metrics" / "0000000001.0" / "segment.json"
    content = meta.read_bytes()
    meta.unlink()
    meta.symlink_to(meta)
    with pytest.raises(StoreError, match=r"cannot open.*segment\.json"):
        bench.open()
    meta.unlink()
    meta.write_bytes(content)
    assert bench.open().stats().corrupt == 0


def test_a_folder_that_is_removed_while_sizes_are_summed_counts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block moves out of `tmp/` while Status shows the size of the store."""
    for name in ("kept", "tmp/spans-new"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "data").write_bytes(b"1234")
    scan = os.scandir

    def removing(path: str | Path) -> object:
        if Path(path).name == "spans-new":
            Path(path, "data").unlink()
            Path(path).rmdir()
        return scan(path)

    monkeypatch.setattr(os, "scandir", removing)

    assert disk_bytes(tmp_path) == 4
