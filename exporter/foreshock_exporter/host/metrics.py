"""Metric families of the host under node_exporter's names, by the field they are read from.

docs/reference/metrics.md is compared with this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from foreshock_exporter.model.family import Families, Family, Kind, Sample

Table = Mapping[str, Family]
"""Families by field."""
Row = tuple[tuple[str, ...], Mapping[str, float]]
"""Label values, and values by field."""


def families(table: Table, rows: Iterable[Row]) -> Families:
    """Samples of the rows; a field that a row lacks is left out."""
    rows = tuple(rows)
    return [
        (family, [Sample(labels, values[field]) for labels, values in rows if field in values])
        for field, family in table.items()
    ]


def _table(kind: Kind, prefix: str, labels: tuple[str, ...], rows: Mapping[str, tuple[str, str]]) -> dict[str, Family]:
    """Families by field, from names without prefix and `_total`, and help texts without a period."""
    suffix = "_total" if kind == "counter" else ""
    return {
        field: Family(f"node_{prefix}_{name}{suffix}", kind, labels, f"{text}.") for field, (name, text) in rows.items()
    }


NETWORK_COUNTERS = _table("counter", "network", ("device",), {
    "receive_bytes": ("receive_bytes", "Bytes received"),
    "receive_packets": ("receive_packets", "Packets received"),
    "receive_errors": ("receive_errs", "Receive errors"),
    "receive_drops": ("receive_drop", "Received packets dropped"),
    "transmit_bytes": ("transmit_bytes", "Bytes sent"),
    "transmit_packets": ("transmit_packets", "Packets sent"),
    "transmit_errors": ("transmit_errs", "Transmit errors"),
    "transmit_drops": ("transmit_drop", "Outgoing packets dropped"),
})  # fmt: skip
NETWORK = NETWORK_COUNTERS | _table("gauge", "network", ("device",), {
    "up": ("up", "1 if the operational state of the interface is up, else 0"),
    "speed_bytes": ("speed_bytes", "Link speed in bytes per second"),
})  # fmt: skip

PRESSURE = _table("counter", "pressure", (), {
    "cpu some": ("cpu_waiting_seconds", "Seconds during which at least one task waited for CPU time"),
    "io some": ("io_waiting_seconds", "Seconds during which at least one task waited for I/O"),
    "io full": ("io_stalled_seconds", "Seconds during which all tasks waited for I/O"),
    "memory some": ("memory_waiting_seconds", "Seconds during which at least one task waited for memory"),
    "memory full": ("memory_stalled_seconds", "Seconds during which all tasks waited for memory"),
    "irq full": ("irq_stalled_seconds", "Seconds during which all tasks waited for interrupts"),
})  # fmt: skip
"""Families by resource and kind, as in /proc/pressure."""

INFINIBAND_INFO = Family(
    "node_infiniband_info",
    "gauge",
    ("device", "board_id", "firmware_version", "hca_type"),
    "Identity of the InfiniBand or RoCE adapter; always 1.",
)
INFINIBAND_GAUGES = _table("gauge", "infiniband", ("device", "port"), {
    "state": ("state_id", "InfiniBand port state: 1 down, 2 init, 3 armed, 4 active, 5 active (deferred)"),
    "phys_state": (
        "physical_state_id",
        "Physical state of the port: 1 sleep, 2 polling, 3 disabled, 4 training, 5 link up, 6 recovering, 7 test",
    ),
    "rate": ("rate_bytes_per_second", "Signaling rate of the port"),
    "hw_counters/lifespan": ("lifespan_seconds", "Seconds for which the driver caches hw_counters values"),
})  # fmt: skip
INFINIBAND_COUNTERS = _table("counter", "infiniband", ("device", "port"), {
    "counters/port_rcv_data": ("port_data_received_bytes", "Bytes received by the port on all lanes"),
    "counters/port_xmit_data": ("port_data_transmitted_bytes", "Bytes sent on all lanes"),
    "counters/port_rcv_packets": ("port_packets_received", "Packets received"),
    "counters/port_xmit_packets": ("port_packets_transmitted", "Packets sent"),
    "counters/unicast_rcv_packets": ("unicast_packets_received", "Unicast packets received"),
    "counters/unicast_xmit_packets": ("unicast_packets_transmitted", "Unicast packets sent"),
    "counters/multicast_rcv_packets": ("multicast_packets_received", "Multicast packets received"),
    "counters/multicast_xmit_packets": ("multicast_packets_transmitted", "Multicast packets sent"),
    "counters/port_xmit_wait": ("port_transmit_wait", "Ticks in which queued data could not be sent (congestion)"),
    "counters/port_rcv_errors": ("port_errors_received", "Packets received with errors"),
    "counters/port_rcv_discards": ("port_discards_received", "Received packets dropped"),
    "counters/port_xmit_discards": ("port_discards_transmitted", "Outgoing packets dropped"),
    "counters/port_rcv_constraint_errors": ("port_constraint_errors_received", "Received packets rejected"),
    "counters/port_xmit_constraint_errors": ("port_constraint_errors_transmitted", "Outgoing packets rejected"),
    "counters/port_rcv_remote_physical_errors": ("port_receive_remote_physical_errors", "Packets marked bad upstream"),
    "counters/port_rcv_switch_relay_errors": ("port_receive_switch_relay_errors", "Packets a switch could not forward"),
    "counters/symbol_error": ("symbol_error", "Symbol errors on any lane"),
    "counters/link_error_recovery": ("link_error_recovery", "Times the link recovered from an error state"),
    "counters/link_downed": ("link_downed", "Times the link failed to recover and went down"),
    "counters/local_link_integrity_errors": ("local_link_integrity_errors", "Local physical errors above a threshold"),
    "counters/excessive_buffer_overrun_errors": ("excessive_buffer_overrun_errors", "Consecutive buffer overruns"),
    "counters/VL15_dropped": ("vl15_dropped", "Management packets dropped for lack of resources"),
    "counters_ext/port_rcv_data_64": ("legacy_data_received_bytes", "Bytes received (kernel < 4.5)"),
    "counters_ext/port_xmit_data_64": ("legacy_data_transmitted_bytes", "Bytes sent (kernel < 4.5)"),
    "counters_ext/port_rcv_packets_64": ("legacy_packets_received", "Packets received (kernel < 4.5)"),
    "counters_ext/port_xmit_packets_64": ("legacy_packets_transmitted", "Packets sent (kernel < 4.5)"),
    "counters_ext/port_unicast_rcv_packets": (
        "legacy_unicast_packets_received", "Unicast packets received (kernel < 4.5)"
    ),
    "counters_ext/port_unicast_xmit_packets": (
        "legacy_unicast_packets_transmitted", "Unicast packets sent (kernel < 4.5)"
    ),
    "counters_ext/port_multicast_rcv_packets": (
        "legacy_multicast_packets_received", "Multicast packets received (kernel < 4.5)"
    ),
    "counters_ext/port_multicast_xmit_packets": (
        "legacy_multicast_packets_transmitted", "Multicast packets sent (kernel < 4.5)"
    ),
    "hw_counters/duplicate_request": ("duplicate_requests_packets", "Duplicate requests received"),
    "hw_counters/implied_nak_seq_err": ("implied_nak_seq_errors", "ACKs with an unexpected sequence number"),
    "hw_counters/local_ack_timeout_err": ("local_ack_timeout_errors", "Acknowledgment timeouts"),
    "hw_counters/np_cnp_sent": ("np_cnp_packets_sent", "Congestion notifications sent"),
    "hw_counters/np_ecn_marked_roce_packets": ("np_ecn_marked_roce_packets_received", "Packets marked for congestion"),
    "hw_counters/out_of_buffer": ("out_of_buffer_drops", "Packets dropped for lack of a receive buffer"),
    "hw_counters/out_of_sequence": ("out_of_sequence_packets_received", "Packets received out of sequence"),
    "hw_counters/packet_seq_err": ("packet_sequence_errors", "Sequence errors reported by the remote side"),
    "hw_counters/req_cqe_error": ("req_cqes_errors", "Requests completed with an error"),
    "hw_counters/req_cqe_flush_error": ("req_cqes_flush_errors", "Requests flushed with an error"),
    "hw_counters/req_remote_access_errors": ("req_remote_access_errors", "Remote access errors on requests"),
    "hw_counters/req_remote_invalid_request": ("req_remote_invalid_request_errors", "Requests rejected remotely"),
    "hw_counters/resp_cqe_error": ("resp_cqes_errors", "Responses completed with an error"),
    "hw_counters/resp_cqe_flush_error": ("resp_cqes_flush_errors", "Responses flushed with an error"),
    "hw_counters/resp_local_length_error": ("resp_local_length_errors", "Messages longer than the receive buffer"),
    "hw_counters/resp_remote_access_errors": ("resp_remote_access_errors", "Remote access errors on responses"),
    "hw_counters/rnr_nak_retry_err": ("rnr_nak_retry_packets_received", "Receiver-not-ready NAKs received"),
    "hw_counters/roce_adp_retrans": ("roce_adp_retransmits", "Adaptive retransmissions"),
    "hw_counters/roce_adp_retrans_to": ("roce_adp_retransmits_timeout", "Adaptive retransmissions that timed out"),
    "hw_counters/roce_slow_restart": ("roce_slow_restart_used", "Times slow restart was used"),
    "hw_counters/roce_slow_restart_cnps": (
        "roce_slow_restart_cnps", "Congestion notifications received during slow restart"
    ),
    "hw_counters/roce_slow_restart_trans": ("roce_slow_restart", "Times slow restart began"),
    "hw_counters/rp_cnp_handled": ("rp_cnp_packets_handled", "Congestion notifications that throttled sending"),
    "hw_counters/rp_cnp_ignored": ("rp_cnp_ignored_packets_received", "Congestion notifications ignored"),
    "hw_counters/rx_atomic_requests": ("rx_atomic_requests", "Atomic requests received"),
    "hw_counters/rx_dct_connect": ("rx_dct_connect_requests", "Connection requests received"),
    "hw_counters/rx_read_requests": ("rx_read_requests", "Read requests received"),
    "hw_counters/rx_write_requests": ("rx_write_requests", "Write requests received"),
    "hw_counters/rx_icrc_encapsulated": ("rx_icrc_encapsulated_errors", "RoCE packets with a checksum error"),
})  # fmt: skip
"""Families by the file, below the folder of a port in sysfs, that they are read from."""
INFINIBAND = INFINIBAND_GAUGES | INFINIBAND_COUNTERS

_NETSTAT = {
    "Tcp_ActiveOpens": "Connections opened",
    "Tcp_PassiveOpens": "Connections accepted",
    "Tcp_CurrEstab": "Connections currently established",
    "Tcp_InSegs": "Segments received",
    "Tcp_OutSegs": "Segments sent, excluding retransmissions",
    "Tcp_RetransSegs": "Segments retransmitted",
    "Tcp_InErrs": "Segments received with errors",
    "Tcp_OutRsts": "Segments sent with the reset flag",
    "TcpExt_ListenOverflows": "Connections dropped because the queue of a listening socket was full",
    "TcpExt_ListenDrops": "Connections dropped at a listening socket for any reason",
    "TcpExt_SyncookiesSent": "SYN cookies sent",
    "TcpExt_SyncookiesRecv": "SYN cookies received",
    "TcpExt_SyncookiesFailed": "Invalid SYN cookies received",
    "TcpExt_TCPSynRetrans": "SYN and SYN-ACK segments retransmitted",
    "TcpExt_TCPTimeouts": "Retransmission timer expirations",
    "TcpExt_TCPOFOQueue": "Segments received out of order and queued",
    "TcpExt_TCPRcvQDrop": "Segments dropped because the receive queue was full",
}
NETSTAT = _table("untyped", "netstat", (), {field: (field, text) for field, text in _NETSTAT.items()})
"""Families by protocol and field, as /proc/net/snmp and /proc/net/netstat name them; untyped, as in node_exporter."""

FAMILIES: tuple[Family, ...] = (
    *NETWORK.values(),
    *PRESSURE.values(),
    INFINIBAND_INFO,
    *INFINIBAND.values(),
    *NETSTAT.values(),
)
"""All families of this module."""
SOURCES: dict[Family, str] = {
    **dict.fromkeys(NETWORK.values(), "/proc/net/dev, /sys/class/net"),
    **dict.fromkeys(PRESSURE.values(), "/proc/pressure"),
    **dict.fromkeys((INFINIBAND_INFO, *INFINIBAND.values()), "/sys/class/infiniband"),
    **dict.fromkeys(NETSTAT.values(), "/proc/net/snmp, /proc/net/netstat"),
}
"""Origin of each metric."""
