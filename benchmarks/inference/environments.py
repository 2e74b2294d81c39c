"""The environments of the systems that are measured against: one per set of packages that cannot live together."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Environment:
    """A virtual environment: the file of its packages, the systems that run in it, packages to build from source."""

    packages: str
    systems: tuple[str, ...]
    built: tuple[str, ...] = ()


ENVIRONMENTS = {
    "onnxruntime": Environment("onnxruntime.txt", ("genai", "transformers")),
    "llama": Environment("llama.txt", ("llama.cpp",), ("llama-cpp-python",)),
}

# Instruction sets by their name in /proc/cpuinfo, and the option of ggml for each.
INSTRUCTIONS = {
    "sse4_2": "SSE42",
    "avx": "AVX",
    "avx2": "AVX2",
    "bmi2": "BMI2",
    "fma": "FMA",
    "f16c": "F16C",
    "avx512f": "AVX512",
    "avx512vbmi": "AVX512_VBMI",
    "avx512_vnni": "AVX512_VNNI",
    "avx512_bf16": "AVX512_BF16",
    "avx_vnni": "AVX_VNNI",
}


def environment(root: Path, name: str) -> Path:
    """The interpreter of an environment."""
    return root / "environments" / name / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def make_environment(root: Path, name: str) -> None:
    """Make an environment and install its packages; those that are there already are left alone."""
    made, python = ENVIRONMENTS[name], environment(root, name)
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(root / "environments" / name)], check=True)
    sources = [f"--no-binary={package}" for package in made.built]
    settings = {**os.environ, "CMAKE_ARGS": " ".join(_ggml()), "CMAKE_BUILD_PARALLEL_LEVEL": "1"}
    subprocess.run(
        [str(python), "-m", "pip", "install", "-r", str(HERE / made.packages), *sources], check=True, env=settings
    )


def _ggml() -> list[str]:
    """How llama.cpp is built: for the instructions of this processor, one by one.

    Left to itself (GGML_NATIVE) this version also takes the matrix tiles (AMX) where there are any, and crashes there.
    """
    with open("/proc/cpuinfo") as file:
        flags = next(line for line in file if line.startswith("flags")).split()
    sets = [f"-DGGML_{option}={'ON' if flag in flags else 'OFF'}" for flag, option in INSTRUCTIONS.items()]
    return ["-DGGML_NATIVE=OFF", "-DGGML_AMX_TILE=OFF", "-DMTMD_BUILD=OFF", "-DLLAVA_BUILD=OFF", *sets]
