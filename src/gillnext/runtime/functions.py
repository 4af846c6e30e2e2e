"""Functions of one number that torch leaves to MKL, by NumPy: the same bits on every processor.

MKL's vector functions begin some of their results from the processor's approximate reciprocals, which every maker
rounds as he likes, in its compatible path too: a fifth of its float32 square roots are not the nearest number there.
Those that were not the same on a processor and under emulation, which computes such reciprocals exactly, stand in
`FUNCTIONS`. NumPy's square root is correctly rounded; the others are its own or the C library's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

# By torch's name; the logarithm in float64 alone.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sqrt": np.sqrt,
    "acos": np.arccos,
    "asin": np.arcsin,
    "atan": np.arctan,
    "tan": np.tan,
    "log": np.log,
    "log10": np.log10,
}


def kernels() -> dict[str, Any]:
    """torch's name of an operation -> its kernel: a function of torch's own, the dispatch keys and the arguments."""
    found: dict[str, Any] = {"pow.Tensor_Scalar": power}
    for name, function in FUNCTIONS.items():
        found |= {name: partial(new, function), f"{name}_": partial(in_place, function)}
        found[f"{name}.out"] = partial(into, function)
    return found


def for_numpy(function: Callable[..., Any], x: Tensor, out: Tensor | None = None) -> bool:
    """Whether NumPy is to compute a function of `x`, which is on the CPU, into a tensor of the same kind."""
    kinds = (torch.float64,) if function is np.log else (torch.float32, torch.float64)
    return x.dtype in kinds and (out is None or (out.dtype == x.dtype and out.shape == x.shape))


def apply(function: Callable[..., Any], x: Tensor, out: Tensor) -> Tensor:
    with np.errstate(all="ignore"):  # as torch: not a number, in silence
        function(x.detach().numpy(), out=out.detach().numpy())
    return out


def new(function: Callable[..., Any], own: Any, keys: Any, x: Tensor) -> Tensor:
    return apply(function, x, torch.empty_like(x)) if for_numpy(function, x) else own.call_boxed(keys, x)


def in_place(function: Callable[..., Any], own: Any, keys: Any, x: Tensor) -> Tensor:
    return apply(function, x, x) if for_numpy(function, x) else own.call_boxed(keys, x)


def into(function: Callable[..., Any], own: Any, keys: Any, x: Tensor, *, out: Tensor) -> Tensor:
    return apply(function, x, out) if for_numpy(function, x, out) else own.call_boxed(keys, x, out=out)


def power(own: Any, keys: Any, x: Tensor, exponent: float) -> Tensor:
    """x to the power of a number; a half is the square root."""
    return x.sqrt() if exponent == 0.5 and for_numpy(np.sqrt, x) else own.call_boxed(keys, x, exponent)
