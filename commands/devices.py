"""Which device computes, and whether a training fits into it."""

from __future__ import annotations

import os
from argparse import ArgumentParser

from ..compiler.ir.module import Module
from ..compiler.quantities import size
from ..lang import errors
from ..lang.diagnostics import WeftError

_BYTES = 16  # per learned value: weight, gradient and two moments in float32


def add_device(parser: ArgumentParser) -> None:
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: a GPU if there is one")


def chosen_device(name: str) -> str:
    """The device that PyTorch computes on. Raises WeftError when it is not there."""
    import torch

    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise WeftError(errors.no_device(name))
    return ("cuda" if there else "cpu") if name == "auto" else name


def memory(device: str) -> int:
    """The bytes of memory that a device has in all."""
    if device == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[1])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def check_memory(module: Module, device: str) -> None:
    """Raises WeftError when not even weights, gradients and moments fit into the memory of the device."""
    needed, there = _BYTES * module.parameter_count(), memory(device)
    if needed > there:
        raise WeftError(errors.too_little_memory(module.name, size(needed), size(there)))
