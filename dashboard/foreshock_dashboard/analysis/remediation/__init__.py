"""Which action would help, and by how much."""
