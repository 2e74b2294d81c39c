"""A bench says what an export is, what it does, and where its time goes."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import weft
from onnx import TensorProto, helper, numpy_helper
from weft import cli
from weft.compiler.emit.onnx import to_onnx
from weft.compiler.emit.weights import random_weights
from weft.compiler.stream import rows, step
from weft.lang.diagnostics import WeftError
from weft.lang.program import load_source
from weft.lang.source import Source
from weft.runtime.bench import Bench, bench
from weft.runtime.bench.bandwidth import Reader
from weft.runtime.bench.measure import Job, Runner
from weft.runtime.bench.memory import Memory
from weft.runtime.bench.picture import pieces
from weft.runtime.bench.profile import Part, Profile, Recorded, read_profile
from weft.runtime.bench.traffic import Traffic, Use, traffic

SPEC = """
use models.llama: Llama3
use models.rwkv: RWKV
use models.bert: Bert
use models.t5: T5
model Llama = Llama3 with { V = 300  D = 32  F = 48  H = 4  G = 2  layers = 2 }
model Recurrent = RWKV with { V = 300  D = 32  H = 4  F = 48  layers = 2 }
model Encoder = Bert with { V = 300  D = 32  H = 4  layers = 2 }
model Both = T5 with { V = 300  D = 32  F = 48  H = 4  layers = 2 }
"""
MATRICES = 2 * (32 * 32 * 2 + 32 * 16 * 2 + 3 * 32 * 48) + 32 * 300  # of Llama, the logits' among them
SCALES = 5 * 32


def export(name: str, folder: Path) -> Path:
    module = weft.compile(load_source(Source("bench.llm", SPEC.replace("  ", "\n  "))), name)
    derived = step(module, rows=True) if module.stream else rows(module)
    return to_onnx(derived, random_weights(module), folder)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export("Llama", tmp_path_factory.mktemp("llama") / "onnx")


@pytest.fixture(scope="module")
def found(llama: Path) -> Bench:
    return bench(llama, prompt=12, tokens=6, threads=1, rounds=3)


class TestWhatIsMeasured:
    def test_every_round_counts(self, found: Bench) -> None:
        assert found.decode is not None
        assert len(found.prefill.values) == len(found.decode.values) == 3
        assert 0 < found.decode.least <= found.decode.median <= found.decode.most

    def test_one_token_reads_all_weights_and_of_the_embedding_one_row(self, found: Bench) -> None:
        assert found.weights.keys() == {"float32"}
        assert 0 <= found.weights["float32"] - 4 * (MATRICES + SCALES + 32) < 300  # and the numbers of the rotation

    def test_one_token_reads_the_caches_of_those_before_it(self, found: Bench) -> None:
        assert found.cache == 4 * 2 * 2 * 16 * (12 + 6 // 2)

    def test_the_share_is_that_of_the_best_reading_of_memory(self, found: Bench) -> None:
        assert found.share is not None and found.decode is not None
        assert found.ceiling == max(found.bandwidth.passes) / found.bytes_per_token
        assert found.share == pytest.approx(found.decode.median / found.ceiling)

    def test_memory_is_that_of_a_process_with_the_model_in_it(self, found: Bench) -> None:
        assert found.memory.peak > found.base.peak > 0
        assert found.disk >= found.stored > 4 * MATRICES

    def test_a_profile_names_the_products_the_format_of_their_weights_and_what_they_read(self, found: Bench) -> None:
        for profile in (found.profile_prefill, found.profile_decode):
            assert profile is not None
            products = next(p for p in profile.parts if p.operator == "MatMul")
            assert products.format == "float32" and products.calls >= 2 * 4 + 1
            assert products.bytes == 4 * MATRICES
            assert 0 < sum(p.seconds for p in profile.parts) <= profile.seconds

    def test_all_of_it_is_plain_data(self, found: Bench) -> None:
        data = json.loads(json.dumps(found.to_json()))
        assert data["share"] == found.share
        assert data["profile_decode"]["parts"][0].keys() == {"operator", "format", "calls", "seconds", "bytes"}


class TestEveryKindOfModel:
    @pytest.mark.parametrize("name", ["Recurrent", "Both", "Encoder"])
    def test_it_reads_and_writes(self, name: str, tmp_path: Path) -> None:
        runner = Runner(Job(str(export(name, tmp_path / "onnx")), 7, 3, 1))
        assert runner.prefill() > 0
        assert runner.writes == (name != "Encoder")
        if runner.writes:
            assert runner.decode() > 0

    def test_an_encoder_has_no_speed_of_writing_and_no_bound(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        export("Encoder", tmp_path / "onnx")
        words = ["bench", str(tmp_path / "onnx"), "--prompt-tokens", "4", "--rounds", "1"]
        assert cli.main([*words, "--plot", str(tmp_path / "bench.png")]) == 0
        printed = capsys.readouterr().out
        assert "prefill, tokens/s" in printed and "time of one prompt" in printed
        assert "decode" not in printed and "ceiling" not in printed and "time of one token" not in printed
        assert (tmp_path / "bench.png").exists()


class TestReading:
    def test_all_of_the_buffer_is_read_whatever_the_number_of_threads(self) -> None:
        for threads in (1, 3):
            reader = Reader(threads, 1 << 16)
            assert sum(part.nbytes for part in reader._parts) == 1 << 16
            assert len(reader._parts) == threads
            assert len(reader.read(2)) == 2 and min(reader.read(2)) > 0

    def test_memory_grows_with_what_is_allocated(self) -> None:
        before = Memory.now()
        held = np.ones(1 << 23)
        after = Memory.now()
        assert after.peak >= before.peak
        if before.anonymous is not None and after.anonymous is not None:
            assert after.anonymous - before.anonymous > 0.9 * held.nbytes


def model(nodes: list[Any], weights: dict[str, np.ndarray], folder: Path, functions: list[Any] | None = None) -> Path:
    """An ONNX file of nodes and weights that nobody runs."""
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.INT64, [1, "n"])], [],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    domains = [helper.make_opsetid(d, v) for d, v in (("", 23), ("com.microsoft", 1), ("own", 1))]
    onnx.save(helper.make_model(graph, opset_imports=domains, functions=functions or []), folder / "model.onnx")
    return folder / "model.onnx"


class TestTraffic:
    def test_codes_are_named_by_bits_and_block_and_counted_as_they_are_stored(self, tmp_path: Path) -> None:
        quantized = helper.make_node(
            "MatMulNBits", ["x", "codes", "scales"], ["y"], "product", domain="com.microsoft", K=64, N=8, bits=4,
            block_size=32,
        )  # fmt: skip
        weights = {"codes": np.zeros((8, 2, 16), np.uint8), "scales": np.zeros((8, 2), np.float32)}
        read = traffic(model([quantized], weights, tmp_path))
        assert read.formats == {"int4, block 32": 8 * 2 * 16 + 8 * 2 * 4}

    def test_a_tied_table_is_read_whole_and_a_row_more(self, tmp_path: Path) -> None:
        nodes = [helper.make_node("Gather", ["table", "x"], ["e"], "embed"),
                 helper.make_node("MatMul", ["e", "table"], ["y"], "head")]  # fmt: skip
        assert traffic(model(nodes, {"table": np.zeros((10, 4), np.float32)}, tmp_path)).bytes == 4 * (10 * 4 + 4)

    def test_a_weight_in_another_shape_is_read_by_what_takes_it(self, tmp_path: Path) -> None:
        nodes = [helper.make_node("Reshape", ["table", "shape"], ["flat"], "shaped"),
                 helper.make_node("Gather", ["flat", "x"], ["e"], "embed")]  # fmt: skip
        weights = {"table": np.zeros((10, 2, 2), np.uint8), "shape": np.array([10, 4])}
        assert traffic(model(nodes, weights, tmp_path)).uses == {"embed": (Use(4, "int8"),)}

    def test_of_experts_only_the_chosen_ones_are_read(self, tmp_path: Path) -> None:
        node = helper.make_node("MoE", ["x", "r", "w"], ["y"], "experts", domain="com.microsoft", k=2)
        assert traffic(model([node], {"w": np.zeros((8, 5, 3), np.float32)}, tmp_path)).bytes == 2 * 5 * 3 * 4

    def test_functions_read_the_weights_of_each_call(self, tmp_path: Path) -> None:
        inner = helper.make_node("MatMul", ["a", "w"], ["b"], "product")
        function = helper.make_function("own", "Layer", ["a", "w"], ["b"], [inner], [helper.make_opsetid("", 23)])
        nodes = [helper.make_node("Layer", ["x", f"w{i}"], ["y"], f"call{i}", domain="own") for i in range(2)]
        weights = {f"w{i}": np.zeros((4, 4), np.float32) for i in range(2)}
        read = traffic(model(nodes, weights, tmp_path, [function]))
        assert read.bytes == 2 * 64
        assert read.of("_inlfunc_Layer_product") == Use(64, "float32")

    def test_a_rewritten_node_is_found_by_the_beginning_of_its_name(self) -> None:
        read = Traffic({"mlp/up/MatMul": (Use(8, "int8"),)})
        assert read.of("mlp/up/MatMul/FusedWithAdd") == Use(8, "int8")
        assert read.of("mlp/down/MatMul") is None


class TestProfile:
    def test_only_what_ran_between_the_moments_counts_and_is_divided_by_the_steps(self, tmp_path: Path) -> None:
        def node(name: str, start: int) -> dict[str, Any]:
            return {"cat": "Node", "name": f"{name}_kernel_time", "ts": start, "dur": 50, "args": {"op_name": "MatMul"}}

        run = {"cat": "Session", "name": "model_run", "ts": 1000, "dur": 300}
        loading = {"cat": "Session", "name": "session_initialization", "ts": 1000, "dur": 9}
        events = [node("head", 10), node("head", 1000), node("_inlfunc_Layer_token_4_up", 1200), run, loading]
        (tmp_path / "p.json").write_text(json.dumps(events))
        began = time.time_ns()
        read = {"model.onnx": Traffic({"head": (Use(7, "int8"),), "_inlfunc_Layer_up": (Use(5, "float32"),)})}
        recorded = [Recorded("model.onnx", tmp_path / "p.json", began)]
        profile = read_profile(recorded, read, began + 500_000, began + 5_000_000, 2)
        assert {p.format: (p.calls, p.bytes) for p in profile.parts} == {"int8": (0.5, 3.5), "float32": (0.5, 2.5)}
        assert profile.seconds == pytest.approx(150e-6)
        assert profile.between == pytest.approx(100e-6)

    def test_a_picture_names_what_takes_long_and_adds_up_to_all_of_the_time(self) -> None:
        parts = tuple(Part(f"Op{i}", "int8" if i == 0 else "", 1, s, 100 if i == 0 else 0)
                      for i, s in enumerate((0.6, 0.2, 0.01, 0.01)))  # fmt: skip
        shown = pieces(Profile(parts, 1.0, 1))
        assert [name for name, _ in shown] == ["Op0 (int8)", "Op1", "other operators", "between kernels"]
        assert sum(share for _, share in shown) == pytest.approx(100)


class TestCommand:
    def test_it_prints_tables_and_draws(self, llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        short = ["--prompt-tokens", "8", "--tokens", "4", "--rounds", "1", "--threads", "1"]
        assert cli.main(["bench", str(llama), *short, "--plot", str(tmp_path / "bench.png")]) == 0
        printed = capsys.readouterr().out
        for words in ("decode, tokens/s", "peak memory", "ceiling", "time of one token", "MatMul"):
            assert words in printed
        assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")

    def test_it_prints_json(self, llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
        words = ["bench", str(llama), "--prompt-tokens", "8", "--tokens", "4", "--rounds", "2", "--threads", "1"]
        assert cli.main([*words, "--json"]) == 0
        assert len(json.loads(capsys.readouterr().out)["decode"]["values"]) == 2

    def test_a_picture_of_another_kind_is_refused(self, llama: Path) -> None:
        assert cli.main(["bench", str(llama), "--plot", "bench.jpg"]) == 2

    def test_a_folder_that_is_no_export_is_said(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["bench", str(tmp_path)]) == 1
        assert "error[E09" in capsys.readouterr().err

    def test_a_damaged_model_is_said(self, tmp_path: Path) -> None:
        folder = export("Encoder", tmp_path / "onnx")
        file = folder / "model.onnx"
        file.write_bytes(b"\xff" * file.stat().st_size)
        with pytest.raises(WeftError, match="damaged"):
            bench(folder, prompt=4, tokens=1, rounds=1)

    def test_a_process_that_fails_is_said_with_its_last_words(self, tmp_path: Path) -> None:
        folder = export("Encoder", tmp_path / "onnx")
        file = folder / "model.onnx"
        broken = onnx.load(file, load_external_data=False)
        del broken.graph.node[0]
        size = file.stat().st_size
        onnx.save(broken, file)
        manifest = json.loads((folder / "weft.json").read_text())
        manifest["files"]["model.onnx"]["bytes"] = file.stat().st_size
        (folder / "weft.json").write_text(json.dumps(manifest))
        assert file.stat().st_size < size
        with pytest.raises(WeftError) as caught:
            bench(folder, prompt=4, tokens=1, rounds=1)
        assert [d.code for d in caught.value.diagnostics] == ["E0961"]
