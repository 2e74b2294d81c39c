"""The compiler: from a checked program to IR, through passes, to code."""
