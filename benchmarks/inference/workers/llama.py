"""llama.cpp through llama-cpp-python: evaluation alone, and the largest logit."""

from __future__ import annotations

import llama_cpp
import numpy as np

from inference.measuring import arguments, report


class Evaluated:
    def __init__(self, file: str, threads: int, length: int, vocabulary: int) -> None:
        self.model = llama_cpp.Llama(
            file, n_ctx=length, n_batch=512, n_ubatch=512, n_threads=threads, n_threads_batch=threads, verbose=False
        )
        self.vocabulary = vocabulary

    def start(self, prompt: list[int]) -> int:
        self.model.reset()
        self.model._ctx.kv_cache_clear()
        return self._read(prompt)

    def step(self, token: int) -> int:
        return self._read([token])

    def _read(self, tokens: list[int]) -> int:
        self.model.eval(tokens)
        logits = llama_cpp.llama_get_logits_ith(self.model._ctx.ctx, -1)
        return int(np.ctypeslib.as_array(logits, shape=(self.vocabulary,)).argmax())


if __name__ == "__main__":
    asked = arguments()
    length = asked.prompt + asked.tokens + 64
    version = f"llama-cpp-python {llama_cpp.__version__}"
    report(asked, version, lambda: Evaluated(asked.artifact, asked.threads, length, asked.vocabulary))
