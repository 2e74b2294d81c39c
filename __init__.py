"""Weft: a language and a compiler for large language models."""

__version__ = "0.1.0"
