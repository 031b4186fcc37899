"""The simulator compared with measurements; run as a module, it prints the tables of docs/internals/realism.md."""
