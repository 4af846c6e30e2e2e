"""Training steps of small networks as CUDA graphs: a step is one launch, and several trainings share a GPU.

A network of a few million parameters computes a step in a thousand kernels of microseconds, which Python cannot launch
as fast as a GPU ends them. Captured once, a step draws its own batch and noise, reads its own place in the schedule,
and moves weights and averages; graphs of different trainings run beside each other on streams of their own. On a CPU
the same steps run one operation after the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

BEFORE = 3  # steps that are run before the capture, as torch asks for
TOGETHER = 50  # replays of one training before the next one's are launched

Loss = Callable[[], Tensor]


class Training:
    """Steps of AdamW down `loss()`, a scalar that draws its own batch, with the workflow's cosine and averages.

    `parameters` end as their averages where 0 < `ema` < 1, after `finish`.
    """

    def __init__(
        self, parameters: Sequence[nn.Parameter], loss: Loss, steps: int, lr: float, *, ema: float = 0.0,
        floor: float = 0.02, warmup: float = 0.05, weight_decay: float = 0.01,
    ) -> None:  # fmt: skip
        self.parameters, self.loss_of, self.steps = list(parameters), loss, steps
        self.device = self.parameters[0].device
        self.peak, self.floor, self.ramp = lr, floor, max(int(warmup * steps), 1)
        self.t = torch.zeros((), device=self.device)
        self.lr = torch.tensor(lr, device=self.device)
        cuda = self.device.type == "cuda"
        self.optimiser = torch.optim.AdamW(
            self.parameters, lr=self.lr, betas=(0.9, 0.99), weight_decay=weight_decay, fused=True, capturable=cuda
        )
        self.decay, self.rest = (torch.zeros((), device=self.device) for _ in range(2))
        self.ema = ema
        self.shadow = [p.detach().clone() for p in self.parameters] if ema else []
        self.last = torch.zeros((), device=self.device)
        self.done, self.graph = 0, None
        if cuda:
            self.stream = torch.cuda.Stream()
            self.capture()

    def step(self) -> None:
        """One step at the place `t` of the schedule."""
        share = (self.t - self.ramp) / max(self.steps - self.ramp, 1)
        falling = self.floor + (1 - self.floor) * 0.5 * (1 + torch.cos(torch.pi * share.clamp(0, 1)))
        self.lr.copy_(self.peak * torch.minimum((self.t + 1) / self.ramp, falling))
        loss = self.loss_of()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.t.add_(1)
        if self.ema:
            self.decay.copy_(torch.clamp((1 + self.t) / (10 + self.t), max=self.ema))
            self.rest.copy_(1 - self.decay)
            torch._foreach_mul_(self.shadow, self.decay)
            torch._foreach_add_(self.shadow, torch._foreach_mul(self.parameters, self.rest))
        self.last.copy_(loss.detach())

    def capture(self) -> None:
        """Record one step; what the steps before it did is undone but for the moments, which begin small."""
        kept = [p.detach().clone() for p in self.parameters]
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            for _ in range(BEFORE):
                self.step()
        torch.cuda.current_stream().wait_stream(self.stream)
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=self.stream):
            self.step()
        torch.cuda.synchronize()
        with torch.no_grad():
            self.t.zero_()
            for p, value in zip(self.parameters, kept, strict=True):
                p.copy_(value)
            for average, value in zip(self.shadow, kept, strict=False):  # there may be none
                average.copy_(value)
            for state in self.optimiser.state.values():
                for value in state.values():
                    value.zero_()

    def run(self, count: int) -> None:
        """Launch up to `count` further steps."""
        for _ in range(min(count, self.steps - self.done)):
            if self.graph is None:
                self.step()
            else:
                with torch.cuda.stream(self.stream):
                    self.graph.replay()
            self.done += 1

    @torch.no_grad()
    def finish(self) -> float:
        """Averages become the weights; returns the last step's loss."""
        if self.device.type == "cuda":
            self.stream.synchronize()
        for p, average in zip(self.parameters, self.shadow, strict=False):
            p.copy_(average)
        return float(self.last)


def together(trainings: Sequence[Training], until: float) -> float:
    """Run trainings to their ends beside each other, or to the clock's `until`; returns the seconds that it took."""
    began = time.perf_counter()
    while any(t.done < t.steps for t in trainings) and time.perf_counter() < until:
        for training in trainings:
            training.run(TOGETHER)
        for training in trainings:  # a GPU's queue is long, and the clock would be read too early
            if training.device.type == "cuda":
                training.stream.synchronize()
    return time.perf_counter() - began
