"""Frozen values shared by all rooms; imports numpy only."""
