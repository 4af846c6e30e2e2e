"""The shape of the release: which rows a shard has, which shards a job takes, how files are named."""

from __future__ import annotations

from gillnext.config.data import World
from gillnext.runtime.errors import UserError


def shard_name(shard: int) -> str:
    """The name that Wukong's release gives its shards."""
    return f"wukong_100m_{shard}.csv"


def bounds(total: int, parts: int, part: int) -> tuple[int, int]:
    """The half-open range of `part` where `total` things are spread evenly over `parts`."""
    return part * total // parts, (part + 1) * total // parts


def part_shards(world: World, part: int) -> list[int]:
    """Shards that job `part` (0 … world.parts - 1) filters, downloads and annotates: a contiguous run."""
    if not 0 <= part < world.parts:
        raise UserError(f"there is no part {part}", where="world.parts", remedy=f"parts are 0 to {world.parts - 1}")
    return list(range(*bounds(world.shards, world.parts, part)))


def check(world: World) -> None:
    """Refuse settings that make no world; errors name the key."""
    faults = world.faults
    rot = sum(vars(faults).values()) - faults.duplicate
    problems = {
        "world.shards": "needs 1 shard or more, and no more shards than rows"
        if not 0 < world.shards <= world.rows
        else "",
        "world.parts": "needs 1 part or more, and no more parts than shards"
        if not 0 < world.parts <= world.shards
        else "",
        "world.strong_share": "strong_share and weak_share add up to more than 1"
        if world.strong_share + world.weak_share > 1
        else "",
        "world.faults": "the shares of faults add up to more than 1" if rot > 1 or faults.duplicate > 1 else "",
    }
    for key, problem in problems.items():
        if problem:
            raise UserError(problem, where=key, remedy=f"change {key} in the configuration")
