"""Caches in bfloat16, which NumPy does not know: their bits are bound where they lie."""

from __future__ import annotations

import numpy as np
import onnxruntime
from onnx import TensorProto, helper
from weft.runtime import caches


def test_a_model_writes_into_a_cache_of_bfloat16_that_grows() -> None:
    info, kind = helper.make_tensor_value_info, TensorProto.BFLOAT16
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["x"], ["new"], to=kind),
            helper.make_node("TensorScatter", ["past", "new", "at"], ["present"], axis=2),
        ],
        "cache",
        [
            info("x", TensorProto.FLOAT, [1, 2, 1, 4]), info("at", TensorProto.INT64, [1]),
            info("past", kind, [1, 2, "slots", 4]),
        ],
        [info("present", kind, [1, 2, "slots", 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)])
    model.ir_version = 11
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    state = {"input": "past", "output": "present", "dtype": "bfloat16"}
    cache = caches.held(np.zeros((1, 2, 1, 4), caches.numpy_type("bfloat16")))
    numbers = np.float32([1.0, -2.5, 3.140625, 1e30])
    for at in range(3):
        cache = caches.grown(cache, 2, at + 1, at, "cpu")
        binding = session.io_binding()
        binding.bind_cpu_input("x", np.tile(numbers * (at + 1), (1, 2, 1, 1)).astype(np.float32))
        binding.bind_cpu_input("at", np.array([at], np.int64))
        caches.bind_placed(binding, state, cache, "cpu")
        session.run_with_iobinding(binding)
    found = (cache.numpy().view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    wanted = numbers * np.arange(1, 4, dtype=np.float32)[:, None]
    np.testing.assert_allclose(found, np.broadcast_to(wanted, (1, 2, 3, 4)), rtol=2.0**-8)


def test_other_types_are_what_they_are() -> None:
    assert caches.numpy_type("float16") == "float16"
    assert caches.numpy_type("float32") == "float32"
