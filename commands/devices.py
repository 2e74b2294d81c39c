"""Which device computes."""

from __future__ import annotations

from argparse import ArgumentParser


def add_device(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto takes a GPU if there is one"
    )


def chosen_device(name: str) -> str:
    """The device that PyTorch computes on."""
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
