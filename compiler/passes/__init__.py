"""Passes: pure functions from module to module."""
