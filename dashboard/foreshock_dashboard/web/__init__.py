"""Dash pages, JSON API, figures."""
