"""Checkpoints of Hugging Face's `transformers`, read and written through the maps of the language."""
