"""A target that is none."""

from weft.compiler.emit.onnx.targets import find_target


def trigger() -> None:
    find_target("gpu")
