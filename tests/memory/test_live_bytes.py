"""Live bytes against sizes worked out by hand."""

import torch
from torch.utils.checkpoint import checkpoint

from gillnext.memory.live_bytes import LiveBytes

N = 1000  # float32 numbers: 4,000 bytes
BYTES = 4 * N


def test_a_tensor_counts_from_its_making_until_it_is_freed():
    with LiveBytes() as live:
        assert live.live == 0
        a = torch.zeros(N)
        assert live.live == BYTES
        b = torch.ones(N, dtype=torch.float64)
        assert live.live == 3 * BYTES
        del a
        assert live.live == 2 * BYTES
        del b
        assert live.live == 0 and live.peak == 3 * BYTES


def test_views_and_in_place_operations_share_their_storage():
    with LiveBytes() as live:
        a = torch.zeros(N)
        view, part, turned = a.view(10, 100), a[:10], a.reshape(100, 10).T
        a.add_(1)
        assert live.live == live.peak == BYTES
        del a, view, turned
        assert live.live == BYTES  # `part` keeps the whole storage
        del part
        assert live.live == 0


def test_tensors_from_before_do_not_count_and_neither_do_their_views():
    old = torch.zeros(N)
    with LiveBytes() as live:
        view = old.view(10, 100)
        old.mul_(2)
        assert live.live == 0
        new = view + 1
        assert live.live == BYTES and new.shape == (10, 100)


def test_two_entries_are_counted_apart():
    with LiveBytes() as first:
        a = torch.zeros(N)
    with LiveBytes() as second:
        b = torch.zeros(2 * N)
    assert (first.live, second.live) == (BYTES, 2 * BYTES)
    del a, b
    assert (first.live, second.live) == (0, 0)


def test_the_graph_holds_what_backward_needs_and_lets_go_of_it():
    x = torch.zeros(N, requires_grad=True)
    with LiveBytes() as live:
        loss = x.exp().sin().sum()  # exp saves its result, which is sin's saved argument; sin's result goes
        assert live.live == BYTES + 4
        assert live.peak == 2 * BYTES + 4
        loss.backward()
        del loss
        assert live.live == BYTES  # the gradient alone


def test_checkpointing_holds_the_result_alone_and_recomputes():
    def chain(x):
        return x.exp().sin().exp()

    x = torch.zeros(N, requires_grad=True)
    with LiveBytes() as plain:
        y = chain(x)
        # exp's result, which is sin's argument; the last exp's result. sin's own result is freed.
        assert plain.live == 2 * BYTES
        y.sum().backward()
    del y
    expected, x.grad = x.grad, None
    with LiveBytes() as saved:
        y = checkpoint(chain, x, use_reentrant=False)
        assert saved.live == BYTES
        before = saved.peak
        y.sum().backward()
        assert saved.peak > before  # the recomputation counts
    assert torch.equal(x.grad, expected)


def test_memory_of_a_loop_is_that_of_one_round_and_not_their_sum():
    with LiveBytes() as live:
        for _ in range(5):
            x = torch.zeros(N)
            x = x + 1
        assert live.live == BYTES
        assert live.peak == 2 * BYTES  # what one round starts from and what it makes


def test_the_trace_is_the_live_bytes_after_each_operation_thinned_out():
    with LiveBytes() as live:
        kept = [torch.zeros(N) for _ in range(300)]
        assert live.history == [BYTES * (i + 1) for i in range(300)]
        del kept[10:]
        kept.append(torch.zeros(N))
    points = live.trace()
    assert len(points) == 200 and points[0][1] <= 2 * BYTES
    assert max(y for _, y in points) == live.peak == 300 * BYTES
    assert points[-1] == [1.0, live.live] == [1.0, 11 * BYTES]
