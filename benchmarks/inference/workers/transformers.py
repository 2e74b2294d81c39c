"""transformers: the model called token by token with its cache, logits of the last token alone.

This is quicker than `generate`, which does work of its own for every token.
"""

from __future__ import annotations

import torch
import transformers

from inference.measuring import arguments, report


class Called:
    def __init__(self, folder: str, dtype: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
        self.cache = None

    def start(self, prompt: list[int]) -> int:
        self.cache = None
        return self._read(prompt)

    def step(self, token: int) -> int:
        return self._read([token])

    @torch.inference_mode()
    def _read(self, tokens: list[int]) -> int:
        read = self.model(torch.tensor([tokens]), past_key_values=self.cache, use_cache=True, logits_to_keep=1)
        self.cache = read.past_key_values
        return int(read.logits[0, -1].argmax())


if __name__ == "__main__":
    asked = arguments()
    version = f"transformers {transformers.__version__}, torch {torch.__version__}"
    report(asked, version, lambda: Called(asked.artifact, asked.dtype, asked.threads))
