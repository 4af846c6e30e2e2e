"""Instance-local sampling: in the first steps the pixels of a box attend to that box's token alone (`bias.local`).

After InstanceAssemble (Xiang et al., 2025, arXiv:2509.16691), whose attention is over one box's pixels and one box's
token at a time, in the first 30% of the steps. It trains layers for it; here an adapter draws that was trained without.
docs/adapter.md says what else differs, and what it did to box fidelity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gillnext.adapter.grounding import Grounding
from gillnext.runtime.errors import UserError


def steps_of(share: float, steps: int) -> int:
    """How many of `steps` a share in [0, 1] of them is: the nearest whole number."""
    return math.floor(share * steps + 0.5)


def during(grounding: Grounding | None, share: float, call: Mapping[str, Any]) -> dict[str, Any]:
    """Makes `grounding` local for the first `share` of a pipeline's steps; what else it is to be called with for that.

    `call` is what it would be called with: a callback in it is called as before. `UserError` where the share is none,
    or without a grounding: the gated site attends to every slot.
    """
    where = f"local {share:g}"
    if not 0 <= share <= 1:
        raise UserError("a share of the steps lies between 0 and 1", where=where, remedy="give 0.3333 for a third")
    if grounding is None:
        remedy = "give 0, or an adapter of another site"
        raise UserError("the gated site attends to every slot from every pixel", where=where, remedy=remedy)
    count = steps_of(share, len(call.get("timesteps") or call.get("sigmas") or range(call["num_inference_steps"])))
    then = call["callback_on_step_end"]
    grounding.local = count > 0

    def ended(pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        grounding.local = step + 1 < count
        return then(pipeline, step, timestep, tensors) if then else {}

    # diffusers asks its own kind of callback which tensors it wants
    wanted = getattr(then, "tensor_inputs", call["callback_on_step_end_tensor_inputs"])
    return {"callback_on_step_end": ended, "callback_on_step_end_tensor_inputs": wanted}
