"""A running platform, built of its specification; and what is done to it."""
