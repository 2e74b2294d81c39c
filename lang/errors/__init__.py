"""Every error Weft can report: one named constructor per code, in files by topic."""

# ruff: noqa: F403
from .adapters import *
from .base import *
from .checkpoints import *
from .commands import *
from .components import *
from .data import *
from .exports import *
from .generation import *
from .names import *
from .passes import *
from .quantization import *
from .recipes import *
from .runs import *
from .sizes import *
from .streams import *
from .syntax import *
from .types import *
