"""Matrix products and convolutions whose sums have one order, on every x86-64 processor with AVX2.

torch leaves products to MKL, whose order of summation depends on the processor and whose compatible path is slow, and
convolutions to oneDNN, whose order depends on the kernel that it picks. `install` gives torch other kernels for float32
on the CPU, forward and backward, for every model that runs in the process:

- a product is cut into blocks of 512 terms. In a block, terms are added one after the other with fused
  multiply-adds (which is what all of oneDNN's matrix kernels do up to that length); then the blocks' sums in turn;
- a convolution and its input gradient are oneDNN's on channels-last tensors, where all its kernels go through taps and
  channels in one order: measured on kernels for AVX2 and AVX-512, one and two threads, against plain loops
  (tests/runtime/test_portable.py). Other shapes are products over patches;
- a convolution with a kernel a channel (depthwise) is a sum over taps of rounded products; its gradients are torch's;
- a weight gradient is a product over patches: oneDNN's differs by instruction set and threads;
- square roots and a few more functions are NumPy's (`gillnext.runtime.functions`).

The rest of torch's kernels are held to AVX2, and MKL to its compatible path (`gillnext.runtime.arithmetic`).

Letters: N pictures, C channels of the input, K of the output, H W rows and columns, T taps, M × N of a product.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gillnext.runtime import functions

BLOCK = 512  # terms that oneDNN's matrix kernels add one after the other, whatever the instruction set
TERMS = 4096  # of a convolution's sum up to which its kernels have one order
SIDES = (1, 2, 3, 4)  # of kernels for which that was measured
CHANNELS = range(3, 513)

_linear = torch.ops.mkldnn._linear_pointwise
_library: torch.library.Library | None = None


def install() -> None:
    """Give torch these kernels; once a process."""
    global _library
    if _library is not None:
        return
    kernels: dict[str, Any] = {
        "mm": mm,
        "addmm": addmm,
        "convolution": convolution,
        "convolution_backward": convolution_backward,
        **functions.kernels(),
    }
    torch.backends.mkldnn.set_flags(False)  # elsewhere oneDNN is taken where torch sees fit, as for GELU
    own: dict[str, Any] = {name: torch.library.get_kernel(f"aten::{name}", "CPU") for name in kernels}
    _library = torch.library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch tells of every kernel that is replaced
        for name, kernel in kernels.items():
            _library.impl(name, partial(kernel, own[name]), "CPU", with_keyset=True)


def ours(*tensors: Tensor | None) -> bool:
    """Whether all are float32 on the CPU, and none is empty: what these kernels are for."""
    return all(t is None or (t.dtype == torch.float32 and t.device.type == "cpu" and t.numel()) for t in tensors)


# Products


def product(a_MB: Tensor, b_BN: Tensor, bias_N: Tensor | None = None) -> Tensor:
    """(M, B) @ (B, N) + bias, in blocks of 512 terms."""
    m, terms = a_MB.shape
    if m == 1:  # vectors have kernels of their own, with another order
        return product(a_MB.expand(2, terms), b_BN, bias_N)[:1]
    if b_BN.shape[1] == 1:
        return product(a_MB, b_BN.expand(terms, 2), None if bias_N is None else bias_N.expand(2))[:, :1].contiguous()
    if terms <= BLOCK:
        return _block(a_MB, b_BN, bias_N)
    total = _block(a_MB[:, :BLOCK], b_BN[:BLOCK])
    for first in range(BLOCK, terms, BLOCK):
        total += _block(a_MB[:, first : first + BLOCK], b_BN[first : first + BLOCK])
    return total if bias_N is None else total.add_(bias_N)


def _block(a_MB: Tensor, b_BN: Tensor, bias_N: Tensor | None = None) -> Tensor:
    """The product of at most 512 terms; a right factor with gaps would get a kernel that is 500 times slower."""
    table_NB = b_BN.t()
    if not (table_NB.is_contiguous() or b_BN.is_contiguous()):
        table_NB = table_NB.contiguous()
    return _linear(a_MB, table_NB, bias_N, "none", [], "")


def mm(own: Any, keys: Any, a: Tensor, b: Tensor) -> Tensor:
    return product(a, b) if ours(a, b) else own.call_boxed(keys, a, b)


def addmm(own: Any, keys: Any, c: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """β·c + α·(a @ b)."""
    if not ours(a, b, c):
        return own.call_boxed(keys, c, a, b, beta=beta, alpha=alpha)
    if alpha == beta == 1 and c.ndim == 1 and len(c) == b.shape[1]:
        return product(a, b, c)
    found = product(a, b)
    return c * beta + (found * alpha if alpha != 1 else found) if beta else found * alpha


# Convolutions


def convolution(
    own: Any,
    keys: Any,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor:
    """What all of torch's convolutions come down to: these where they are of pictures, in one group or a group a
    channel, else torch's.
    """
    padding = padding if len(padding) > 1 else [*padding] * (x.ndim - 2)  # padding="valid" comes as one number
    each = groups == len(weight) == x.shape[1] > 1 and not transposed
    if each and pictures(x, weight, 1, dilation) and ours(x, weight, bias):
        y = depthwise(x, weight, bias, stride, padding)
        return y if _channels_last(x) else y.contiguous()
    if not (pictures(x, weight, groups, dilation) and ours(x, weight, bias)):
        rest = bias, stride, padding, dilation, transposed, output_padding, groups
        return own.call_boxed(keys, x, weight, *rest)
    if transposed:
        side = _transposed_side(x, weight, stride, padding, output_padding)
        y = input_gradient(x, weight, side, stride, padding)
        y = y if bias is None else y + bias[:, None, None]
    else:
        y = forward(x, weight, bias, stride, padding)
    return y if _channels_last(x) or _channels_last(weight) else y.contiguous()


def convolution_backward(
    own: Any,
    keys: Any,
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    mask: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of input, weight and bias, as far as `mask` asks for them."""
    padding = padding if len(padding) > 1 else [*padding] * (x.ndim - 2)
    if not (pictures(x, weight, groups, dilation) and ours(grad, x, weight)):
        rest = bias_sizes, stride, padding, dilation, transposed, output_padding, groups, mask
        return own.call_boxed(keys, grad, x, weight, *rest)
    of_x = of_weight = None
    if mask[0] and transposed:
        of_x = forward(grad, weight, None, stride, padding)
    elif mask[0]:
        of_x = input_gradient(grad, weight, x.shape[2:], stride, padding)
    if mask[1]:
        wide, narrow = (grad, x) if transposed else (x, grad)
        of_weight = weight_gradient(wide, narrow, weight.shape[2:], stride, padding)
    return of_x, of_weight, grad.sum((0, 2, 3)) if mask[2] else None


def pictures(x: Tensor, weight: Tensor, groups: int, dilation: Sequence[int]) -> bool:
    """Whether a convolution is one of (N, C, H, W), in one group, without holes."""
    return x.ndim == weight.ndim == 4 and groups == 1 and all(d == 1 for d in dilation)


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int]) -> Tensor:
    """(N, C, H, W) and (K, C, h, w) to (N, K, H', W'), channels last."""
    if not _ordered(weight.shape[1], weight.shape[2:]):
        return _by_patches(x, weight, bias, stride, padding)
    last = torch.channels_last
    x, weight = x.contiguous(memory_format=last), weight.contiguous(memory_format=last)
    return torch.ops.aten.mkldnn_convolution(x, weight, bias, padding, stride, [1, 1], 1)


def depthwise(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int]) -> Tensor:
    """(N, C, H, W) and (C, 1, h, w) to (N, C, H', W'), channels last: tap after tap, products and sums rounded."""
    patches, total = _patches(_padded(x, padding), weight.shape[2:], stride), None
    for i, j in itertools.product(*map(range, weight.shape[2:])):
        part = patches[:, :, :, i, j] * weight[:, 0, i, j]
        total = part if total is None else total.add_(part)
    assert total is not None
    return (total if bias is None else total.add_(bias)).permute(0, 3, 1, 2)


def input_gradient(
    grad: Tensor, weight: Tensor, side: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> Tensor:
    """(N, K, H', W') and (K, C, h, w) to the gradient (N, C, H, W) of an input with `side` H, W."""
    if not _ordered(weight.shape[0], weight.shape[2:]):
        return _into_patches(grad, weight, side, stride, padding)
    last = torch.channels_last
    grad, weight = grad.contiguous(memory_format=last), weight.contiguous(memory_format=last)
    more = [
        whole - ((part - 1) * step - 2 * pad + tap)
        for whole, part, step, pad, tap in zip(side, grad.shape[2:], stride, padding, weight.shape[2:], strict=True)
    ]
    transpose = torch.ops.mkldnn._convolution_transpose_pointwise
    return transpose(grad, weight, None, padding, more, stride, [1, 1], 1, "none", [], "")


def weight_gradient(
    x: Tensor, grad: Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> Tensor:
    """(N, C, H, W) and (N, K, H', W') to the gradient (K, C, h, w), from blocks of patches that stay in the cache."""
    total = None
    for patches_BD, grad_BK in _blocks(x, grad.permute(0, 2, 3, 1), kernel, stride, padding):
        part = product(grad_BK.t(), patches_BD)
        total = part if total is None else total.add_(part)
    assert total is not None
    return total.view(grad.shape[1], *kernel, x.shape[1]).permute(0, 3, 1, 2)


def _ordered(channels: int, kernel: Sequence[int]) -> bool:
    """Whether all of oneDNN's kernels sum over `channels` and a kernel's taps in one order."""
    return channels in CHANNELS and all(k in SIDES for k in kernel) and channels * kernel[0] * kernel[1] <= TERMS


def _channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def _padded(x: Tensor, padding: Sequence[int]) -> Tensor:
    """(N, C, H, W) with zeros around it, as (N, H, W, C), from which patches are copied 3 to 5 times as fast."""
    high, wide = padding
    x = x.contiguous(memory_format=torch.channels_last)
    return (F.pad(x, (wide, wide, high, high)) if high or wide else x).permute(0, 2, 3, 1)


def _patches(padded_NHWC: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """What each output position of a convolution sees: a view (N, H', W', h, w, C) that copies nothing."""
    seen = padded_NHWC.unfold(1, kernel[0], stride[0]).unfold(2, kernel[1], stride[1])  # (N, H', W', C, h, w)
    return seen.permute(0, 1, 2, 4, 5, 3)


def _blocks(
    x: Tensor, grad_NHWK: Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> Iterator[tuple[Tensor, Tensor]]:
    """(patches (B, T·C), gradients (B, K)) of as many pictures, or rows of one, as make at most 512 positions."""
    patches, (count, high, wide, out) = _patches(_padded(x, padding), kernel, stride), grad_NHWK.shape
    pictures = max(BLOCK // (high * wide), 1)
    rows = high if high * wide <= BLOCK else max(BLOCK // wide, 1)
    terms = x.shape[1] * kernel[0] * kernel[1]
    for n in range(0, count, pictures):
        for row in range(0, high, rows):
            seen = patches[n : n + pictures, row : min(row + rows, high)]
            grads = grad_NHWK[n : n + pictures, row : min(row + rows, high)]
            yield seen.reshape(-1, terms), grads.reshape(-1, out)


def _by_patches(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int]
) -> Tensor:
    """A convolution as one product over patches."""
    patches = _patches(_padded(x, padding), weight.shape[2:], stride)
    table = weight.permute(2, 3, 1, 0).reshape(-1, len(weight))  # (T·C, K)
    y = product(patches.reshape(-1, len(table)), table, bias)
    return y.view(*patches.shape[:3], -1).permute(0, 3, 1, 2)


def _into_patches(
    grad: Tensor, weight: Tensor, side: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> Tensor:
    """An input gradient as one product, whose patches are added up where they overlap, tap by tap."""
    (high, wide), (_, inner, *kernel) = grad.shape[2:], weight.shape
    rows = grad.permute(0, 2, 3, 1).reshape(-1, len(weight))
    patches = product(rows, weight.permute(0, 2, 3, 1).reshape(len(weight), -1))
    patches = patches.view(len(grad), high, wide, *kernel, inner)
    whole = grad.new_zeros(len(grad), side[0] + 2 * padding[0], side[1] + 2 * padding[1], inner)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            down, right = i + (high - 1) * stride[0] + 1, j + (wide - 1) * stride[1] + 1
            whole[:, i : down : stride[0], j : right : stride[1]] += patches[:, :, :, i, j]
    inside = whole[:, padding[0] : padding[0] + side[0], padding[1] : padding[1] + side[1]]
    return inside.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def _transposed_side(
    x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], output_padding: Sequence[int]
) -> list[int]:
    """H, W of a transposed convolution's output."""
    sizes = zip(x.shape[2:], weight.shape[2:], stride, padding, output_padding, strict=True)
    return [(n - 1) * step - 2 * pad + tap + more for n, tap, step, pad, more in sizes]
