"""The form of Wukong's release: how shards are named, and which of them a job takes."""

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
