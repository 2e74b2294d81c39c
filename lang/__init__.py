"""The language: from `.llm` text to a checked program."""
