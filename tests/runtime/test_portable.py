"""Portable kernels against plain loops in the order that their module states, and against torch's own in float64.

The loops round as a fused multiply-add does: a product of two float32 is exact in long doubles, whose sum with a third
is rounded to float32 at once.
"""

import itertools
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from gillnext.runtime import arithmetic, portable

pytestmark = pytest.mark.skipif(
    arithmetic.current() != "portable", reason="these kernels need AVX2 and a process in portable arithmetic"
)
LAST = torch.channels_last


@pytest.fixture(autouse=True)
def kernels():
    portable.install()


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def fma(a, b, c):
    wide = a.astype(np.longdouble) * b.astype(np.longdouble) + c.astype(np.longdouble)
    return wide.astype(np.float32)


def summed(a_MB, b_BN):
    """(M, B) @ (B, N): terms one after the other in blocks of 512, then the blocks' sums."""
    total = None
    for first in range(0, a_MB.shape[1], portable.BLOCK):
        block = np.zeros((a_MB.shape[0], b_BN.shape[1]), np.float32)
        for k in range(first, min(first + portable.BLOCK, a_MB.shape[1])):
            block = fma(a_MB[:, k, None], b_BN[None, k], block)
        total = block if total is None else total + block
    return total


def seen(x_NCHW, kernel, stride, padding):
    """Patches (N, H', W', h, w, C) by numpy's own windows."""
    wide = np.pad(x_NCHW, ((0, 0), (0, 0), (padding,) * 2, (padding,) * 2))
    found = np.lib.stride_tricks.sliding_window_view(wide, (kernel, kernel), (2, 3))[:, :, ::stride, ::stride]
    return found.transpose(0, 2, 3, 4, 5, 1)  # of (N, C, H', W', h, w)


def convolved(x_NCHW, weight_KChw, stride, padding):
    """A convolution whose terms come tap by tap, channel by channel, one after the other."""
    patches = seen(x_NCHW, weight_KChw.shape[2], stride, padding)
    rows, table = (
        patches.reshape(-1, np.prod(patches.shape[3:])),
        weight_KChw.transpose(2, 3, 1, 0).reshape(-1, len(weight_KChw)),
    )
    total = np.zeros((len(rows), len(weight_KChw)), np.float32)
    for k in range(len(table)):
        total = fma(rows[:, k, None], table[None, k], total)
    return total.reshape(*patches.shape[:3], -1).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("terms", [1, 7, 32, 96, 512, 513, 1030])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 5), (6, 1), (2, 3), (17, 33), (64, 24)])
def test_a_product_adds_its_terms_in_the_stated_order(rows, columns, terms):
    a, b = normal(rows, terms), normal(terms, columns, seed=1)
    expected = summed(a.numpy(), b.numpy())
    for left, right in ((a, b), (a.t().contiguous().t(), b), (a, b.t().contiguous().t())):
        assert np.array_equal(torch.mm(left, right).numpy(), expected)


def test_a_bias_is_added_to_the_sum():
    a, b, bias = normal(9, 600), normal(600, 5, seed=1), normal(5, seed=2)
    assert np.array_equal(F.linear(a, b.t(), bias).numpy(), summed(a.numpy(), b.numpy()) + bias.numpy())
    short = F.linear(a[:, :40], b[:40].t(), bias).numpy()
    assert np.array_equal(short, summed(a[:, :40].numpy(), b[:40].numpy()) + bias.numpy())


SHAPES = [(64, 8, 8, 3, 1), (64, 8, 8, 3, 2), (96, 32, 5, 3, 1), (4, 64, 8, 3, 1), (3, 16, 12, 3, 1), (64, 4, 6, 1, 1)]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("into", "out", "side", "kernel", "stride"), SHAPES)
def test_a_convolution_goes_through_taps_and_channels_in_the_stated_order(count, into, out, side, kernel, stride):
    x, weight = normal(count, into, side, side), normal(out, into, kernel, kernel, seed=1)
    expected = convolved(x.numpy(), weight.numpy(), stride, kernel // 2)
    for like in (torch.contiguous_format, LAST):
        y = F.conv2d(x.contiguous(memory_format=like), weight, stride=stride, padding=kernel // 2)
        assert np.array_equal(y.numpy(), expected)


@pytest.mark.parametrize(
    ("into", "out", "side", "kernel", "stride"), [(1, 8, 9, 3, 1), (3, 24, 16, 8, 8), (2, 6, 7, 5, 2)]
)
def test_other_convolutions_are_products_over_patches(into, out, side, kernel, stride):
    x, weight = normal(2, into, side, side), normal(out, into, kernel, kernel, seed=1)
    patches = seen(x.numpy(), kernel, stride, 0)
    table = weight.permute(2, 3, 1, 0).reshape(-1, out).numpy()
    expected = summed(patches.reshape(-1, len(table)), table).reshape(*patches.shape[:3], -1).transpose(0, 3, 1, 2)
    assert np.array_equal(F.conv2d(x, weight, stride=stride).numpy(), expected)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("channels", "side", "kernel", "stride"), [(5, 9, 3, 1), (96, 8, 3, 2), (24, 7, 5, 2)])
def test_a_kernel_a_channel_adds_rounded_products_tap_by_tap(count, channels, side, kernel, stride):
    x, weight, bias = normal(count, channels, side, side), normal(channels, 1, kernel, kernel, seed=1), normal(channels)
    patches, total = seen(x.numpy(), kernel, stride, kernel // 2), None  # (N, H', W', h, w, C)
    for i, j in itertools.product(range(kernel), repeat=2):
        part = patches[:, :, :, i, j] * weight.numpy()[:, 0, i, j]
        total = part if total is None else total + part
    expected = (total + bias.numpy()).transpose(0, 3, 1, 2)
    for like in (torch.contiguous_format, LAST):
        given = x.contiguous(memory_format=like)
        y = F.conv2d(given, weight, bias, stride, kernel // 2, groups=channels)
        assert np.array_equal(y.numpy(), expected)
    exact = F.conv2d(x.double(), weight.double(), bias.double(), stride, kernel // 2, groups=channels)
    assert (y - exact).abs().max() < 1e-5


@pytest.mark.parametrize(("into", "out", "side", "kernel"), [shape[:4] for shape in SHAPES if shape[4] == 1])
def test_an_input_gradient_of_stride_one_is_the_convolution_with_the_turned_kernel(into, out, side, kernel):
    """Of other strides it is compared with float64 below."""
    x, weight = normal(3, into, side, side).requires_grad_(), normal(out, into, kernel, kernel, seed=1)
    y = F.conv2d(x, weight, padding=kernel // 2)
    grad = normal(*y.shape, seed=2)
    y.backward(grad)
    turned = weight.numpy()[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    assert np.array_equal(x.grad.numpy(), convolved(grad.numpy(), turned, 1, kernel - 1 - kernel // 2))


@pytest.mark.parametrize(
    ("count", "into", "out", "side", "kernel"), [(3, 5, 4, 16, 3), (2, 3, 2, 30, 3), (40, 4, 6, 4, 1)]
)
def test_a_weight_gradient_goes_through_pictures_rows_and_columns_in_blocks(count, into, out, side, kernel):
    x, weight = normal(count, into, side, side), normal(out, into, kernel, kernel, seed=1).requires_grad_()
    y = F.conv2d(x, weight, padding=kernel // 2)
    grad = normal(*y.shape, seed=2)
    y.backward(grad)
    patches = seen(x.numpy(), kernel, 1, kernel // 2)
    grads = grad.permute(0, 2, 3, 1).numpy()
    rows = side if side * side <= 512 else 512 // side
    pictures = max(512 // side**2, 1)
    total = None
    for n, row in itertools.product(range(0, count, pictures), range(0, side, rows)):
        block = np.s_[n : n + pictures, row : row + rows]
        part = summed(grads[block].reshape(-1, out).T, patches[block].reshape(-1, kernel * kernel * into))
        total = part if total is None else total + part
    expected = total.reshape(out, kernel, kernel, into).transpose(0, 3, 1, 2)
    assert np.array_equal(weight.grad.numpy(), expected)


CASES = [
    ((2, 6, 9, 7), (5, 6, 3, 3), {"stride": (2, 1), "padding": (1, 0)}),
    ((1, 8, 8, 8), (4, 8, 3, 3), {"stride": 1, "padding": 1}),
    ((3, 2, 10, 10), (7, 2, 5, 5), {"stride": 2, "padding": 2}),
    ((2, 1, 12, 12), (3, 1, 4, 4), {"stride": 4, "padding": 0}),
    ((2, 16, 8, 8), (8, 4, 3, 3), {"stride": 1, "padding": 1, "groups": 4}),
    ((2, 4, 9, 9), (4, 4, 3, 3), {"stride": 1, "padding": 2, "dilation": 2}),
    ((2, 600, 4, 4), (3, 600, 3, 3), {"stride": 1, "padding": 1}),
]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("shape", "kernel", "how"), CASES)
def test_every_convolution_and_its_gradients_are_right(shape, kernel, how, transposed):
    """Against torch's own in float64, which these kernels leave alone."""
    call = F.conv_transpose2d if transposed else F.conv2d
    wanted = [normal(*shape), normal(*kernel, seed=1)]
    if transposed:
        wanted[1] = normal(shape[1], *kernel[1:], seed=1)
        how = {**how, "groups": 1}
    wanted.append(normal(wanted[1].shape[0] if not transposed else wanted[1].shape[1], seed=2))
    found = []
    for kind in (torch.float32, torch.float64):
        leaves = [t.to(kind, copy=True).requires_grad_() for t in wanted]
        y = call(*leaves, **how)
        y.backward(normal(*y.shape, seed=3).to(kind))
        found.append([y, *(leaf.grad for leaf in leaves)])
    for single, double in zip(*found, strict=True):
        torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("side", [4, 6])
def test_a_convolution_without_padding_may_say_valid(side):
    """torch then hands on one number for both sides; by patches and by its own kernels."""
    found = []
    for kind in (torch.float32, torch.float64):
        leaves = [
            t.to(kind, copy=True).requires_grad_() for t in (normal(2, 3, 12, 12), normal(5, 3, side, side, seed=1))
        ]
        y = F.conv2d(*leaves, stride=2, padding="valid")
        y.sum().backward()
        found.append([y, *(leaf.grad for leaf in leaves)])
    for single, double in zip(*found, strict=True):
        torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)


def test_memory_formats_are_those_of_torch():
    x, weight = normal(2, 8, 6, 6), normal(4, 8, 3, 3)
    assert F.conv2d(x, weight).is_contiguous()
    assert F.conv2d(x.contiguous(memory_format=LAST), weight).is_contiguous(memory_format=LAST)


def test_other_kinds_of_numbers_are_left_to_torch():
    a, b = normal(3, 4).double(), normal(4, 5).double()
    torch.testing.assert_close(torch.mm(a, b), (a[:, :, None] * b).sum(1), rtol=1e-14, atol=1e-14)
    assert torch.mm(torch.empty(0, 4), normal(4, 5)).shape == (0, 5)
    assert torch.equal(torch.mm(torch.empty(3, 0), torch.empty(0, 2)), torch.zeros(3, 2))
    whole = torch.arange(6).view(2, 3)
    assert torch.equal(whole @ whole.t(), torch.tensor([[5, 14], [14, 50]]))


KERNELS = """
import hashlib, sys
from gillnext.runtime import arithmetic
arithmetic.begin("portable")
import torch
from torch.nn import functional as F
from gillnext.runtime import training
training.setup(int(sys.argv[1]))
g, digest = torch.Generator().manual_seed(0), hashlib.sha256()
for n, into, out, side, kernel, stride in [
    (16, 64, 64, 16, 3, 1), (16, 64, 64, 16, 3, 2), (4, 224, 96, 8, 3, 1), (4, 256, 128, 4, 3, 1),
    (4, 32, 32, 40, 3, 1), (4, 3, 16, 32, 3, 1), (16, 128, 64, 16, 1, 1), (2, 3, 24, 32, 8, 8),
]:
    x = torch.randn(n, into, side, side, generator=g).contiguous(memory_format=torch.channels_last).requires_grad_()
    w = torch.randn(out, into, kernel, kernel, generator=g).requires_grad_()
    y = F.conv2d(x, w, stride=stride, padding=kernel // 2 if kernel < 8 else 0)
    y.backward(torch.randn(y.shape, generator=g))
    for t in (y, x.grad, w.grad):
        digest.update(t.detach().contiguous().numpy().tobytes())
for m, k, n in [(1024, 96, 768), (96, 1024, 96), (768, 4096, 96), (300, 700, 5)]:
    digest.update((torch.randn(m, k, generator=g) @ torch.randn(k, n, generator=g)).numpy().tobytes())
print(digest.hexdigest())
"""


def test_kernels_of_every_instruction_set_and_thread_count_agree():
    """oneDNN held to AVX2 against what it would take: the same bits, with one thread and with two."""
    found = {
        (cap, threads): subprocess.run(
            [sys.executable, "-W", "ignore", "-c", KERNELS, str(threads)],
            env=os.environ | ({"ONEDNN_MAX_CPU_ISA": cap} if cap else {}),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for cap in ("AVX2", "AVX512_CORE", "")
        for threads in (1, 2)
    }
    assert len(set(found.values())) == 1, found


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_square_roots_are_the_nearest_numbers(kind):
    x = normal(1000, 7).abs().to(kind)
    expected = np.vectorize(math.sqrt)(x.double().numpy()).astype(x.numpy().dtype)  # of C: IEEE's own
    assert np.array_equal(x.sqrt().numpy(), expected)
    assert np.array_equal(x[:, ::2].sqrt().numpy(), expected[:, ::2])
    assert np.array_equal((x**0.5).numpy(), expected)
    assert np.array_equal(torch._foreach_sqrt([x])[0].numpy(), expected)
    assert np.array_equal(x.clone().sqrt_().numpy(), expected)
    assert np.array_equal(torch.sqrt(x, out=torch.empty_like(x)).numpy(), expected)


@pytest.mark.parametrize("name", ["sqrt", "acos", "asin", "atan", "tan", "log", "log10"])
def test_functions_of_one_number_are_right_and_have_gradients(name):
    x = normal(50).abs().clamp(0.05, 0.95).double().requires_grad_()
    assert torch.autograd.gradcheck(getattr(torch, name), (x,))
    single = x.detach().float()
    torch.testing.assert_close(getattr(torch, name)(single).double(), getattr(torch, name)(single.double()))
    assert getattr(torch, name)(torch.tensor(0.5)).ndim == 0
    assert getattr(torch, name)(torch.arange(1, 2)).dtype == torch.float32


def test_what_has_no_value_is_not_a_number():
    assert torch.isnan(torch.tensor([-1.0]).sqrt()).all()
