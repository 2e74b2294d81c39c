"""ONNX: a module as an export folder that ONNX Runtime, and whatever else reads standard operators, can run."""

from .build import build
from .describe import describe_onnx
from .export import to_onnx

__all__ = ["build", "describe_onnx", "to_onnx"]
