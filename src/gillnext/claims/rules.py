"""The rules that judge claims. Each gets a claim's `rule` mapping and the results, and returns a `Verdict`.

A comparison between arms is decided by the sign of the paired differences over training seeds: only where
the 95% t interval excludes 0 (or the threshold) is anything decided; what the seeds cannot tell is “not
shown”."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from gillnext.claims.backward import judge_gradients, judge_reduction, judge_size
from gillnext.claims.costs import judge_cheaper, judge_divided, judge_rate, judge_speedup, judge_total
from gillnext.claims.verdicts import Number, Verdict, Word, lacking
from gillnext.config.model import Arm
from gillnext.instruments import families
from gillnext.record.results import DATA, PLANNER, REAL, Results, Scored
from gillnext.runtime.errors import UserError
from gillnext.statistics import LEVEL, Estimate, differences, estimate
from gillnext.tables.binding import own_class
from gillnext.tables.build import metric_digits, metric_title
from gillnext.tables.table import decimals, number, signed, span

Rule = Callable[[dict[str, Any], Results], Verdict]
LEAST = 1e-12  # of a norm, before its logarithm is taken
NORMS = ("gradient_norm", "position_net_norm")  # series of a training


def find_arm(results: Results, settings: dict[str, Any]) -> str | None:
    """The arm that has these settings and, of every other, the default; how many seeds it has does not matter.

    None where there is none. `UserError` where there are several: they would be the same training, and it is not for a
    rule to choose.
    """
    wanted = dataclasses.replace(Arm(), **settings)
    arms = results.config.study.arms.items()
    found = [name for name, arm in arms if dataclasses.replace(arm, seeds=None) == wanted]
    if len(found) > 1:
        raise UserError(
            f"{' and '.join(found)} are the same arm, with {_describe(settings)}", where="study.arms",
            remedy="keep one of them; study.subset names the arms that are run",
        )  # fmt: skip
    return found[0] if found else None


def _describe(settings: dict[str, Any]) -> str:
    return ", ".join(f"{k} {v}" for k, v in settings.items())


def _missing(settings: dict[str, Any]) -> Verdict:
    return Verdict(Word.NOT_RUN, reason=f"no arm with {_describe(settings)}")


def direction(difference: Estimate, wanted: str, least: float = 0.0) -> int:
    """+1 where the interval lies beyond `least` on the claimed side of 0, −1 where it ends before that, else 0."""
    limit = least if wanted == "higher" else -least
    if not difference.excludes(limit):
        return 0
    return 1 if (difference.mean > limit) == (wanted == "higher") else -1


def sign_word(directions: list[int]) -> Word:
    """All as claimed: reproduced. Some the other way and none as claimed: contradicted. Else: not shown."""
    if all(d > 0 for d in directions):
        return Word.REPRODUCED
    return Word.CONTRADICTED if min(directions) < 0 and max(directions) <= 0 else Word.NOT_SHOWN


def _values(results: Results, arms: tuple[str, str], metric: str, seeds: list[int]) -> list[list[float]]:
    """A metric of two arms, seed by seed; a norm's is the log10 of the largest over the steps that both ran.

    Logarithms, because norms spread by factors: one run's spike would be all that a mean of them tells.
    """
    if metric not in NORMS:
        return [[results.metric(Scored(arm, seed), metric) for seed in seeds] for arm in arms]
    norms = [[results.history(arm, seed, metric) for seed in seeds] for arm in arms]
    steps = min(len(run) for of_arm in norms for run in of_arm)
    return [[math.log10(max(*run[:steps], LEAST)) for run in of_arm] for of_arm in norms]


def _in_words(metric: str, difference: Estimate, values: list[list[float]]) -> str:
    """A paired difference in words; of a norm also the largest that any seed of each arm had."""
    if metric not in NORMS:
        return f"{metric_title(metric)} {signed(difference, metric_digits(metric)).text}"
    largest = " and ".join(f"{10 ** max(of_arm):.2g}" for of_arm in values)
    return f"log₁₀ {metric_title(metric)} {signed(difference, 2).text} (largest of any seed {largest})"


def _pairs(rule: dict[str, Any], results: Results) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    """The two arms under every setting of `under` (or once, without it) that this run holds, and one that it lacks."""
    pairs: list[tuple[str, str]] = []
    absent: dict[str, Any] = {}
    for more in rule.get("under", [{}]):
        wanted = [rule[key] | more for key in ("first", "second")]
        found = [find_arm(results, settings) for settings in wanted]
        if None in found:
            absent = absent or wanted[found.index(None)]
        else:
            pairs.append((str(found[0]), str(found[1])))
    return pairs, absent


def judge_paired(rule: dict[str, Any], results: Results) -> Verdict:
    """Two arms compared by metrics, each with the direction in which the first is claimed better.

    `least`: how large the difference of a metric must be, where the claim says more than “better” (“explodes”).
    `under`: a list of further settings. The two arms are compared under each of them, and the claim must hold wherever
    they have several seeds; settings with one seed are named. A difference in the other direction counts at a level
    that is divided by the number of intervals.
    """
    pairs, absent = _pairs(rule, results)
    if not pairs:
        return _missing(absent)
    judged = [pair for pair in pairs if len(results.common_seeds(*pair)) > 1] or pairs
    directions, sentences, numbers = [], [], []
    count = len(judged) * len(rule["metrics"])
    for first, second in judged:
        seeds, parts = results.common_seeds(first, second), []
        for metric, wanted in rule["metrics"].items():
            values = _values(results, (first, second), metric, seeds)
            paired = differences(*values)
            difference = estimate(paired)
            least = float(rule.get("least", {}).get(metric, 0))
            directions.append(direction(difference, wanted, least))
            if directions[-1] < 0:  # one of several intervals may lie on the wrong side by chance: Bonferroni
                directions[-1] = direction(estimate(paired, 1 - (1 - LEVEL) / count), wanted, least)
            parts.append(_in_words(metric, difference, values))
            numbers.append(Number(f"{first} − {second}, {metric_title(metric)}", metric, tuple(paired)))
        sentences.append((f"{first} − {second}: " if len(judged) > 1 else "") + "; ".join(parts))
    return Verdict(sign_word(directions), ". ".join(sentences), _basis(results, judged, pairs), tuple(numbers))


def _basis(results: Results, judged: list[tuple[str, str]], pairs: list[tuple[str, str]]) -> str:
    """What a paired verdict rests on, and what has too few seeds to count."""
    counts = sorted({len(results.common_seeds(*pair)) for pair in judged})
    seeds = f"{' or '.join(map(str, counts))} seed{'s' if counts[-1] > 1 else ''}"
    reason = f"paired by seed, {seeds}, under {len(judged)} settings" if len(judged) > 1 else f"paired over {seeds}"
    if len(judged) == 1:
        reason = f"{' − '.join(judged[0])}, {reason}"
    more = len(pairs) - len(judged)
    reason += f"; {more} more with one seed, not judged" if more else ""
    return reason + ("; one seed decides nothing" if counts[-1] == 1 else "")


def judge_binding(rule: dict[str, Any], results: Results) -> Verdict:
    """The share of boxes filled with their own class among boxes filled at all, against the share without a
    tie.

    Without a tie between boxes and words a scene of k objects puts the right one into a box once in k, so
    the share expected is layouts/objects over the test layouts (a layout of one object is always right).
    """
    name = find_arm(results, rule["arm"])
    if name is None:
        return _missing(rule["arm"])
    shares = own_class(results, name)
    share = estimate(shares)
    untied = untied_share(results)
    limit = untied + float(rule["margin"])
    word = Word.NOT_SHOWN
    if share.half is not None and share.low > limit:
        word = Word.CONTRADICTED
    elif share.half is not None and share.high < limit:
        word = Word.REPRODUCED
    measured = f"{number(share).text} of filled boxes hold their own class"
    if name in results.config.study.swapped:
        swapped = number(results.over_seeds(name, "success50", "swapped")).text
        measured += f"; success with swapped phrases {swapped}"
    behind = Number(f"{name}, filled boxes with their own class", "share", tuple(shares))
    return Verdict(word, measured, f"{name}; {decimals(untied, 3)} expected without any tie", (behind,))


def untied_share(results: Results) -> float:
    """layouts / objects of the test set: the expected share of right classes if places were dealt at
    random.
    """
    boxes_N = results.per_image(results.first(), "boxes")
    if not boxes_N.any():
        raise UserError("no test layout has any box", where=str(results.root), remedy="make the held-out layouts again")
    return float((boxes_N > 0).sum() / boxes_N.sum())


def second_evaluator(results: Results) -> str:
    """The second evaluator in words, by the protocol of what was scored."""
    if results.second_learns_nothing:
        return "the evaluator that learns nothing"
    name = results.protocol(results.first()).get("rules", "").split(",")[0]
    return f"the second evaluator ({name})" if name else "the second evaluator"


def judge_placement(rule: dict[str, Any], results: Results) -> Verdict:
    """Success of the reference arm above a level, and above the base by a gain; both with their intervals."""
    arm, values = results.reference, results.seeds(results.reference, "success50")
    success, numbers = estimate(values), [Number(f"{arm}, success@0.5", "success50", tuple(values))]
    measured, parts = f"success@0.5 {number(success).text}, {success.n} seeds", [(success, float(rule["above"]))]
    rules = estimate(results.seeds(arm, "rules_success50"))
    measured += f"; by {second_evaluator(results)} {number(rules).text}"
    if results.base is not None:
        gains = differences(*results.both(arm, results.base, "success50"))
        gain = estimate(gains)
        measured += f"; gain over base {signed(gain).text}, {gain.n} seeds"
        parts.append((gain, float(rule["gain"])))
        numbers.append(Number(f"{arm} − {results.base}, success@0.5", "success50", tuple(gains)))
    word = Word.NOT_SHOWN
    if results.base is not None and all(e.half is not None and e.low > limit for e, limit in parts):
        word = Word.REPRODUCED
    elif any(e.half is not None and e.high < limit for e, limit in parts):
        word = Word.CONTRADICTED
    reason = f"{arm}; wanted > {rule['above']} and > +{rule['gain']}"
    return Verdict(word, measured, reason + ("" if results.base else "; no base in this run"), tuple(numbers))


def judge_value(rule: dict[str, Any], results: Results) -> Verdict:
    """Metrics stated beside the claim, without a verdict; `metrics` maps their names to words, and so does `else`, what
    is stated where a run has not all of these.
    """
    metrics = results.metrics({"data": DATA, "planner": PLANNER}[rule["place"]])
    wanted = next((of for of in (rule["metrics"], rule.get("else")) if of and set(of) <= set(metrics)), rule["metrics"])
    if absent := [name for name in wanted if name not in metrics]:
        return Verdict(Word.NOT_RUN, reason=rule.get("without", f"no {absent[0]} was scored"))
    between = {name: f" ({span(value.ends)})" for name, value in metrics.items() if value.ends}
    parts = (f"{words} {number(metrics[k].value).text}{between.get(k, '')}" for k, words in wanted.items())
    numbers = (Number(words, k, (metrics[k].value,)) for k, words in wanted.items())
    return Verdict(Word.MEASURED, "; ".join(parts), rule.get("by", ""), tuple(numbers))


def judge_fid(rule: dict[str, Any], results: Results) -> Verdict:
    """FID of the reference arm below a level, over seeds: by Inception, against real photographs.

    FID of few pictures is too high (Chong and Forsyth 2020). One below the level is therefore below it surely, and one
    above misses it only where there are as many pictures as FID's authors ask for (`pictures`).
    """
    arm, n, bar = results.reference, results.size(results.first()), float(rule["below"])
    extractor = str(results.protocol(results.first()).get("extractor", ""))
    wanted = {
        "real photographs (world.release)": bool(results.config.world.release),
        f"Inception's features (models.features: {families.INCEPTION})": families.INCEPTION in extractor,
    }
    if missing := lacking(wanted):
        return Verdict(Word.NOT_HERE, reason=f"needs {missing}")
    values = results.seeds(arm, "fid")
    found, few = estimate(values), n < rule["pictures"]
    measured = f"FID {number(found, 2).text} of {n:,} pictures, {found.n} seed{'s' * (found.n > 1)}"
    measured += f"; of real ones {decimals(results.metric(REAL, 'fid'), 2)}" if results.has(REAL, "fid") else ""
    reason, word = f"{arm}; wanted < {bar:g}", Word.NOT_SHOWN
    if found.half is None:
        reason += "; one seed decides nothing"
    elif found.high < bar:
        word = Word.REPRODUCED
    elif found.low > bar and not few:
        word = Word.CONTRADICTED
    elif found.low > bar:
        reason += f"; too high over so few: {rule['pictures']:,} pictures could miss it"
    return Verdict(word, measured, reason, (Number(f"{arm}, FID", "fid", tuple(values)),))


RULES: dict[str, Rule] = {
    "paired": judge_paired,
    "binding": judge_binding,
    "reduction": judge_reduction,
    "gradients": judge_gradients,
    "total": judge_total,
    "cheaper": judge_cheaper,
    "divided": judge_divided,
    "speedup": judge_speedup,
    "rate": judge_rate,
    "fid": judge_fid,
    "placement": judge_placement,
    "size": judge_size,
    "value": judge_value,
}
