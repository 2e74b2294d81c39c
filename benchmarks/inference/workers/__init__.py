"""One file per system: how it loads what was made for it, and how it writes tokens."""
