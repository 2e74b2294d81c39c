"""Composites as operators: one file for each family, and a table of them for each target."""
