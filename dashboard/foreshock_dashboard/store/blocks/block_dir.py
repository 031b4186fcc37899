"""The folder of one kind's segments: finding, checking, publishing and removing them."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path

from foreshock_dashboard.store.blocks.block import Segment
from foreshock_dashboard.store.blocks.block_meta import Damaged, Meta, rank_of, read_meta, replaces, verify, write_meta
from foreshock_dashboard.store.blocks.disk import Disk

log = logging.getLogger(__name__)


class Archive:
    """`<root>/<kind>/`, and its share of `<root>/tmp/` and `<root>/damaged/`. `corrupt` counts what was set aside."""

    def __init__(self, root: Path, kind: str, disk: Disk) -> None:
        self.root, self.kind, self.folder = root, kind, root / kind
        self.corrupt = 0
        self._disk = disk

    def load(self) -> tuple[list[Segment], int]:
        """Find the segments, finish what a crash interrupted; gives them and a rank that none ever had."""
        self.folder.mkdir(exist_ok=True)
        names = [path.name for path in (self.root / "damaged").iterdir() if path.name.startswith(f"{self.kind}-")]
        found: list[Segment] = []
        for folder in sorted(self.folder.iterdir()):
            names.append(folder.name)
            try:
                found.append(Segment(folder, read_meta(folder)))
            except Damaged as damage:
                self.set_aside(folder, str(damage))
        ranks = [segment.meta.ranks[1] for segment in found] + [rank_of(name) or 0 for name in names]
        return self._without_replaced(found), max(ranks, default=0) + 1

    def _without_replaced(self, found: list[Segment]) -> list[Segment]:
        """Finish merges that a crash interrupted, highest level first: remove what is in a sound merged segment too."""
        kept: list[Segment] = []
        for segment in sorted(found, key=lambda segment: -segment.meta.level):
            if any(replaces(other.meta, segment.meta) and self._whole(other, kept) for other in list(kept)):
                self.remove(segment)
            else:
                kept.append(segment)
        return sorted(kept, key=lambda segment: segment.meta.ranks)

    def _whole(self, segment: Segment, kept: list[Segment]) -> bool:
        """Whether a merged segment may stand for its parts; otherwise they are still there, and it is set aside."""
        try:
            self.check(segment)
        except Damaged as damage:
            self.set_aside(segment.folder, str(damage))
            kept.remove(segment)
            return False
        return True

    def check(self, segment: Segment) -> None:
        """Look once per process whether a segment is as written.

        Raises:
            Damaged: it is not.
        """
        if not segment.verified:
            verify(segment.folder, segment.meta, self._disk)
            segment.verified = True

    def set_aside(self, folder: Path, reason: str) -> None:
        """Move a damaged segment away, count it, and say so."""
        damaged = self.root / "damaged"
        target = damaged / f"{self.kind}-{folder.name}"
        extra = 0
        while target.exists():
            extra += 1
            target = damaged / f"{self.kind}-{extra}-{folder.name}"
        folder.rename(target)
        self.corrupt += 1
        log.error("store: damaged segment %s (%s) was set aside as %s; its data is missing", folder, reason, target)

    def aside(self) -> Path:
        """An empty folder to write a segment's files into."""
        aside = self.root / "tmp" / f"{self.kind}-new"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        return aside

    def publish(self, aside: Path, meta: Meta) -> Segment:
        """Make a folder of finished files a segment, for good."""
        files = {}
        for path in sorted(aside.iterdir()):
            self._disk.sync(path)
            files[path.name] = (path.stat().st_size, self._disk.checksum(path))
        whole = replace(meta, files=files)
        write_meta(aside, whole, self._disk)
        folder = self.folder / whole.name
        if folder.exists():  # it was renamed, and then the disk failed: nobody was told of it
            self._disk.remove(folder, self._trash(whole))
        self._disk.publish(aside, folder)
        return Segment(folder, whole, verified=True)

    def remove(self, segment: Segment) -> None:
        """Remove a segment's folder, if it is there still."""
        if segment.folder.exists():
            self._disk.remove(segment.folder, self._trash(segment.meta))

    def _trash(self, meta: Meta) -> Path:
        return self.root / "tmp" / f"gone-{self.kind}-{meta.name}"
