"""Faults of the network: lost and delayed packets, and a name that does not resolve."""

from __future__ import annotations

import subprocess
import sys

from foreshock_lab.faults.target import System

SERVICE_PORT = 8080
TABLE = "foreshock_faults"
QUEUE = 7
"""Number of the netfilter queue of delayed packets."""


class PacketLoss:
    """The kernel drops packets to and from a service at random (nftables), so that TCP retransmits."""

    def __init__(self, system: System, name: str) -> None:
        self._address = system.address(name)

    def set(self, amount: float) -> None:
        """Drop a share of `amount`."""
        limit = round(amount * 1000)
        rules = [
            f"ip {side} {self._address} tcp {port} {SERVICE_PORT} numgen random mod 1000 < {limit} drop"
            for side, port in (("daddr", "dport"), ("saddr", "sport"))
        ]
        lines = ["chain input {", "type filter hook input priority 0", *(rules if limit else ()), "}"]
        nft(f"table inet {TABLE} {{}}", f"delete table inet {TABLE}", f"table inet {TABLE} {{", *lines, "}")

    def clear(self) -> None:
        """Drop nothing."""
        nft(f"table inet {TABLE} {{}}", f"delete table inet {TABLE}")


class PacketDelay:
    """Packets to a service wait (netfilter queue and `packet_queue.py`)."""

    def __init__(self, system: System, name: str) -> None:
        self._rule = ["INPUT", "-p", "tcp", "-d", system.address(name), "--dport", str(SERVICE_PORT),
                      "-j", "NFQUEUE", "--queue-num", str(QUEUE), "--queue-bypass"]  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-m", "foreshock_lab.faults.packet_queue", str(QUEUE)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        self._process.stdout.readline()
        subprocess.run(["iptables", "-A", *self._rule], check=True)

    def set(self, amount: float) -> None:
        """Delay by `amount` seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{amount}\n")
        self._process.stdin.flush()

    def clear(self) -> None:
        """Delay nothing."""
        subprocess.run(["iptables", "-D", *self._rule], check=True)
        self._process.kill()
        self._process.communicate()


class NameFailure:
    """The name of a service does not resolve, and its connections are closed, as when its pods move."""

    def __init__(self, system: System, name: str) -> None:
        self._system, self._name = system, name

    def set(self, _amount: float) -> None:
        """Take the name away."""
        self._system.resolve(self._name, works=False)
        closed = ["ss", "--ipv4", "--kill", "dst", self._system.address(self._name), "dport", "=", f":{SERVICE_PORT}"]
        subprocess.run(closed, check=True, capture_output=True)

    def clear(self) -> None:
        """Give the name back."""
        self._system.resolve(self._name, works=True)


def nft(*lines: str) -> None:
    """Apply lines of nftables' language in one transaction."""
    subprocess.run(["nft", "-f", "-"], input="\n".join([*lines, ""]), text=True, check=True)
