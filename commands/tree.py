"""The tree of instances of a model, as `weft show` prints it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.text import Text
from rich.tree import Tree

from ..compiler.ir.instances import uses
from ..compiler.ir.module import Function, Instance, Layers, Module, Path, State, count_parameters
from ..compiler.quantities import count
from ..compiler.schedule import Run, fold
