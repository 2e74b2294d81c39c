"""Moments of no inputs."""

from weft.compiler.quantization.calibration import moments


def trigger() -> None:
    moments(16, name="blocks.0.experts.3.up.weight").hessian  # noqa: B018
