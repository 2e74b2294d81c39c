"""`mix_experts` and `route_experts` as MoE and QMoE: only the experts that have a share are computed.

Both operators take logits, of which they take the softmax, the best `k` of that, and bring these to a sum of 1; with
anything else MoE is wrong where its input and its result share memory, and QMoE does it all the same. So shares go in
as their logarithms, and where they do not add up to 1 the result is multiplied by their sum.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .....lang.axes import TensorType
from ..layout import Tensor, Writer
from ..scope import Operand, Wire, ints
from .kernel import Declined, Results
from .microsoft import DOMAIN

if TYPE_CHECKING:
    from ..activation import Activation

# Below every share that counts: what has no share gets this one instead of the logarithm of 0.
LEAST = 1e-30
# How QMoE calls computing with inputs in 8 bits, and in float32.
_LEVELS = {8: 4, 32: 0}


def experts(w: Writer, call: Activation) -> Results:
    """MoE with weights in float32."""
    up, down = (w.natural(call.tensor(side)).operand for side in ("up", "down"))
    weights = [up, _offset(w, call, "up"), down]
    return _mixed(w, call, "MoE", [*weights, _offset(w, call, "down")], {})


def experts_grouped(w: Writer, call: Activation) -> Results:
    """QMoE with codes and scales for groups of each column."""
    statics = dict(call.function.statics)
    if statics["bits"] == 8 and statics["activations"] != 8:
        return Declined("with codes of 8 bits it rounds what they are multiplied with to 8 bits, too")
    weights: list[Operand] = []
    for side in ("up", "down"):
        # [E, columns, groups, bytes of a group] lie as [E, columns, bytes]
        codes, type = call.tensor(f"{side}_codes"), call.type(f"{side}_codes")
        e, n, j, m = (a.size.value for a in type.axes)
        wire = codes.operand
        if len(codes.groups) == 4:
            wire = w.emit("Reshape", wire, ints(e, n, j * m * int(statics["bits"]) // 8))
        weights += [wire, w.natural(call.tensor(f"{side}_scales")).operand, _offset(w, call, side)]
    zeros = [call.tensor(f"{s}_zeros").operand if f"{s}_zeros" in call.names else None for s in ("up", "down")]
    operands = [*weights, None, None, None, *zeros]
    attributes = {
        "expert_weight_bits": int(statics["bits"]), "block_size": int(statics["group"]),
        "accuracy_level": _LEVELS[int(statics["activations"])],
    }
    return _mixed(w, call, "QMoE", operands, attributes)


def _offset(w: Writer, call: Activation, side: str) -> Operand:
    name = f"{side}_offset"
    return w.natural(call.tensor(name)).operand if name in call.names else None


def _mixed(w: Writer, call: Activation, op: str, weights: list[Operand], attributes: dict[str, Any]) -> Results:
    statics = dict(call.function.statics)
    x, routing = call.type("x"), "logits" if "logits" in call.names else "share"
    (result,) = call.function.output_types
    (d,) = (n for n in x.names if not result.has(n))
    lead = tuple(n for n in x.names if n != d)
    (e,) = (n for n in call.type(routing).names if n not in lead)
    given = w.arrange(w.fill(call.tensor("x"), x.names), (lead, (d,)))
    shares = call.tensor(routing)
    everywhere = TensorType((*(x.axis(n) for n in lead), shares.type.axis(e)))
    weighing = w.arrange(w.fill(replace(shares, type=everywhere), (*lead, e)), (lead, (e,)))
    logits = weighing.operand
    if routing == "share":
        logits = w.emit("Log", w.emit("Max", logits, np.array(LEAST, np.float32)))
    attributes |= {"k": int(statics["top"]), "activation_type": str(statics["act"]), "normalize_routing_weights": 1}
    if statics["act"] == "swiglu":
        attributes |= {
            "swiglu_fusion": 1, "activation_alpha": float(statics["alpha"]), "activation_beta": float(statics["beta"]),
        }
        if statics["limit"]:
            attributes["swiglu_limit"] = float(statics["limit"])
    wire: Wire = w.emit(op, given.operand, logits, *weights, domain=DOMAIN, **attributes)
    if routing == "share" and not statics["whole"]:
        wire = w.emit("Mul", wire, w.emit("ReduceSum", weighing.operand, ints(-1), keepdims=1))
    (out,) = (n for n in result.names if n not in lead)
    return (Tensor(result, (lead, (out,)), wire),)
