"""Rewrite rules: two small programs that mean the same, found in a module and replaced, tested by running both."""
