"""What the simulated world says of itself, in the words of the real one. Nothing else reaches whoever watches it."""
