"""The runtime: tokenizers, data, training, checkpoints and generation."""

import os

# Threads of one operation wait for each other by spinning. Where other programs use the same cores, one that is
# not scheduled is waited for a whole time slice, again and again: training becomes ten times slower. A short spin
# bridges the gap to the next operation as well. Read once, when PyTorch loads its OpenMP library (GNU).
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
