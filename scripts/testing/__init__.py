"""Tests of the tests: mutation; and the search for input that breaks a parser."""
