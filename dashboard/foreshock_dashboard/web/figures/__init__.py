"""Figures for Plotly as plain dictionaries: pure functions of data and theme."""
