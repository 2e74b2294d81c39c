"""onnxruntime-genai: any folder with a genai_config.json, its own generation loop."""

from __future__ import annotations

import json

import onnxruntime_genai as genai

from inference.measuring import arguments, report


class Generated:
    def __init__(self, folder: str, threads: int, length: int) -> None:
        config = genai.Config(folder)
        threads_only = {"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}
        config.overlay(json.dumps(threads_only))
        self.model = genai.Model(config)
        self.length = length
        self.generator = None

    def start(self, prompt: list[int]) -> int:
        self.generator = None  # the old caches go before the new ones come
        how = genai.GeneratorParams(self.model)
        # the least length keeps the token of the end, which a random model writes at any time, from stopping it
        how.set_search_options(max_length=self.length, min_length=self.length, do_sample=False)
        self.generator = genai.Generator(self.model, how)
        self.generator.append_tokens(prompt)
        return self._chosen()

    def step(self, token: int) -> int:
        return self._chosen()

    def _chosen(self) -> int:
        self.generator.generate_next_token()
        return int(self.generator.get_next_tokens()[0])


if __name__ == "__main__":
    asked = arguments()
    length = asked.prompt + asked.tokens + 8
    version = f"onnxruntime-genai {genai.__version__}"
    report(asked, version, lambda: Generated(asked.artifact, asked.threads, length))
