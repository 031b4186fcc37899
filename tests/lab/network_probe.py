"""Round trips to a server under a fault, for `test_network_faults.py`: `python -m tests.lab.network_probe KIND AMOUNT`.

Prints, as JSON, the median round trip in seconds before, during, and after the fault, and the number of TCP segments
that were sent again during it.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from statistics import median

from tests.lab.systems import System

from foreshock_lab.faults.catalog import KINDS

ROUND_TRIPS = 60
CHUNK = b"x" * 600


def main() -> None:
    """Measure in separate namespaces, which the caller makes."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    system, name = System(Path("/nowhere")), "cart"
    server = socket.create_server((system.address(name), 8080))
    threading.Thread(target=echo, args=(server,), daemon=True).start()
    client = socket.create_connection((system.address(name), 8080), timeout=60.0)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    result = {"before": median_round_trip(client)}
    injection = KINDS[sys.argv[1]].inject(system, name)
    injection.set(float(sys.argv[2]))
    sent_again = retransmitted()
    result["during"] = median_round_trip(client)
    result["sent again"] = retransmitted() - sent_again
    injection.clear()
    result["after"] = median_round_trip(client)
    print(json.dumps(result))


def echo(server: socket.socket) -> None:
    """Send everything back."""
    connection, _ = server.accept()
    while data := connection.recv(4096):
        connection.sendall(data)


def median_round_trip(client: socket.socket) -> float:
    """Seconds."""
    seconds = []
    for _ in range(ROUND_TRIPS):
        began = time.monotonic()
        client.sendall(CHUNK)
        left = len(CHUNK)
        while left:
            left -= len(client.recv(left))
        seconds.append(time.monotonic() - began)
    return median(seconds)


def retransmitted() -> int:
    """Segments that TCP has sent again so far."""
    names, values = (
        line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Tcp:")
    )
    return int(values[names.index("RetransSegs")])


if __name__ == "__main__":
    main()
