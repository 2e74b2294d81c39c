"""Weights in few bits: how they are stored, how the numbers are chosen, and what that costs."""
