"""The chat templates of the standard library write down chats as the models of their names expect them."""

from __future__ import annotations

import pytest
from weft.lang.chat_templates import TEMPLATES, template_names
from weft.lang.diagnostics import WeftError
from weft.runtime import chat

pytest.importorskip("jinja2")
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
TURNS = [
    {"role": "user", "content": "Hello {{ x }} <b>"},
    {"role": "assistant", "content": "Hi."},
    {"role": "user", "content": "And?"},
]
WITH_SYSTEM = [{"role": "system", "content": "Be brief."}, *TURNS]
EXPECTED = {
    "alpaca": (
        "<s>Be brief.\n\n### Instruction:\nHello {{ x }} <b>\n\n### Response:\nHi.</s>\n\n"
        "### Instruction:\nAnd?\n\n### Response:\n"
    ),
    "chatml": (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello {{ x }} <b><|im_end|>\n"
        "<|im_start|>assistant\nHi.<|im_end|>\n<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\n"
    ),
    "gemma": (
        "<s><start_of_turn>user\nBe brief.\n\nHello {{ x }} <b><end_of_turn>\n<start_of_turn>model\nHi.<end_of_turn>\n"
        "<start_of_turn>user\nAnd?<end_of_turn>\n<start_of_turn>model\n"
    ),
    "llama3": (
        "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHello {{ x }} <b><|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nHi.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nAnd?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
    "mistral": "<s> [INST] Be brief.\n\nHello {{ x }} <b> [/INST] Hi.</s> [INST] And? [/INST]",
}


def template(name: str) -> str:
    return (TEMPLATES / f"{name}.jinja").read_text("utf-8")


def test_every_template_is_tried_here() -> None:
    assert template_names() == tuple(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_template_writes_the_chat_as_its_models_expect_it(name: str) -> None:
    assert chat.render(template(name), WITH_SYSTEM, SPECIAL) == EXPECTED[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_without_a_system_message_the_rest_stays_as_it_is(name: str) -> None:
    written = chat.render(template(name), TURNS, SPECIAL)
    assert "Be brief." not in written
    assert written.endswith(EXPECTED[name].partition("Hello")[2])


@pytest.mark.parametrize("name", EXPECTED)
def test_transformers_renders_the_same(name: str) -> None:
    theirs = pytest.importorskip("transformers.utils.chat_template_utils").render_jinja_template
    (rendered,), _ = theirs([WITH_SYSTEM], chat_template=template(name), add_generation_prompt=True, **SPECIAL)
    assert rendered == EXPECTED[name]


@pytest.mark.parametrize("name", ["gemma", "mistral"])
def test_where_turns_alternate_two_of_a_kind_are_refused(name: str) -> None:
    with pytest.raises(WeftError, match="take turns"):
        chat.render(template(name), [*TURNS, TURNS[0]], SPECIAL)


def test_without_a_question_the_text_ends_behind_the_answer() -> None:
    (rendered,), _ = pytest.importorskip("transformers.utils.chat_template_utils").render_jinja_template(
        [TURNS[:2]], chat_template=template("chatml"), add_generation_prompt=False
    )
    assert rendered.endswith("<|im_start|>assistant\nHi.<|im_end|>\n")
