"""What benchmarks share: measured processes, a hub of their own, senders, targets, and a synthetic platform."""
