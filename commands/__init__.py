"""The commands of `weft`, one file each: what it is called with, and what it does."""
