"""A GPU that is not there."""

from unittest.mock import patch

from weft.commands.devices import chosen_device


def trigger() -> None:
    with patch("torch.cuda.is_available", return_value=False):
        chosen_device("cuda")
