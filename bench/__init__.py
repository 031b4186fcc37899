"""Benchmarks: `make bench` prints the performance table; each module measures one subject by itself, too."""
