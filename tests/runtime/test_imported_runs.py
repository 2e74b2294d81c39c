"""A run that was imported is a run: it writes, answers, trains on, takes adapters and is looked at by every command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from weft.cli import main
from weft.lang.chat_templates import template_text
from weft.runtime.run import Run
from weft.runtime.tokenizer import Tokenizer

transformers = pytest.importorskip("transformers")
TEXTS = ["the warp and the weft run over and under one another " * 30]
TEMPLATE = "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}<|assistant|>"
RECIPE = """
recipe Tune for Imported {
  tokenizer run("run")
  stage tune {
    start  = "run"
    data   = text("*.txt", validation = 0.1) |> pack(16)
    loss   = next_token()
    optim  = adamw(lr = 1e-9, decay = 0.0)
    batch  = 64 tokens
    budget = 2 steps
  }
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint with a tokenizer and conventions of its own, and the run it was imported into."""
    here = tmp_path_factory.mktemp("imported")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=320, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2
    )
    transformers.LlamaForCausalLM(config).save_pretrained(here / "hf")
    tokenizer = Tokenizer.train(TEXTS, 300).inner
    tokenizer.add_special_tokens(["<begin>", "<stop>", "<|assistant|>"])
    tokenizer.save(str(here / "hf" / "tokenizer.json"))
    settings = {"bos_token": "<begin>", "eos_token": "<stop>", "add_bos_token": True, "chat_template": TEMPLATE}
    (here / "hf" / "tokenizer_config.json").write_text(json.dumps(settings))
    (here / "hf" / "generation_config.json").write_text('{"eos_token_id": [3, 5]}')
    (here / "text.txt").write_text(TEXTS[0] * 4)
    assert main(["import", str(here / "hf"), "--out", str(here / "run")]) == 0
    return here


def test_its_texts_begin_and_end_as_the_checkpoint_says(folder: Path) -> None:
    tokenizer = Run(folder / "run").load_tokenizer()
    begin, stop = (tokenizer.inner.token_to_id(name) for name in ("<begin>", "<stop>"))
    assert tokenizer.first == (begin,) and tokenizer.end == stop and tokenizer.ends == {stop, 3, 5}


def test_a_run_and_its_export_answer_a_message_alike(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("jinja2")
    assert main(["export", str(folder / "run"), "--to", "onnx"]) == 0
    manifest = json.loads((folder / "run" / "onnx" / "weft.json").read_text())
    assert manifest["metadata"]["text"]["chat_template"] == TEMPLATE
    capsys.readouterr()
    found = []
    for place in (folder / "run", folder / "run" / "onnx"):
        assert main(["generate", str(place), "--chat", "the warp", "--greedy", "--max-tokens", "8", "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["prompt"] == "<begin>[user]the warp<|assistant|>"
    assert found[0]["text"] == found[1]["text"]
    assert main(["generate", str(folder / "run"), "text", "--chat", "message"]) == 2


def test_an_export_tells_other_libraries_what_it_is(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "onnx"
    assert main(["export", str(folder / "run"), "--to", "onnx", "--out", str(out)]) == 0
    tokenizer = Run(folder / "run").load_tokenizer()
    begin, stop = (tokenizer.inner.token_to_id(name) for name in ("<begin>", "<stop>"))
    told = json.loads((out / "genai_config.json").read_text())["model"]
    assert (told["bos_token_id"], told["eos_token_id"], told["pad_token_id"]) == (begin, [stop, 3, 5], stop)
    assert json.loads((out / "config.json").read_text())["model_type"] == "llama"
    settings = json.loads((out / "tokenizer_config.json").read_text())
    assert (settings["bos_token"], settings["add_bos_token"], settings["chat_template"]) == ("<begin>", True, TEMPLATE)
    og = pytest.importorskip("onnxruntime_genai", reason="onnxruntime-genai is not installed: see constraints.txt")
    theirs = og.Tokenizer(og.Model(str(out)))
    theirs.update_options(add_special_tokens="true")
    assert theirs.encode("the warp").tolist() == [begin, *tokenizer.encode("the warp")]


def test_every_command_takes_the_folder_of_a_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("check", "plan", "show"):
        assert main([command, str(folder / "run")]) == 0
        assert "Imported" in capsys.readouterr().out
    assert main(["verify", str(folder / "run"), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["sizes"] == {} and "full size" in found["about"]
    assert {check["weights"] for check in found["checks"]} == {"stage import"}


def test_a_stage_starts_from_it_and_gives_a_run_that_goes_back(folder: Path) -> None:
    spec = folder / "tune.llm"
    spec.write_text((folder / "run" / "spec.llm").read_text() + RECIPE)
    assert main(["train", str(spec), "--out", str(folder / "tuned")]) == 0
    tuned, before = Run(folder / "tuned"), Run(folder / "run")
    after, start = load_file(tuned.weights("tune")), load_file(before.weights("import"))
    assert after.keys() == start.keys()
    changed = [float((after[k] - start[k]).abs().max()) for k in start]
    assert 0 < max(changed) < 1e-7, "two steps of a tiny rate, from these weights and not from random ones"
    assert tuned.load_tokenizer().first == before.load_tokenizer().first
    assert main(["export", str(tuned.folder), "--to", "hf", "--out", str(folder / "back")]) == 0
    back = transformers.AutoModelForCausalLM.from_pretrained(folder / "back")
    assert back.config.hidden_size == 32 and (folder / "back" / "tokenizer_config.json").is_file()


def test_a_run_speaks_as_the_chats_that_it_learned_last(folder: Path) -> None:
    chats = [{"messages": [{"role": "user", "content": "warp"}, {"role": "assistant", "content": "weft"}]}] * 20
    (folder / "chats.jsonl").write_text("".join(f"{json.dumps(chat)}\n" for chat in chats))
    source = 'text("*.txt", validation = 0.1) |> pack(16)'
    before = "run"
    for template in ("alpaca", "mistral"):
        assert source in RECIPE
        recipe = RECIPE.replace(source, f'chat("chats.jsonl", template = {template}, validation = 0.2)')
        recipe = recipe.replace('"run"', f'"{before}"').replace("64", "8192")
        spec = folder / f"{template}.llm"
        spec.write_text((folder / "run" / "spec.llm").read_text() + recipe)
        assert main(["train", str(spec), "--out", str(folder / template)]) == 0
        found = Run(folder / template).conventions
        assert found is not None and found.template == template_text(template)
        before = template


@pytest.mark.parametrize(
    ("change", "code"), [(("layers = 2", "layers = 3"), "E0960"), (('start  = "run"', 'start = "none"'), "E0953")]
)
def test_what_is_no_start_is_refused(
    folder: Path, tmp_path: Path, change: tuple[str, str], code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (folder / "run" / "spec.llm").read_text() + RECIPE
    assert change[0] in text
    (folder / f"{code}.llm").write_text(text.replace(*change))
    assert main(["train", str(folder / f"{code}.llm"), "--out", str(tmp_path / "out")]) == 1
    assert code in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_an_adapter_comes_is_merged_and_goes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adapter = folder / "adapter"
    adapter.mkdir()
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    names = [f"base_model.model.model.layers.{i}.self_attn.q_proj.lora_{p}.weight" for i in range(2) for p in "AB"]
    save_file(
        {n: torch.randn(2, 32) if "_A" in n else torch.randn(32, 2) for n in names},
        adapter / "adapter_model.safetensors",
    )
    adapted, merged = folder / "adapted", folder / "merged"
    assert main(["import", str(adapter), "--onto", str(folder / "run"), "--out", str(adapted)]) == 0
    assert main(["export", str(adapted), "--to", "hf"]) == 1
    assert "E0975" in capsys.readouterr().err
    assert main(["export", str(adapted), "--to", "peft"]) == 0
    again, first = (load_file(p / "adapter_model.safetensors") for p in (adapted / "peft", adapter))
    assert again.keys() == first.keys() and all(torch.equal(again[k], first[k]) for k in first)
    assert main(["merge", str(adapted), "--out", str(merged)]) == 0
    assert main(["export", str(merged), "--to", "hf"]) == 0
    assert (merged / "hf" / "tokenizer.json").is_file()
    assert main(["merge", str(merged), "--out", str(folder / "twice")]) == 1
    assert "E0974" in capsys.readouterr().err
