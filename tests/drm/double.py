"""Double of the kernel: the files in which amdgpu, amdkfd, i915, and xe report GPUs and processes, with faults."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Mapping
from pathlib import Path

from tests.exporter.whole.host_tree import HOST, process

MI300X: Mapping[str, str] = {
    "product_name": "AMD Instinct MI300X OAM",
    "unique_id": "1f9de0957d137942",
    "current_compute_partition": "SPX",
    "gpu_busy_percent": "95",
    "mem_busy_percent": "40",
    "mem_info_vram_total": str(192 << 30),
    "mem_info_vram_used": str(48 << 30),
    "pp_dpm_sclk": "S: 132Mhz\n0: 500Mhz\n1: 1900Mhz *\n2: 2100Mhz",
    "pp_dpm_mclk": "0: 900Mhz\n1: 1300Mhz *",
    "pcie_replay_count": "3",
    "current_link_width": "16",
    "max_link_width": "16",
    "current_link_speed": "32.0 GT/s PCIe",
    "max_link_speed": "32.0 GT/s PCIe",
    "ras/umc_err_count": "ue: 1\nce: 20\nde: 0",
    "ras/gfx_err_count": "ue: 2\nce: 5",
    "hwmon/hwmon5/power1_average": "650000000",
    "hwmon/hwmon5/power1_cap": "750000000",
    "hwmon/hwmon5/temp1_input": "61000",
    "hwmon/hwmon5/temp2_input": "72000",
    "hwmon/hwmon5/temp3_input": "58000",
    "hwmon/hwmon5/freq1_input": "1900000000",
    "hwmon/hwmon5/freq2_input": "1300000000",
}
"""Attributes of an AMD GPU at work."""
ARC: Mapping[str, str] = {
    "hwmon/hwmon3/energy1_input": "5000000",
    "hwmon/hwmon3/power1_max": "190000000",
    "hwmon/hwmon3/temp2_input": "55000",
    "hwmon/hwmon3/temp3_input": "60000",
    "tile0/gt0/freq0/act_freq": "2400",
}
"""Attributes of an Intel GPU with the driver xe."""
ADDRESS = "0000:c1:00.0"
GPU_ID = "51234"
XGMI_AT = {4: (52, 104), 5: (116, 176), 6: (64, 128), 7: (72, 136), 8: (72, 136)}
"""Offsets of the width of XGMI links, and of the data that they read, by version of the metrics."""


def gpu_metrics(content: int, revision: int = 1, size: int | None = None, **fields: int) -> bytes:
    """Table of a version with `energy`, `bits`, `cycles` and residencies, or fields of XGMI links by their number.

    Other fields are not supported.
    """
    sizes = {1: 96, 2: 104, 3: 120, 4: 288, 5: 360, 6: 1664, 7: 2208, 8: 3360}
    table = bytearray(b"\xff" * (size or sizes[content]))
    struct.pack_into("<HBB", table, 0, len(table), revision, content)
    energy_at = {5: 88, 6: 16}.get(content, 24)
    cycles_at = {6: 32, 7: 40, 8: 40}.get(content, 0)
    layout = {"energy": ("<Q", energy_at), "bits": ("<Q", 112), "cycles": ("<I", cycles_at)}
    layout |= {
        name: ("<I", cycles_at + 4 * n)
        for n, name in enumerate(("prochot", "ppt", "socket_thm", "vr_thm", "hbm_thm"), 1)
    }
    width_at, read_at = XGMI_AT.get(content, (0, 0))
    layout |= {"xgmi_width": ("<H", width_at), "xgmi_speed": ("<H", width_at + 2)}
    for link in range(8):
        layout |= {
            f"xgmi_read_{link}": ("<Q", read_at + 8 * link),
            f"xgmi_write_{link}": ("<Q", read_at + 64 + 8 * link),
        }
        layout |= {f"xgmi_status_{link}": ("<H", read_at + 128 + 2 * link)}
    for name, value in fields.items():
        form, offset = layout[name]
        struct.pack_into(form, table, offset, value)
    return bytes(table)


class KernelDouble:
    """Trees of /proc and /sys below a folder. What a test changes, the driver reads at its next call."""

    def __init__(self, root: Path) -> None:
        self.root, self.sysfs, self.procfs = root, root / "sys", root / "proc"
        for name, text in HOST.items():
            self.write(root / name, text)
        self.write(self.procfs / "sys/kernel/osrelease", "6.8.0-45-generic")
        self.write(self.procfs / "1/cmdline", "init\0")

    def write(self, path: Path, content: str | bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else f"{content}\n".encode())

    def gpu(
        self, attributes: Mapping[str, str | bytes], address: str = ADDRESS, driver: str = "amdgpu", card: str = "card1"
    ) -> Path:
        """A card, the folder of its attributes, and its file for rendering: renderD128 is that of card1."""
        folder = self.sysfs / "class/drm" / card / "device"
        vendor = "1002:74A1" if driver == "amdgpu" else "8086:56A0"
        for name, content in attributes.items():
            self.write(folder / name, content)
        # Last, as the kernel shows a card when it has all attributes.
        for name in (_render(card), card):
            text = f"DRIVER={driver}\nPCI_ID={vendor}\nPCI_SLOT_NAME={address}"
            self.write(self.sysfs / "class/drm" / name / "device/uevent", text)
        return folder

    def node(self, gpu_id: str = GPU_ID, address: str = ADDRESS, name: str = "aqua_vanjaram") -> None:
        """The GPU as a compute device, after that of the CPU."""
        domain, bus, rest = address.split(":")
        location = int(bus, 16) << 8 | int(rest[:2], 16) << 3 | int(rest[-1])
        nodes = self.sysfs / "class/kfd/kfd/topology/nodes"
        for number, own_id, title, facts in (
            ("0", "0", "", "cpu_cores_count 64\nsimd_count 0"),
            (gpu_id, gpu_id, name, f"simd_count 1216\nlocation_id {location}\ndomain {int(domain, 16)}"),
        ):
            self.write(nodes / number / "gpu_id", own_id)
            self.write(nodes / number / "name", title)
            self.write(nodes / number / "properties", facts)

    def process(self, pid: int, service: str) -> None:
        for name, text in process(pid, service).items():
            self.write(self.root / name, text)
        self.write(self.procfs / f"{pid}/cmdline", "python\0")
        (self.procfs / f"{pid}/fd").mkdir(exist_ok=True)

    def compute(self, pid: int, units: int | None, vram: int = 4 << 30, gpu_id: str = GPU_ID, queues: int = 1) -> Path:
        """A process of ROCm: its occupied compute units (None: not reported), memory, and queues."""
        folder = self.sysfs / "class/kfd/kfd/proc" / str(pid)
        self.write(folder / f"vram_{gpu_id}", str(vram))
        self.write(folder / f"stats_{gpu_id}/evicted_ms", "0")
        if units is not None:
            self.write(folder / f"stats_{gpu_id}/cu_occupancy", str(units))
        for queue in range(queues):
            self.write(folder / f"queues/{queue}/gpuid", gpu_id)
        return folder

    def client(self, pid: int, descriptor: str, text: str, device: str = "/dev/dri/renderD128") -> None:
        """An open DRM file of a process."""
        link = self.procfs / f"{pid}/fd/{descriptor}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(device)
        self.write(self.procfs / f"{pid}/fdinfo/{descriptor}", text)

    def fail(self, path: Path) -> None:
        """Let reads of a file fail with EIO, as those of this process's memory at address 0 do."""
        path.unlink()
        path.symlink_to("/proc/self/mem")

    def unplug(self, card: str = "card1") -> None:
        for name in (card, _render(card)):
            shutil.rmtree(self.sysfs / "class/drm" / name)


def _render(card: str) -> str:
    return f"renderD{127 + int(card.removeprefix('card'))}"


def fdinfo(*lines: str, driver: str = "amdgpu", address: str = ADDRESS, client: int = 7) -> str:
    """Text of a DRM file, with lines of its driver."""
    head = (
        "pos:\t0",
        "flags:\t02104002",
        f"drm-driver:\t{driver}",
        f"drm-pdev:\t{address}",
        f"drm-client-id:\t{client}",
    )
    return "\n".join((*head, *lines))
