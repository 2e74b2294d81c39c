"""Chat templates are data: they write down a chat and reach nothing else."""

from __future__ import annotations

import pytest
from weft.lang.diagnostics import WeftError
from weft.runtime import chat
from weft.runtime.hub.conventions import conventions

pytest.importorskip("jinja2")
MESSAGES = [{"role": "user", "content": " <hé> "}]
PLAIN = """\
{{- bos_token }}
{%- for message in messages %}
    {%- if loop.index0 > 5 %}{% break %}{% endif %}
<|{{ message['role'] }}|>{{ message.content | trim }}{{ message | tojson }}
    {% generation %}said{% endgeneration %}
{% endfor %}
{% if add_generation_prompt %}<|assistant|>{% endif %}
"""


def test_a_template_writes_what_transformers_writes() -> None:
    theirs = pytest.importorskip("transformers.utils.chat_template_utils").render_jinja_template
    ours = chat.render(PLAIN, MESSAGES, {"bos_token": "<s>"})
    rendered, _ = theirs([MESSAGES], chat_template=PLAIN, add_generation_prompt=True, bos_token="<s>")
    assert ours == rendered[0]
    assert "<hé>" in ours and ours.startswith("<s>")


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__ }}",
        "{{ ''['__class__'] }}",
        "{{ ''|attr('upper') }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ __import__('os') }}",
        "{{ messages._private }}",
        "{% set namespace.__x = 1 %}",
        "{% include '/etc/passwd' %}",
        "{% import 'x' as y %}",
        "{% extends 'x' %}",
        "{% if %}",
        "x" * 2_000_000,
    ],
)
def test_what_reaches_further_is_refused_before_anything_runs(
    template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat.subprocess, "run", lambda *_, **__: pytest.fail("something ran"))
    with pytest.raises(WeftError, match="E0959"):
        chat.render(template, MESSAGES, {})


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for i in range(10 ** 9) %}{% endfor %}", "Range too big"),
        ("{{ 'a' * 10 ** 10 }}", "512 MiB"),
        ("{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}", "MiB"),
        ("{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
        ("{% for i in range(90000) %}{{ 'a' * 100 }}{% endfor %}", "characters"),
        ("{{ messages.append(1) }}", "unsafe"),
        ("{{ raise_exception('no system role') }}", "no system role"),
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "3 seconds"),
    ],
)
def test_what_takes_too_much_is_stopped(template: str, reason: str) -> None:
    with pytest.raises(WeftError) as caught:
        chat.render(template, MESSAGES, {})
    assert caught.value.diagnostics[0].code == "E0959" and reason in caught.value.diagnostics[0].title


def test_names_put_together_while_it_runs_lead_nowhere() -> None:
    assert chat.render("{{ ''['__cl' ~ 'ass__'] }}{{ '{0.__class__}'.format(1) }}", MESSAGES, {}) == ""


def test_the_template_of_a_folder_is_its_file_or_its_setting(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "tokenizer_config.json").write_text(
        '{"chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]}'
    )
    assert conventions(tmp_path).template == "d"
    (tmp_path / "chat_template.jinja").write_text("file")
    assert conventions(tmp_path).template == "file"
