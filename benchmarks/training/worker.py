"""Trains one system in a process of its own, a step each time it is asked to, and says what each took.

Lines go out as JSON: what was built, then one per step. A line that comes in asks for a step; the end of input ends it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from argparse import ArgumentParser
from importlib import import_module

import torch

from .shapes import SHAPES


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("system")
    parser.add_argument("--shape", required=True)
    parser.add_argument("--dtype", choices=("f32", "bf16"), required=True)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    shape = SHAPES[asked.shape]
    system = import_module(f".systems.{asked.system}", __package__)
    with torch.device(asked.device):
        network, loss_of = system.build(shape, asked.tokens)
        words = torch.randint(0, shape.vocabulary, (asked.rows, asked.tokens + 1))
    network.to(asked.device).train()
    tokens, labels = words[:, :-1].contiguous(), words[:, 1:].contiguous()
    call = network.loss if asked.system == "weft" else network
    if asked.compile:
        call = torch.compile(call)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    _say(version=system.VERSION, torch=torch.__version__, parameters=sum(p.numel() for p in network.parameters()))
    for _ in sys.stdin:
        clock, own, others = time.perf_counter(), time.process_time(), _machine()
        with torch.autocast(asked.device, torch.bfloat16, enabled=asked.dtype == "bf16"):
            loss = loss_of(call, tokens, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        value = loss.item()
        seconds, used = time.perf_counter() - clock, time.process_time() - own
        busy = max(0.0, (_machine() - others - used) / seconds)
        _say(loss=value, seconds=seconds, processor=used, others=busy, peak=_peak(asked.device))


def _say(**values: object) -> None:
    print(json.dumps(values), flush=True)


def _machine() -> float:
    """Seconds that all processors of the machine have worked."""
    with open("/proc/stat") as file:
        user, nice, system, _idle, _wait, hard, soft, *_rest = (int(n) for n in file.readline().split()[1:])
    return (user + nice + system + hard + soft) / os.sysconf("SC_CLK_TCK")


def _peak(device: str) -> float:
    """MiB that were held at most: of the device, or resident on the CPU."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
