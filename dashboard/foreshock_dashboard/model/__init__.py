"""Frozen values between layers. Nothing here reads a clock, a file or a socket."""
