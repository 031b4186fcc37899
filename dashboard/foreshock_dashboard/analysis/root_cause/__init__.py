"""Ranking of suspected causes."""
