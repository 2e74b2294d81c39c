"""How parameters are drawn anew: one line of `reset_parameters` each."""

from __future__ import annotations

from ....lang import errors
from ....lang.diagnostics import WeftError
from ...ir.module import Parameter
from .text import Blanks


def reset_line(parameter: Parameter, blanks: Blanks) -> str:
    """The statement that draws a parameter as its initialiser says. Raises WeftError for an unknown kind."""
    init, target = parameter.init, f"self.{parameter.name}"

    def number(name: str, default: float) -> str:
        return blanks.mark(float(init.get(name, default)), name)

    if init.kind == "normal":
        mean = f"mean={number('mean', 0.0)}, " if init.get("mean", 0.0) else ""
        return f"nn.init.normal_({target}, {mean}std={number('std', 0.02)}, generator=generator)"
    if init.kind == "truncated_normal":
        std = init.get("std", 0.02)
        cut = f"a={blanks.mark(-2 * std, 'low')}, b={blanks.mark(2 * std, 'high')}"
        return f"nn.init.trunc_normal_({target}, std={number('std', 0.02)}, {cut}, generator=generator)"
    if init.kind == "uniform":
        return f"nn.init.uniform_({target}, {number('low', 0.0)}, {number('high', 1.0)}, generator=generator)"
    value = {"zeros": 0.0, "ones": 1.0}.get(init.kind)
    if init.kind == "constant":
        value = init.get("value", 0.0)
    if value is None:
        what = f"the initialiser `{init.kind}` of `{parameter.name}`"
        raise WeftError(errors.not_in_torch(what, "it is not known here", parameter.origin.first_span()))
    if value in (0.0, 1.0):
        return f"nn.init.{'ones' if value else 'zeros'}_({target})"
    return f"nn.init.constant_({target}, {blanks.mark(value, 'value')})"
