"""foreshock-exporter: the daemon of GPU hosts, which says what each service does to each GPU."""
