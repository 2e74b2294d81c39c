"""The runtime: tokenizers, data, training, checkpoints and generation."""

import os

# Threads of one operation wait for each other by spinning. Where other programs use the same cores, one that is not
# scheduled is then waited for a whole time slice, again and again: training becomes several times slower. Sleeping
# costs next to nothing on an idle machine. Read once, when PyTorch loads its OpenMP library.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
