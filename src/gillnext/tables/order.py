"""Do two metrics put the arms in the same order? By their means, and by what the seeds tell apart."""

from __future__ import annotations

from itertools import combinations

from gillnext.record.results import Results
from gillnext.statistics import paired


def disagreements(results: Results, one: str, two: str) -> list[tuple[str, str]]:
    """Pairs of arms (higher by metric `one`, higher by metric `two`) whose means over seeds stand in opposite order."""
    means = {arm: [results.over_seeds(arm, metric).mean for metric in (one, two)] for arm in results.config.study.arms}
    pairs = []
    for a, b in combinations(means, 2):
        by_one, by_two = (means[a][i] - means[b][i] for i in range(2))
        if by_one * by_two < 0:
            pairs.append((a, b) if by_one > 0 else (b, a))
    return pairs


def opposed(results: Results, first: str, second: str, one: str, two: str) -> bool:
    """Whether seeds tell the two arms apart by both metrics, in opposite directions (95% paired t intervals)."""
    found = [paired(*results.both(first, second, metric)) for metric in (one, two)]
    return all(difference.excludes(0.0) for difference in found) and found[0].mean * found[1].mean < 0


def pairs_of(results: Results) -> int:
    """How many pairs of arms there are."""
    arms = len(results.config.study.arms)
    return arms * (arms - 1) // 2
