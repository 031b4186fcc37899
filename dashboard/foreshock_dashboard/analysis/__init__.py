"""Pure numpy: what the World means. No I/O, no clock."""
