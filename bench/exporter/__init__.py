"""Cost of foreshock-exporter beside its peer, on GPUs of a C library."""
