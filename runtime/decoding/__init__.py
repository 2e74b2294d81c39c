"""Decoding: from logits to tokens and text, whatever runs the model."""
