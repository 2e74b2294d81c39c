"""A starter whose name no model can have."""

from weft.commands.new import starter


def trigger() -> None:
    starter("my model")
