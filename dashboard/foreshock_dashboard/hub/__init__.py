"""The running process: wiring, threads, the evaluation loop, and its own metrics."""
