"""Delays the packets of a netfilter queue: `python -m foreshock_lab.faults.packet_queue NUMBER`.

Each line of its input is a delay in seconds. The kernel of some machines has no netem; this does the same for packets
that a rule sends into the queue. Messages and attributes are those of linux/netfilter/nfnetlink_queue.h.
"""

from __future__ import annotations

import heapq
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator

NETLINK_NETFILTER = 12
SUBSYSTEM_QUEUE = 3
PACKET, VERDICT, CONFIG = 0, 1, 2
CONFIG_COMMAND, CONFIG_PARAMETERS, CONFIG_LENGTH = 1, 2, 3
BIND, COPY_META = 1, 1
PACKET_HEADER, VERDICT_HEADER = 1, 2
ACCEPT = 1
REQUEST, ACKNOWLEDGE = 1, 4
MAX_WAITING = 8192
"""Packets that may wait; the kernel drops further ones."""
HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence number, port."""


def attribute(kind: int, content: bytes) -> bytes:
    """A netlink attribute, padded to four bytes."""
    return struct.pack("=HH", 4 + len(content), kind) + content + bytes(-len(content) % 4)


def message(kind: int, queue: int, attributes: bytes, flags: int = REQUEST) -> bytes:
    """A message of the queue subsystem."""
    body = struct.pack(">BBH", socket.AF_UNSPEC, 0, queue) + attributes
    return HEADER.pack(HEADER.size + len(body), SUBSYSTEM_QUEUE << 8 | kind, flags, 0, 0) + body


def packet_ids(data: bytes) -> Iterator[int]:
    """Ids of the packets in a datagram of netlink messages."""
    start = 0
    while start + HEADER.size <= len(data):
        length, kind, *_ = HEADER.unpack_from(data, start)
        end, place = start + length, start + HEADER.size + 4
        while kind == SUBSYSTEM_QUEUE << 8 | PACKET and place < end:
            size, name = struct.unpack_from("=HH", data, place)
            if name == PACKET_HEADER:
                yield struct.unpack_from(">I", data, place + 4)[0]
            place += max(4, size + -size % 4)
        start += max(HEADER.size, length + -length % 4)


def main() -> None:
    """Delay packets until killed."""
    queue, delay = int(sys.argv[1]), 0.0
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    kernel.bind((0, 0))
    for content in (
        attribute(CONFIG_COMMAND, struct.pack(">BBH", BIND, 0, socket.AF_INET)),
        attribute(CONFIG_PARAMETERS, struct.pack(">IB", 0, COPY_META)),
        attribute(CONFIG_LENGTH, struct.pack(">I", MAX_WAITING)),
    ):
        kernel.send(message(CONFIG, queue, content, REQUEST | ACKNOWLEDGE))
        if error := struct.unpack_from("=i", kernel.recv(65536), HEADER.size)[0]:
            raise OSError(-error, os.strerror(-error))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    waiting: list[tuple[float, int]] = []
    while True:
        timeout = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        ready, _, _ = select.select([kernel, sys.stdin], [], [], timeout)
        now = time.monotonic()
        if kernel in ready:
            for number in packet_ids(kernel.recv(65536)):
                heapq.heappush(waiting, (now + delay, number))
        if sys.stdin in ready:
            line = sys.stdin.readline()
            if not line:
                return
            delay = float(line)
        while waiting and waiting[0][0] <= now:
            _, number = heapq.heappop(waiting)
            verdict = attribute(VERDICT_HEADER, struct.pack(">II", ACCEPT, number))
            kernel.send(message(VERDICT, queue, verdict))


if __name__ == "__main__":
    main()
