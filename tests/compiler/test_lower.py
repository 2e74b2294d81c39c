"""Programs become modules: what names mean, what is shared, what `with` changes, which layers are equal."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import pytest
from weft.compiler.check import check
from weft.compiler.emit.reference import run
from weft.compiler.emit.weights import random_weights
from weft.compiler.ir.module import Instance, Layers, Module
from weft.compiler.ir.primitive import Array
from weft.compiler.ir.verify import verify
from weft.compiler.lower.model import compile_model
from weft.lang.diagnostics import WeftError
from weft.lang.program import load_source
from weft.lang.source import Source

SAMPLES = Path(__file__).parents[1] / "lang" / "samples"


def compiled(text: str, name: str = "M") -> Module:
    module = compile_model(load_source(Source("test.llm", text)), name)
    verify(module)
    return module


def parameters(module: Module) -> dict[str, tuple[int, ...]]:
    return {path: parameter.shape for path, parameter in module.parameters()}


def layers(module: Module, name: str = "blocks") -> Layers:
    found = module.root.child(name)
    assert isinstance(found, Layers)
    return found


def values(text: str, name: str = "M", **inputs: Array) -> tuple[Array, dict[str, Array]]:
    """What a model gives on inputs, with random weights, and the weights."""
    module = compiled(text, name)
    weights = random_weights(module)
    return run(module, weights, inputs).values[0], {n: np.asarray(w, np.float64) for n, w in weights.items()}


def codes(text: str) -> list[str]:
    return [d.code for d in check(load_source(Source("test.llm", text))).diagnostics]


def ids(*shape: int, below: int) -> Array:
    return np.random.default_rng(0).integers(0, below, shape)


def numbers(*shape: int) -> Array:
    return np.random.default_rng(1).standard_normal(shape)


def close(a: Array, b: Array) -> bool:
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-12, atol=1e-12))


# ------------------------------------------------------------------ names and positions


def test_across_a_call_positions_decide_inside_names_do() -> None:
    x = numbers(4, 3)
    found, _ = values(
        """
        fn late(x: [.., T, D]) -> [.., T] { sum(x * position(T), D) }
        model M { forward(x: [D, B]) -> [D] { late(x) } }
        """,
        x=x,
    )
    assert close(found, x.sum(1) * np.arange(4))


def test_elementwise_operations_broadcast_by_name() -> None:
    x, y = numbers(2, 3), numbers(3, 4)
    found, _ = values("model M { forward(x: [A, B], y: [B, C]) -> [C, A, B] { x * y } }", x=x, y=y)
    assert close(found, np.einsum("ab,bc->cab", x, y))


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("scale * x", ("A", "B")), ("x * scale", ("A", "B")), ("y * x", ("C", "B", "A")), ("x * y", ("A", "B", "C")),
        ("scale * other * x", ("C", "B", "A")), ("other * x", ("A", "B", "C")), ("scale * other", ("B", "C")),
        ("choose(scale > 0, x, 0)", ("A", "B")), ("1 - x", ("A", "B")), ("maximum(other, y)", ("C", "B")),
    ],
)
def test_a_result_is_ordered_like_its_operand_with_the_most_axes(expression: str, names: tuple[str, ...]) -> None:
    text = "model M { forward(x: [A, B], y: [C, B], scale: [B], other: [C]) { EXPR } }"
    expression = expression.replace("scale * other * x", "scale * other + y * x")
    assert compiled(text.replace("EXPR", expression)).main.output_types[0].names == names


def test_a_scale_may_stand_on_either_side_of_what_is_handed_on() -> None:
    text = """
        use nn: Linear
        model M(D: dim = 4) {
          param scale: [D] = ones
          up = Linear(D, D)
          forward(x: [B, T, D]) -> [B, T, D] { up(EXPR) }
        }
        """
    assert codes(text.replace("EXPR", "scale * x")) == codes(text.replace("EXPR", "x * scale")) == []
    assert codes(text.replace("EXPR", "scale * position(T)")) == ["E0306"]


def test_dot_contracts_one_axis_and_keeps_the_shared_ones() -> None:
    x, y = numbers(2, 3, 5), numbers(3, 5, 4)
    found, _ = values("model M { forward(x: [A, B, K], y: [B, K, C]) -> [A, B, C] { dot(x, y, K) } }", x=x, y=y)
    assert close(found, np.einsum("abk,bkc->abc", x, y))


def test_a_pack_is_as_many_axes_as_it_is_given() -> None:
    text = """
        use nn: Linear
        model M(D: dim = 6, G: dim = 2, K: dim = 3) {
          into = Linear(D, (G, K))
          back = Linear((G, K), D, bias = true)
          forward(x: [B, D]) -> [B, D] { back(into(x)) }
        }
        """
    assert parameters(compiled(text)) == {"into.weight": (6, 2, 3), "back.weight": (2, 3, 6), "back.offset": (6,)}
    x = numbers(5, 6)
    found, w = values(text, x=x)
    inner = np.einsum("bd,dgk->bgk", x, w["into.weight"])
    assert close(found, np.einsum("bgk,gkd->bd", inner, w["back.weight"]) + w["back.offset"])


def test_two_rests_stand_for_what_is_before_and_between() -> None:
    x = numbers(2, 3, 4, 5, 6)
    text = """
        use position: rope
        model M(K: dim = 6) {
          dim J = K / 2
          forward(x: [B, T, G, R, K]) -> [B, T, G, R, K] { rope(x, position(T) * 0.1 ^ index(J)) }
        }
        """
    found, _ = values(text, x=x)
    angle = (np.arange(3)[:, None] * 0.1 ** np.arange(3))[None, :, None, None, :]
    a, b = x[..., :3], x[..., 3:]
    turned = np.concatenate([a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)], -1)
    assert close(found, turned)


def test_a_rest_may_hold_a_name_that_the_fn_uses_itself() -> None:
    x = numbers(2, 3, 4)
    found, _ = values(
        """
        fn folded(x: [.., D]) -> [.., D] {
          K = rename(x, D -> K)
          dot(K, rename(x, D -> K), K) * x
        }
        model M { forward(x: [B, K, D]) -> [B, K, D] { folded(x) } }
        """,
        x=x,
    )
    assert close(found, (x**2).sum(-1, keepdims=True) * x)


def test_the_rest_as_an_argument_is_what_the_signature_leaves_open() -> None:
    x = numbers(2, 3, 4)
    found, _ = values(
        """
        fn centre(x: [.., D]) -> [.., D] { x - mean(x, ..) }
        model M { forward(x: [B, T, D]) -> [B, T, D] { centre(x) } }
        """,
        x=x,
    )
    assert close(found, x - x.mean((0, 1)))


def test_a_rest_that_no_argument_has_stands_for_nothing() -> None:
    assert codes("model M { forward(x: [B, D]) -> [B, D] { x - mean(x, ..) } }") == ["E0308"]


def test_an_argument_with_fewer_axes_is_repeated_along_the_others() -> None:
    x, mask = numbers(2, 3), np.array([True, False, True])
    found, _ = values(
        """
        fn kept(x: [.., S], mask: bool[.., S]) -> [.., S] { softmax(x, S where mask) }
        model M { forward(x: [B, S], mask: bool[S]) -> [B, S] { kept(x, mask) } }
        """,
        x=x, mask=mask,
    )
    e = np.exp(x) * mask
    assert close(found, e / e.sum(-1, keepdims=True))


def test_results_take_the_order_their_signature_says() -> None:
    x = numbers(2, 3)
    assert close(values("model M { forward(x: [A, B]) -> [B, A] { x } }", x=x)[0], x.T)


def test_a_name_of_the_file_hides_one_of_the_kernel() -> None:
    x = numbers(2)
    found, _ = values("fn sqrt(x: [..]) -> [..] { x + 1 }\nmodel M { forward(x: [A]) -> [A] { sqrt(x) } }", x=x)
    assert close(found, x + 1)


# ------------------------------------------------------------------ sharing


def test_an_instance_declared_once_and_used_twice_has_one_set_of_weights() -> None:
    text = """
        use nn: Embedding
        model M(V: dim = 7, D: dim = 4) {
          embed = Embedding(V, D)
          forward(tokens: int[B, T]) -> [B, T, V] { tokens |> embed |> embed.logits }
        }
        """
    assert parameters(compiled(text)) == {"embed.table": (7, 4)}
    tokens = ids(2, 3, below=7)
    found, w = values(text, tokens=tokens)
    assert close(found, w["embed.table"][tokens] @ w["embed.table"].T)


SHARED = """
    use nn: Linear
    model Across(D: dim = 4, layers: int = 3) {
      layer  = Linear(D, D)
      blocks = repeat layers { forward(x) { x + layer(x) } }
      forward(x: [B, D]) -> [B, D] { blocks(x) }
    }
    model Each(D: dim = 4, layers: int = 3) {
      blocks = repeat layers {
        layer = Linear(D, D)
        forward(x) { x + layer(x) }
      }
      forward(x: [B, D]) -> [B, D] { blocks(x) }
    }
    """


def test_what_is_declared_around_a_repeat_is_shared_by_its_layers() -> None:
    assert list(parameters(compiled(SHARED, "Across"))) == ["layer.weight"]
    assert list(parameters(compiled(SHARED, "Each"))) == [f"blocks.{i}.layer.weight" for i in range(3)]
    x = numbers(2, 4)
    found, w = values(SHARED, "Across", x=x)
    for _ in range(3):
        x = x + x @ w["layer.weight"]
    assert close(found, x)


def test_an_instance_given_to_a_slot_stays_where_it_is() -> None:
    text = """
        use nn: Linear, Channel
        block Wrapped(D: dim, inner: Channel) {
          forward(x: [.., D]) -> [.., D] { x + inner(x) }
        }
        model M(D: dim = 4) {
          shared = Linear(D, D)
          one    = Wrapped(D, shared)
          two    = Wrapped(D, shared)
          own    = Wrapped(D, Linear(D, D))
          forward(x: [B, D]) -> [B, D] { x |> one |> two |> own }
        }
        """
    assert list(parameters(compiled(text))) == ["shared.weight", "own.inner.weight"]


def test_weights_that_no_method_reads_are_not_allocated() -> None:
    text = """
        use nn: Linear
        model M(D: dim = 4, plain = true) {
          one   = Linear(D, D)
          other = Linear(D, D, bias = true)
          param idle: [D]
          forward(x: [B, D]) -> [B, D] {
            unused = x * idle
            if plain { one(x) } else { other(x) }
          }
        }
        """
    assert list(parameters(compiled(text))) == ["one.weight"]


# ------------------------------------------------------------------ overrides


BASE = """
    use nn: Linear, identity
    model Base(D: dim = 4, F: dim = 2 * D) {
      dim E = F + D
      blocks = repeat 3 {
        up   = Linear(D, F)
        down = Linear(F, D)
        forward(x) { x + down(up(x)) }
      }
      head = Linear(D, E)
      forward(x: [B, D]) -> [B, E] { head(blocks(x)) }
    }
    """


def shapes(derived: str, name: str = "M") -> dict[str, tuple[int, ...]]:
    return {
        p.replace("blocks.0.", ""): s
        for p, s in parameters(compiled(BASE + derived, name)).items()
        if ".1." not in p and ".2." not in p
    }


def test_everything_that_depends_on_an_overridden_value_is_evaluated_anew() -> None:
    assert shapes("model M = Base with { D = 8 }") == {
        "up.weight": (8, 16),
        "down.weight": (16, 8),
        "head.weight": (8, 24),
    }
    assert shapes("model M = Base with { F = 5 }") == {
        "up.weight": (4, 5),
        "down.weight": (5, 4),
        "head.weight": (4, 9),
    }
    assert shapes("model M = Base with { E = 5 }")["head.weight"] == (4, 5)


def test_an_override_sees_the_names_of_the_place_it_changes() -> None:
    found = shapes("model M = Base with {\n F = 3 * D\n D = 2 \n blocks.up = Linear(D, F, bias = true)\n}")
    assert found == {"up.weight": (2, 6), "up.offset": (6,), "down.weight": (6, 2), "head.weight": (2, 8)}


def test_an_override_reaches_parts_of_parts() -> None:
    assert "up.offset" in shapes("model M = Base with { blocks.up.bias = true }")


def test_the_later_of_two_overrides_counts_and_the_others_stay() -> None:
    derived = """
        model A = Base with {
          D = 8
          blocks.up.bias = true
        }
        model M = A with { D = 6 }
        model N = A with { blocks.up = Linear(D, F) }
        """
    assert shapes(derived)["up.weight"] == (6, 12) and "up.offset" in shapes(derived)
    assert "up.offset" not in shapes(derived, "N"), "what was set inside of a replaced component goes with it"


def test_a_replaced_component_can_be_overridden_in_turn() -> None:
    derived = """
        model A = Base with { blocks.down = Linear(F, D, bias = true) }
        model M = A with { blocks.down.bias = false }
        """
    assert "down.offset" not in shapes(derived)


def test_a_whole_repeat_can_be_replaced() -> None:
    module = compiled(BASE + "model M = Base with { blocks = repeat 2 { forward(x) { x * D } } }")
    assert layers(module).schedule == (0, 0) and list(parameters(module)) == ["head.weight"]


def test_a_component_in_a_block_can_be_overridden_where_it_is_bound() -> None:
    text = """
        use nn: MLP
        model M(D: dim = 4) {
          mlp = MLP(D, 8) with { up.bias = false }
          forward(x: [B, D]) -> [B, D] { mlp(x) }
        }
        """
    assert list(parameters(compiled(text))) == ["mlp.up.weight", "mlp.down.weight", "mlp.down.offset"]


@pytest.mark.parametrize(
    ("derived", "code"),
    [
        ("model M = Base with { G = 8 }", "E0601"),
        ("model M = Base with { blocks.out = identity }", "E0601"),
        ("model M = Base with { blocks.up.weight = 1 }", "E0601"),
        ("model M = Base with { D = 2.5 }", "E0604"),
        ("model M = Base with { blocks.down = Linear(D, F) }", "E0306"),
        ("model M = Base with { F = E }", "E0603"),
    ],
)
def test_an_override_that_does_not_fit_is_refused(derived: str, code: str) -> None:
    assert codes(BASE + derived) == [code]


# ------------------------------------------------------------------ repeat


DIFFERENT = """
    use nn: Linear
    fn twice(x: [..]) -> [..] { 2 * x }
    fn half(x: [..]) -> [..] { 0.5 * x }
    model M(D: dim = 4, layers: int = 6) {
      blocks = repeat layers as i {
        act   = if i % 3 == 2 { twice } else { half }
        inner = if i == 0 { Linear(D, D, bias = true) } else { Linear(D, D) }
        forward(x) { x + act(inner(x)) }
      }
      forward(x: [B, D]) -> [B, D] { blocks(x) }
    }
    """


def test_layers_that_do_not_mention_the_index_are_one() -> None:
    module = compiled(SHARED, "Each")
    assert layers(module).schedule == (0, 0, 0)
    assert len(module.functions) == len(compiled(SHARED.replace("= 3", "= 300"), "Each").functions)


def test_layers_that_differ_share_a_body_where_they_are_equal() -> None:
    module = compiled(DIFFERENT)
    assert layers(module).schedule == (0, 1, 2, 1, 1, 2)
    assert [p for p in parameters(module) if "offset" in p] == ["blocks.0.inner.offset"]
    x = numbers(3, 4)
    found, w = values(DIFFERENT, x=x)
    for i in range(6):
        inner = x @ w[f"blocks.{i}.inner.weight"] + (w["blocks.0.inner.offset"] if i == 0 else 0)
        x = x + (2 if i % 3 == 2 else 0.5) * inner
    assert close(found, x)


def test_the_index_is_a_number_of_the_layer() -> None:
    text = """
        model M {
          blocks = repeat 4 as i { forward(x) { x + i } }
          forward(x: [B]) -> [B] { blocks(x) }
        }
        """
    x = numbers(2)
    assert close(values(text, x=x)[0], x + 6)


def test_an_override_may_mention_the_index_of_the_repeat_it_goes_into() -> None:
    module = compiled(DIFFERENT + "model N = M with { blocks.inner = Linear(D, D, bias = i > 3) }", "N")
    assert [p for p in parameters(module) if "offset" in p] == ["blocks.4.inner.offset", "blocks.5.inner.offset"]


def test_repeat_of_a_block_is_as_many_of_it() -> None:
    text = """
        use nn: Linear
        model M(D: dim = 4) {
          blocks = repeat 3 of Linear(D, D)
          forward(x: [B, D]) -> [B, D] { blocks(x) }
        }
        """
    x = numbers(2, 4)
    found, w = values(text, x=x)
    assert close(found, x @ w["blocks.0.weight"] @ w["blocks.1.weight"] @ w["blocks.2.weight"])


def test_repeated_layers_see_further_arguments_unchanged() -> None:
    text = """
        use nn: Linear
        model M(D: dim = 4) {
          blocks = repeat 2 {
            mix = Linear(D, D)
            forward(x, y) { mix(x) + y }
          }
          forward(x: [B, D], y: [B, D]) -> [B, D] { blocks(x, y) }
        }
        """
    x, y = numbers(2, 4), numbers(2, 4) + 1
    found, w = values(text, x=x, y=y)
    assert close(found, (x @ w["blocks.0.mix.weight"] + y) @ w["blocks.1.mix.weight"] + y)


def test_penalties_of_layers_add_up_and_a_layer_without_one_counts_as_zero() -> None:
    text = """
        model M(D: dim = 4) {
          blocks = repeat 3 as i {
            layer = if i < 2 { Loud(D) } else { Quiet(D) }
            forward(x) { layer(x) }
          }
          forward(x: [B, D]) -> [B, D] { blocks(x) }
        }
        block Loud(D: dim) {
          forward(x: [.., D]) -> [.., D] {
            penalty size = mean(mean(x ^ 2, D), ..)
            2 * x
          }
        }
        block Quiet(D: dim) { forward(x: [.., D]) -> [.., D] { x } }
        """
    x = numbers(2, 4)
    found = run(compiled(text), {}, {"x": x})
    assert close(found.values[0], 4 * x)
    assert math.isclose(found.penalties["size"], (x**2).mean() + ((2 * x) ** 2).mean())


# ------------------------------------------------------------------ stack, scan, if, fns


def test_a_stack_is_copies_side_by_side() -> None:
    text = """
        use nn: Linear
        model M(D: dim = 4, F: dim = 3, E: dim = 5) {
          experts = stack E of Linear(D, F, bias = true)
          forward(x: [B, D]) -> [B, E, F] { experts(x) }
        }
        """
    assert parameters(compiled(text)) == {"experts.weight": (5, 4, 3), "experts.offset": (5, 3)}
    x = numbers(2, 4)
    found, w = values(text, x=x)
    assert close(found, np.einsum("bd,edf->bef", x, w["experts.weight"]) + w["experts.offset"])


def test_a_stack_fed_with_its_own_axis_works_copy_by_copy() -> None:
    text = """
        use nn: Linear
        model M(D: dim = 4, E: dim = 5) {
          one = stack E of Linear(D, D)
          two = stack E of Linear(D, D)
          forward(x: [B, D]) -> [B, E, D] { x |> one |> two }
        }
        """
    x = numbers(2, 4)
    found, w = values(text, x=x)
    assert close(found, np.einsum("bd,zde,zef->bzf", x, w["one.weight"], w["two.weight"]))


def test_a_scan_carries_its_states_from_step_to_step() -> None:
    text = """
        model M {
          param keep: [D] = uniform(low = 0.1, high = 0.9)
          dim D = 3
          forward(x: [B, T, D]) -> [B, T, D] {
            both, count = scan T from s: [B, D] = 0, n: [B] = 1 {
              next s = keep * s + x
              next n = n + 1
              yield (s * n, n)
            }
            both + count
          }
        }
        """
    x = numbers(2, 4, 3)
    found, w = values(text, x=x)
    s, n, steps = np.zeros((2, 3)), 1.0, []
    for t in range(4):
        steps.append(s * n + n)
        s, n = w["keep"] * s + x[:, t], n + 1
    assert close(found, np.stack(steps, 1))


def test_a_static_if_compiles_the_branch_that_counts() -> None:
    text = """
        model M(D: dim = 4, double = false) {
          forward(x: [B, D]) -> [B, D] { if double and D > 2 { 2 * x } else if D == 3 { 3 * x } else { x } }
        }
        model N = M with { double = true }
        model O = M with { D = 3 }
        """
    x = numbers(2, 4)
    assert close(values(text, x=x)[0], x)
    assert close(values(text, "N", x=x)[0], 2 * x)
    assert close(values(text, "O", x=x[:, :3])[0], 3 * x[:, :3])


def test_a_fn_with_some_of_its_numbers_bound_is_a_fn() -> None:
    text = """
        use nn: Activation
        fn power(x: [..], by: int, times: real) -> [..] { times * x ^ by }
        block Act(act: Activation) { forward(x: [..]) -> [..] { act(x) } }
        model M {
          square = power(by = 2)
          act = Act(square(times = 3))
          forward(x: [B]) -> [B] { act(x) }
        }
        """
    x = numbers(4)
    assert close(values(text, x=x)[0], 3 * x**2)


def test_a_fn_is_compiled_once_for_equal_types_and_numbers() -> None:
    text = """
        fn scaled(x: [..], by: real) -> [..] { by * x }
        model M {
          forward(x: [B], y: [B], z: [B, C]) -> [B, C] {
            scaled(x, 2.0) + scaled(y, 2) + scaled(x, 3.0) + scaled(z, 2.0)
          }
        }
        """
    assert sorted(n for n in compiled(text).functions if n.startswith("scaled")) == ["scaled", "scaled.2", "scaled.3"]


def test_several_results_are_taken_apart_by_name() -> None:
    x = numbers(3)
    text = """
        fn both(x: [..]) -> ([..], [..]) { (x + 1, 2 * x) }
        model M { forward(x: [B]) -> [B] {
          a, b = both(x)
          a * b
        } }
        """
    assert close(values(text, x=x)[0], (x + 1) * 2 * x)


# ------------------------------------------------------------------ a whole encoder-decoder


def t5_buckets(length: int, count: int, far: int, both: bool) -> Array:
    """Relative position buckets as Raffel et al. 2020 compute them."""
    relative = np.arange(length)[None, :] - np.arange(length)[:, None]
    n, bucket = count, np.zeros_like(relative)
    if both:
        n //= 2
        bucket = np.where(relative > 0, n, 0)
        relative = np.abs(relative)
    else:
        relative = np.maximum(-relative, 0)
    exact = n // 2
    with np.errstate(divide="ignore"):
        coarse = exact + np.log(np.maximum(relative, 1) / exact) / math.log(far / exact) * (n - exact)
    return bucket + np.where(relative < exact, relative, np.minimum(coarse.astype(int), n - 1))


@pytest.mark.parametrize("both", [False, True])
def test_the_buckets_of_t5_are_those_of_the_paper(both: bool) -> None:
    text = (SAMPLES / "t5.llm").read_text() + """
        model Buckets {
          forward(x: [T, S]) -> int[T, S] { bucket(position(T), position(S), 8, 20, both = BOTH) }
        }
        """.replace("BOTH", str(both).lower())
    assert np.array_equal(values(text, "Buckets", x=numbers(40, 40))[0], t5_buckets(40, 8, 20, both))


def test_t5_has_the_parameters_of_t5_small() -> None:
    module = compiled((SAMPLES / "t5.llm").read_text(), "T5")
    assert module.parameter_count() == 60_506_624
    assert [n for n in parameters(module) if "." in n and n.split(".")[0] not in ("encoder", "decoder")] == [
        "embed.table", "enc_bias.table", "dec_bias.table", "enc_norm.scale", "dec_norm.scale",
    ]


def test_t5_shares_its_bias_between_layers_and_looks_back_only() -> None:
    text = (SAMPLES / "t5.llm").read_text() + """
        model Small = T5 with {
          V = 17
          D = 8
          H = 2
          K = 3
          F = 5
          layers = 2
        }
        """
    module = compiled(text, "Small")
    weights = random_weights(module)
    tokens, source = ids(2, 6, below=17), ids(2, 5, below=17)
    before = run(module, weights, {"tokens": tokens, "source": source}).values[0]
    later = tokens.copy()
    later[:, 4:] = (later[:, 4:] + 1) % 17
    after = run(module, weights, {"tokens": later, "source": source}).values[0]
    assert close(after[:, :4], before[:, :4]) and not close(after[:, 4:], before[:, 4:])
    for path in ("enc_bias.table", "dec_bias.table"):
        changed = run(
            module, weights | {path: weights[path] + np.arange(2)}, {"tokens": tokens, "source": source}
        ).values[0]
        assert close(changed, before), "the same number for every key of a head changes no weight of a softmax"
        changed = run(module, weights | {path: 2 * weights[path]}, {"tokens": tokens, "source": source}).values[0]
        assert not close(changed, before)


# ------------------------------------------------------------------ checking without a model


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("fn f(x: [.., D]) -> [.., D] { mean(x, D) * x }", []),
        ("fn f(x: [.., D]) -> [.., D] { mean(x, E) * x }", ["E0312"]),
        ("fn f(x: [.., T, D]) -> [.., D] { x }", ["E0307"]),
        ("fn f(x: [.., T, .., D]) -> [.., T, D] { x }", ["E0307"]),
        ("block B(D: dim, F: dim = 4 * D) { param w: [D, F] \n forward(x: [.., D]) -> [.., F] { dot(x, w, D) } }", []),
        (
            "block B(D: dim, F: dim = 4 * D) { param w: [D, F] \n forward(x: [.., D]) -> [.., D] { dot(x, w, D) } }",
            ["E0307"],
        ),
        ("block B(D: dim) { param w: [E] \n forward(x: [.., D]) -> [.., D] { x } }", ["E0201"]),
        ("block B(D: dim) { param w: [D] = 0 \n forward(x: [.., D]) -> [.., D] { x } }", ["E0604"]),
        ("block B(D: dim) { forward(x: [.., D], n: int) -> [.., D] { x } }", ["E0205"]),
        ("block B(D: dim, act: Activaton) { forward(x: [.., D]) -> [.., D] { x } }", ["E0201"]),
        ("block B(D: dim): Nothing { forward(x: [.., D]) -> [.., D] { x } }", ["E0201"]),
        ("interface I { go(x: [..]) -> [..] }\nblock B(D: dim): I { forward(x: [.., D]) -> [.., D] { x } }", ["E0602"]),
    ],
)
def test_fns_and_blocks_are_checked_before_anyone_uses_them(text: str, found: list[str]) -> None:
    assert codes(text) == found


def test_sizes_that_only_numbers_can_tell_apart_are_left_to_the_models() -> None:
    block = """
        block Joined(D: dim, E: dim, F: dim) {
          param w: [F] = ones
          first(x: [.., D], y: [.., D]) -> [.., F] { join(x, y, D -> F) * w }
          second(x: [.., D]) -> [.., D] { undefined(x) }
        }
        """
    assert codes(block) == ["E0201"], "a method that is left to the models does not hide the next one"
    block = block.replace("undefined(x)", "x")
    assert codes(block) == []
    model = (
        "model M(D: dim = 2, F: dim = {}) {{ j = Joined(D, D, F) \n forward(x: [B, D]) -> [B, F] {{ j.first(x, x) }} }}"
    )
    assert codes(block + model.format(4)) == []
    assert codes(block + model.format(5)) == ["E0301"]


def test_a_mistake_in_a_used_file_shows_who_asked() -> None:
    text = "use models.llama: Llama3\nmodel M = Llama3 with { layers = 0 }\n"
    (found,) = check(load_source(Source("test.llm", text))).diagnostics
    assert found.primary is not None and found.primary.span.source.path.endswith("llama.llm")
    assert [(label.span.source.path, label.span.text) for label in found.labels] == [("test.llm", "M")]


def test_the_example_of_the_design_reads_well() -> None:
    text = """
        use nn: Linear
        block Scores(D: dim, G: dim, K: dim) {
          q = Linear(D, (G, K))
          k = Linear(D, (G, K))
          forward(x: [.., T, D]) -> [.., T, G] { dot(q(x), k(x), D) }
        }
        """
    (found,) = check(load_source(Source("test.llm", text))).diagnostics
    assert found.code == "E0312" and found.primary is not None
    assert (found.primary.span.text, found.primary.text) == ("D", "contracted here")
    assert [(label.span.text, label.text) for label in found.labels] == [
        ("q(x)", "this is [.., T, G, K]"), ("k(x)", "this is [.., T, G, K]"),
    ]
    assert found.help == ("did you mean `K`? Both operands have it.",)


# ------------------------------------------------------------------ limits


def deep(depth: int) -> str:
    """A model in which `depth` blocks each hold the next."""
    method = "forward(x: [.., D]) -> [.., D] { %s }"
    lines = [f"block B{depth - 1}(D: dim) {{ {method % 'x'} }}"]
    for i in range(depth - 1):
        lines.append(f"block B{i}(D: dim) {{\n inner = B{i + 1}(D)\n {method % 'inner(x)'}\n}}")
    lines.append("model M(D: dim = 2) {\n outer = B0(D)\n forward(x: [B, D]) -> [B, D] { outer(x) }\n}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("use models.llama: Llama3\nmodel M = Llama3 with { layers = 1_000_000_000 }", "E0403"),
        ("use models.llama: Llama3\nmodel M = Llama3 with { layers = 10 ^ 9 }", "E0403"),
        ("use models.llama: Llama3\nmodel M = Llama3 with { V = 2 ^ 60 }", "E0403"),
        ("use models.llama: Llama3\nmodel M = Llama3 with { V = 2 ^ 100 }", "E0403"),
        ("use models.llama: Llama3\nmodel M = Llama3 with { D = 2 ^ 30 \n F = 2 ^ 30 }", "E0403"),
        ("model M { a = 2 ^ 63 \n b = a ^ 63 \n c = b ^ 63 \n dim D = c \n forward(x: [D]) -> [D] { x } }", "E0403"),
        ("model M { forward(x: [B, T]) -> [B, T] { \n a = (B + T + 1) ^ 16 \n b = a ^ 16 \n x * b } }", "E0403"),
        ("model M(D: dim = 2 * D) { forward(x: [B, D]) -> [B, D] { x } }", "E0603"),
        ("model M { dim A = B \n dim B = A \n forward(x: [A, B]) -> [A, B] { x } }", "E0603"),
        ("model M = N with { D = 2 }\nmodel N = M with { D = 3 }", "E0603"),
        (
            """
            block R(D: dim) { inner = R(D) \n forward(x: [.., D]) -> [.., D] { inner(x) } }
            model M(D: dim = 2) { r = R(D) \n forward(x: [B, D]) -> [B, D] { r(x) } }
            """,
            "E0606",
        ),
        (
            """
            fn f(x: [..]) -> [..] { g(x) }
            fn g(x: [..]) -> [..] { f(x) }
            model M { forward(x: [B]) -> [B] { f(x) } }
            """,
            "E0606",
        ),
        ("model M { forward(x: [B]) -> [B] { again(x) } \n again(x: [B]) -> [B] { forward(x) } }", "E0606"),
    ],
)
def test_what_is_absurd_is_refused_quickly(text: str, code: str) -> None:
    started = time.monotonic()
    with pytest.raises(WeftError) as caught:
        compiled(text)
    assert [d.code for d in caught.value.diagnostics] == [code]
    assert time.monotonic() - started < 5


def test_instances_may_be_nested_as_deep_as_the_limit() -> None:
    assert codes(deep(60)) == []
    assert set(codes(deep(70))) == {"E0606"}


def test_the_cost_of_lowering_does_not_grow_with_depth() -> None:
    text = "use models.llama: Llama3\nmodel M = Llama3 with {{ layers = {} }}"
    shallow, deep = compiled(text.format(2)), compiled(text.format(1000))
    assert sum(len(f.graph) for f in shallow.functions.values()) == sum(len(f.graph) for f in deep.functions.values())
    assert isinstance(deep.root, Instance) and len(layers(deep).bodies) == 1
