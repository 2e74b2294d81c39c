"""What is measured: each system in each format of the weights, and how its files are made from a checkpoint."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .environments import ENVIRONMENTS, environment
from .shapes import SHAPES, Shape

HERE = Path(__file__).parent
MATRICES = "{matrices}"  # in options: what is selected, which is another thing where the logits have the table of words
FAMILIES = ("llama", "gpt2")


@dataclass(frozen=True)
class Variant:
    """One row of the table.

    `bits` says which rows compete with each other: those whose weights take as much room. `options` go to what makes
    the files; `dtype` to transformers, which reads the checkpoint itself. `families` are those it can run. The others
    with its bits are compared with the row of Weft that is the `main` one of these. `files_of` names another row whose
    files are run: those of Weft in the hands of another system.
    """

    name: str
    system: str
    bits: str
    options: tuple[str, ...] = ()
    dtype: str = "float32"
    families: tuple[str, ...] = FAMILIES
    main: bool = False
    files_of: str = ""

    @property
    def exact(self) -> bool:
        """Whether it computes in float32 with the very weights of the checkpoint."""
        return self.bits == "fp32"

    def covers(self, shape: Shape) -> bool:
        return shape.config["model_type"] in self.families


def _genai(name: str, bits: str, *options: str, precision: str | None = None) -> Variant:
    extra = ("--extra_options", *options) if options else ()
    return Variant(f"genai-{name}", "genai", bits, ("-p", precision or bits, *extra), families=("llama",))


def _weft(name: str, bits: str, *options: str, main: bool = False) -> Variant:
    return Variant(f"weft-{name}", "weft", bits, options, main=main)


def _quantized(name: str, bits: str, *ways: str, main: bool = False) -> Variant:
    """All matrices that activations are multiplied with, that of the logits too; a table of words that is not tied to
    it stays as it is."""
    chosen = (word for way in ways for word in ("--quantize", f"{way} on {MATRICES}"))
    return _weft(name, bits, "--target", "cpu", *chosen, main=main)


def _llama(name: str, bits: str) -> Variant:
    return Variant(f"llama.cpp-{name}", "llama.cpp", bits, (name,))


VARIANTS = {
    v.name: v
    for v in (
        _weft("portable", "fp32"),
        _weft("fp32", "fp32", "--target", "cpu", main=True),
        Variant("weft-fp32-in-genai", "genai", "fp32", files_of="weft-fp32"),
        _genai("fp32", "fp32"),
        _genai("fp32-prune", "fp32", "prune_lm_head=true", precision="fp32"),
        Variant("transformers-fp32", "transformers", "fp32"),
        _llama("F32", "fp32"),
        Variant("transformers-bf16", "transformers", "bf16", dtype="bfloat16"),
        _quantized("int8-32", "int8", "int8(group = 32)", main=True),
        _quantized("int8-128", "int8", "int8(group = 128)"),
        _quantized("int8-dynamic", "int8", "int8_dynamic()"),
        _genai("int8", "int8", "prune_lm_head=true", precision="int8"),
        _llama("Q8_0", "int8"),
        _quantized("int4-32", "int4", "int4(group = 32)"),
        _quantized("int4-128", "int4", "int4(group = 128)"),
        _quantized("int4-128+int8", "int4", "int4(group = 128)", "int8_dynamic(when = prefill)", main=True),
        Variant("weft-int4-128-in-genai", "genai", "int4", files_of="weft-int4-128"),
        _genai("int4-32", "int4"),
        _genai("int4-32-prune", "int4", "prune_lm_head=true"),
        _genai("int4-128", "int4", "block_size=128"),
        _genai("int4-128-prune", "int4", "block_size=128", "prune_lm_head=true"),
        _llama("Q4_0", "int4"),
        _llama("Q4_0-all", "int4"),
    )
}


@dataclass(frozen=True)
class Place:
    """The folder that everything is kept in."""

    root: Path
    shapes: Mapping[str, Shape] = field(default_factory=lambda: SHAPES)

    def checkpoint(self, shape: Shape) -> Path:
        return self.root / "models" / shape.name

    def artifact(self, shape: Shape, variant: Variant) -> Path:
        if variant.system == "transformers":
            return self.checkpoint(shape)
        if variant.files_of:
            return self.artifact(shape, VARIANTS[variant.files_of])
        ending = ".gguf" if variant.system == "llama.cpp" else ""
        return self.root / "artifacts" / shape.name / f"{variant.name}{ending}"

    def python(self, variant: Variant) -> Path:
        if variant.system == "weft":
            return Path(sys.executable)
        return environment(self.root, next(n for n, e in ENVIRONMENTS.items() if variant.system in e.systems))

    def there(self, shape: Shape, variant: Variant) -> bool:
        """Whether the row can be measured: its files are made, and its environment is there."""
        return self.artifact(shape, variant).exists() and self.python(variant).exists()

    def size(self, shape: Shape, variant: Variant) -> int:
        """Bytes on disk."""
        artifact = self.artifact(shape, variant)
        if artifact == self.checkpoint(shape):
            return (artifact / "model.safetensors").stat().st_size
        if artifact.is_file():
            return artifact.stat().st_size
        return sum(p.stat().st_size for p in artifact.rglob("*") if p.is_file())


def make(place: Place, shape: Shape, variant: Variant) -> None:
    """Make the files of a row unless they are there. Raises CalledProcessError when its tool fails."""
    out = place.artifact(shape, variant)
    if variant.system == "transformers" or variant.files_of or out.exists():
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    python, checkpoint = str(place.python(variant)), str(place.checkpoint(shape))
    unfinished = out.with_name(f"unfinished-{out.name}")
    if unfinished.is_dir():
        shutil.rmtree(unfinished)
    if variant.system == "weft":
        run = place.root / "runs" / shape.name
        weft = [python, "-c", "import weft.cli; raise SystemExit(weft.cli.main())"]
        if not run.exists():
            _call([*weft, "import", checkpoint, "--out", str(run)], out)
        matrices = "all Linear, embed" if shape.config["tie_word_embeddings"] else "all Linear"
        options = [option.replace(MATRICES, matrices) for option in variant.options]
        _call([*weft, "export", str(run), "--to", "onnx", "--out", str(unfinished), *options], out)
    elif variant.system == "genai":
        _call([python, "-m", "onnxruntime_genai.models.builder", "-i", checkpoint, "-o", str(unfinished), "-e", "cpu",
               "-c", str(place.root / "cache"), *variant.options], out)
    else:
        _call([python, "-m", "inference.gguf_files", checkpoint, str(unfinished), *variant.options], out)
    unfinished.rename(out)


def _call(command: Sequence[str], out: Path) -> None:
    """Run a tool; what it says goes into a file beside what it makes. It must not ask the network for anything."""
    settings = {**os.environ, "HF_HUB_OFFLINE": "1"}
    with out.with_name(f"{out.name}.log").open("a") as log:
        subprocess.run(command, check=True, cwd=HERE.parent, stdout=log, stderr=log, env=settings)
