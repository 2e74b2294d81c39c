"""Lowering: the model of a checked program becomes an IR module; axes are checked on the way."""
