"""What compiling costs as a model gets deeper and wider: nothing, because equal layers are elaborated once.

    python benchmarks/lowering.py

Prints, for Llama shapes of 4 to 126 layers and up to 405 B parameters: seconds to elaborate and derive the cached step,
the number of IR functions and nodes, and the peak memory of the process. Each shape runs in a process of its own.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

SPEC = "use models.llama: Llama3, Llama3_8B, Llama3_70B, Llama3_405B\n"
SHAPES = {
    "4 layers": "model M = Llama3 with { layers = 4 }",
    "8B, 32 layers": "model M = Llama3_8B",
    "70B, 80 layers": "model M = Llama3_70B",
    "405B, 126 layers": "model M = Llama3_405B",
}


def measure(shape: str) -> dict[str, float]:
    """Compile one shape in this process."""
    import weft
    from weft.compiler.plan import plan
    from weft.compiler.stream import step
    from weft.lang.program import load_source
    from weft.lang.source import Source

    program = load_source(Source("bench.llm", SPEC + SHAPES[shape] + "\n"))
    started = time.perf_counter()
    module = weft.compile(program, "M")
    elaborated = time.perf_counter()
    derived = step(module)
    stepped = time.perf_counter()
    plan(module)
    planned = time.perf_counter()
    return {
        "parameters": module.parameter_count(),
        "elaborate": elaborated - started,
        "step": stepped - elaborated,
        "plan": planned - stepped,
        "functions": len(module.functions),
        "nodes": sum(len(f.graph) for f in module.functions.values()),
        "step nodes": sum(len(f.graph) for f in derived.functions.values()),
        "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
        return
    print(f"{'shape':30}{'parameters':>18}{'elaborate s':>13}{'step s':>9}{'plan s':>9}", end="")
    print(f"{'functions':>11}{'nodes':>7}{'peak MiB':>10}")
    for shape in SHAPES:
        found = json.loads(
            subprocess.run([sys.executable, __file__, shape], check=True, capture_output=True, text=True).stdout
        )
        print(
            f"{shape:30}{found['parameters']:>18,}{found['elaborate']:>13.3f}{found['step']:>9.3f}{found['plan']:>9.3f}"
            f"{found['functions']:>11}{found['nodes']:>7}{found['peak MiB']:>10.0f}"
        )


if __name__ == "__main__":
    main()
