"""The runtime: tokenizers, data, training, checkpoints and generation."""
