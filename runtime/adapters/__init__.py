"""Weights of adapters: where they start, how they are merged, and the files of PEFT."""
