"""Claims about GPUs' memory and time, on made-up records: both sides of each bar, and what a run lacks."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from fake_results import copy_arm, gathered, put
from scipy.stats import t as student

from gillnext.claims.costs import fits, whole_unet
from gillnext.claims.stage import judge, read_claims
from gillnext.claims.verdicts import Word, conjunction
from gillnext.config.load import from_dict
from gillnext.record.results import Results

SOURCE = Path(__file__).parents[2] / "reference" / "claims.yaml"
RULES = {claim.id: claim for claim in read_claims(SOURCE)}
GIVEN = {
    "base": "/models/Kolors",
    "annotator": "/models/Qwen2-VL-7B-Instruct",
    "classifier": "/models/Qwen2.5",
}
FULL = {"unet_lr": 1e-5, "times_adapter_steps": 2}
ARMS = {"base": {"site": "none"}, "attn1": {"site": "attn1"}, "attn2": {}, "full": FULL}


def at_size(seeds=(0, 1, 2), models=GIVEN, arms=ARMS, tier="wukong", **sections):
    sections = {"annotate": {"backend": "auto"}} | sections
    study = {"reference": "attn2", "seeds": list(seeds), "arms": arms}
    return from_dict({"run": {"tier": tier, "device": "cuda"}, "study": study, "models": models, **sections})


@pytest.fixture
def root(results_root):
    copy_arm(results_root, "attn2", "full")
    return results_root


def found(root, config, claim):
    return judge(RULES[claim], gathered(root, config))


def train(root, arm, seconds, gigabytes):
    for seed, (s, gb) in enumerate(zip(seconds, gigabytes, strict=True)):
        about = {"parameters": 365_465, "gpu": {"seconds": s, "bytes": round(gb * 1e9), "name": "a GPU"}}
        put(root / f"adapters/{arm}/{seed}/training.json", about)


def annotated(root, *paces, kind="annotation_pace"):
    """Parts of a data stage, each (GPUs, items a second of all of them)."""
    path = root / "scores/data.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    parts = {str(i): {"devices": n, "items": 1000, "seconds": 1000 / rate} for i, (n, rate) in enumerate(paces)}
    put(path, data | {"breakdown": data.get("breakdown", {}) | {kind: parts}})


def remember(root, **changes):
    path = root / "memory.json"
    memory = json.loads(path.read_text(encoding="utf-8"))
    modes = changes.pop("modes", {})
    for mode, values in modes.items():
        memory["modes"][mode] |= values
    put(path, memory | {"size": "kolors", "precision": "bf16", "batch": 1, "accounting": "torch.cuda"} | changes)


def test_a_claim_of_parts_falls_with_one_and_stands_with_all():
    assert conjunction([1, 1]) == Word.REPRODUCED and conjunction([1, -1, 0]) == Word.CONTRADICTED
    assert conjunction([1, 0]) == conjunction([1, 0], unmeasured=True) == Word.NOT_SHOWN
    assert conjunction([1], unmeasured=True) == Word.MEASURED
    assert conjunction([-1], unmeasured=True) == Word.CONTRADICTED


def test_a_gigabyte_has_two_meanings_and_between_them_nothing_is_decided():
    assert [fits(size, 18) for size in (18e9, 18e9 + 1, 18 * 2**30, 18 * 2**30 + 1)] == [1, 0, 0, -1]


# C19: what training holds at Kolors' size


@pytest.mark.parametrize(
    ("split", "checkpointed", "word"),
    [
        (20.9, 14.9, Word.REPRODUCED),
        (22.6, 14.9, Word.CONTRADICTED),
        (20.9, 16.2, Word.CONTRADICTED),
        (21.5, 14.9, Word.NOT_SHOWN),  # more than 21 GB, not more than 21 GiB
    ],
)
def test_training_memory_is_held_against_both_sizes(root, split, checkpointed, word):
    """5 GB of weights, a step's peak, and three copies of 50 million trained numbers of four bytes: 0.6 GB."""
    sizes = {"split": split, "checkpointed": checkpointed}
    modes = {
        mode: {"static_bytes": 5e9, "peak_bytes": gb * 1e9 - 5.6e9, "trained_parameters": 50_000_000}
        for mode, gb in sizes.items()
    }
    remember(root, modes=modes)
    verdict = found(root, at_size(), "C19")
    assert verdict.word == word
    assert verdict.measured == f"split {split} GB; checkpointed {checkpointed} GB"
    less = found(root, at_size(adapter={"ema": 0.0}), "C19")  # by one copy
    assert less.measured == f"split {split - 0.2:.1f} GB; checkpointed {checkpointed - 0.2:.1f} GB"


def test_training_memory_is_stated_at_no_other_size_and_in_no_mode_that_was_not_run(root):
    other = found(root, at_size(), "C19")
    assert other.word == Word.NOT_HERE and "memory.size: kolors" in other.reason
    remember(root)
    path = root / "memory.json"
    memory = json.loads(path.read_text(encoding="utf-8"))
    del memory["modes"]["checkpointed"]
    put(path, memory)
    absent = found(root, at_size(), "C19")
    assert absent.word == Word.NOT_RUN and "'checkpointed'" in absent.reason


# C10: an adapter against the whole UNet


def paired_interval(values):
    values = np.asarray(values)
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return values.mean(), values.mean() - half, values.mean() + half


def test_cheaper_training_is_told_by_quotients_over_seeds(root):
    ours, theirs, small, large = [0.50, 0.52, 0.51], [1.20, 1.22, 1.19], [20.0, 20.2, 20.1], [60.0, 60.1, 60.3]
    train(root, "attn2", ours, small)
    train(root, "full", theirs, large)
    verdict = found(root, at_size(), "C10")
    mean, low, high = np.exp(paired_interval(np.log(theirs) - np.log(ours)))
    assert verdict.measured.startswith(f"a step {mean:.2f}× ({low:.2f} to {high:.2f}) as fast; GPU memory −66.")
    saved, least, most = (1 - 1 / np.exp(v) for v in paired_interval(np.log(large) - np.log(small)))
    assert verdict.measured.endswith(f"GPU memory −{100 * saved:.1f}% (−{100 * least:.1f}%, −{100 * most:.1f}%)")
    assert verdict.word == Word.REPRODUCED and "attn2 against full, trainings paired over 3 seeds" in verdict.reason


@pytest.mark.parametrize(
    ("times", "gigabytes", "word"),
    [
        (2.1, 50.3, Word.REPRODUCED),
        (1.9, 50.3, Word.CONTRADICTED),
        (2.1, 49.7, Word.CONTRADICTED),  # 20 of 49.7: −59.8%
        (2.0, 50.3, Word.NOT_SHOWN),  # the interval holds the bar
    ],
)
def test_cheaper_needs_time_and_memory(root, times, gigabytes, word):
    train(root, "attn2", [1.0, 1.0, 1.0], [20, 20, 20])
    train(root, "full", [times - 0.02, times, times + 0.02], [gigabytes] * 3)
    assert found(root, at_size(), "C10").word == word


def test_one_seed_of_trainings_decides_nothing(root):
    train(root, "attn2", [1.0, 1.0, 1.0], [20, 20, 20])
    train(root, "full", [4.0], [80])
    one = at_size(arms=ARMS | {"full": FULL | {"seeds": 1}})
    verdict = found(root, one, "C10")
    assert verdict.word == Word.NOT_SHOWN and verdict.reason.endswith("one seed decides nothing")
    assert verdict.measured == "a step 4.00× as fast; GPU memory −75.0%"


@pytest.mark.parametrize(
    ("seconds", "trained", "word"),
    [
        (2.1, 2_000_000_000, Word.REPRODUCED),
        (1.9, 2_000_000_000, Word.NOT_SHOWN),  # its optimiser's step is not in it
        (2.1, 500_000_000, Word.CONTRADICTED),
    ],
)
def test_without_such_trainings_a_step_at_kolors_size_decides(root, seconds, trained, word):
    """(5 + 7 + 12 × 0.05) GB against (5 + 7 + 12 × 2) GB, −65%; or against (5 + 7 + 12 × 0.5) GB, −30%."""
    same = {"static_bytes": 5e9, "peak_bytes": 7e9}
    modes = {"single": same | {"seconds": 1.0, "trained_parameters": 50_000_000}}
    modes["full"] = same | {"seconds": seconds, "trained_parameters": trained}
    remember(root, modes=modes)
    verdict = found(root, at_size(tier="gpu", models={}), "C10")
    larger = 12 + 12 * trained / 1e9
    saved = f"memory −{100 * (1 - 12.6 / larger):.1f}% ({larger:.1f} → 12.6 GB)"
    assert verdict.word == word and verdict.measured == f"forward and backward {seconds:.2f}× as fast; {saved}"


@pytest.mark.parametrize("without", ["base", "full", "seconds", "one card"])
def test_where_neither_is_there_bytes_are_told_without_a_verdict(root, without):
    train(root, "attn2", [1.0] * 3, [20] * 3)
    if without != "seconds":
        train(root, "full", [4.0] * 3, [80] * 3)
    config = {
        "base": at_size(models={}),
        "full": at_size(arms={name: arm for name, arm in ARMS.items() if name != "full"}),
        "seconds": at_size(),
        "one card": at_size(adapter={"processes": 2, "sharding": "zero2"}),  # the full arm's weights are divided
    }[without]
    verdict = found(root, config, "C10")
    assert verdict.word == Word.MEASURED and verdict.measured.startswith("bytes held, three UNet forwards −57.9%")
    assert "a verdict needs trainings of both on GPUs" in verdict.reason


def test_the_whole_unets_arm_is_the_reference_arm_but_for_what_costs_no_step():
    assert whole_unet(Results("nowhere", at_size())) == "full"
    longer = ARMS | {"full": {"site": "attn1", "unet_lr": 1e-5}, "whole": {"unet_lr": 1e-6, "lr": 1e-3, "seeds": 1}}
    assert whole_unet(Results("nowhere", at_size(arms=longer))) == "whole"
    assert whole_unet(Results("nowhere", at_size(arms=ARMS | {"full": {"bias": "box", "unet_lr": 1e-5}}))) is None


# C6: gradients divided among three cards

DIVIDED = {"processes": 3, "sharding": "zero2", "batch": 6}


@pytest.mark.parametrize(
    ("gigabytes", "word"), [(17.9, Word.MEASURED), (18.5, Word.NOT_SHOWN), (19.4, Word.CONTRADICTED)]
)
def test_bytes_a_card_are_held_against_the_claim_and_the_speed_stays_open(root, gigabytes, word):
    train(root, "full", [2.0, 2.1, 2.2], [17, gigabytes, 17])
    verdict = found(root, at_size(adapter=DIVIDED), "C6")
    assert verdict.word == word and verdict.measured.startswith(f"{gigabytes} GB a card; 2.10 ± 0.25 s a step of 6")
    assert "its speed on one card is not in this run" in verdict.reason


@pytest.mark.parametrize(
    ("changes", "lacks"),
    [
        ({"models": {}}, "a given base"),
        ({"arms": {name: arm for name, arm in ARMS.items() if name != "full"}}, "an arm that trains the UNet"),
        ({"adapter": DIVIDED | {"sharding": "none"}}, "adapter.sharding: zero2"),
        ({"adapter": DIVIDED | {"processes": 2, "batch": 4}}, "3 processes"),
        ({"adapter": DIVIDED | {"batch": 12}}, "2 pictures a card"),
    ],
)
def test_what_a_divided_training_lacks_is_named(root, changes, lacks):
    train(root, "full", [2.0] * 3, [17] * 3)
    verdict = found(root, at_size(**({"adapter": DIVIDED} | changes)), "C6")
    assert verdict.word == Word.NOT_HERE and verdict.reason.startswith(f"needs {lacks}")
    assert ";" not in verdict.reason.removesuffix("; trainings on GPUs, which tell their bytes")


def test_a_divided_training_that_tells_no_bytes_is_named(root):
    verdict = found(root, at_size(adapter=DIVIDED), "C6")
    assert verdict.reason == "needs trainings on GPUs, which tell their bytes"


# C13: three GPUs against one


def welch(first, second):
    """(mean, low, high) of log first − log second: Welch's interval with Satterthwaite's degrees of freedom."""
    a, b = np.log(first), np.log(second)
    va, vb = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    freedom = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
    half = student.ppf(0.975, freedom) * math.sqrt(va + vb)
    return a.mean() - b.mean(), a.mean() - b.mean() - half, a.mean() - b.mean() + half


def parts(cards, *rates):
    return [(cards, rate) for rate in rates]


@pytest.mark.parametrize(
    ("filter_", "annotation", "word"),
    [
        ([31, 31.2, 31.1], [2.6, 2.62, 2.61], Word.REPRODUCED),
        ([28, 28.2, 28.1], [2.6, 2.62, 2.61], Word.CONTRADICTED),
        ([31, 31.2, 31.1], [2.3, 2.32, 2.31], Word.CONTRADICTED),
        ([31, 31.2, 31.1], [2.2, 2.9, 2.5], Word.NOT_SHOWN),
        ([40], [4], Word.NOT_SHOWN),
    ],
)
def test_a_speed_up_needs_both_stages(root, filter_, annotation, word):
    one, one_too = [10.0, 10.1, 9.9], [1.0, 1.01, 0.99]
    annotated(root, *parts(1, *one), *parts(3, *filter_), *parts(2, 99), kind="filter_pace")
    annotated(root, *parts(1, *one_too), *parts(3, *annotation))
    verdict = found(root, at_size(), "C13")
    assert verdict.word == word
    if len(filter_) > 1:
        mean, low, high = np.exp(welch(filter_, one))
        assert verdict.measured.startswith(f"filter {mean:.2f}× ({low:.2f} to {high:.2f}), parts 3 and 3; annotation ")
    else:
        assert verdict.measured.startswith("filter 4.00×, parts 1 and 3; annotation 4.00×")


def test_what_a_speed_up_lacks_is_named_for_each_stage(root):
    nothing = found(root, at_size(models={}), "C13")
    assert nothing.word == Word.NOT_HERE and "filter by a given model (models.classifier)" in nothing.reason
    assert "annotation by a given model (models.annotator)" in nothing.reason
    annotated(root, *parts(1, 10, 11), *parts(3, 30, 31), kind="filter_pace")
    annotated(root, *parts(3, 3, 4))
    assert found(root, at_size(), "C13").reason == "needs parts of annotation that 1 GPU did (ray.actors)"


# C14: images a second


@pytest.mark.parametrize(
    ("one", "three", "word"),
    [
        ([5.1, 5.2, 5.15], [15.3, 15.6, 15.4], Word.MEASURED),
        ([4.8, 4.9, 4.85], [], Word.CONTRADICTED),
        ([5.6, 5.7, 5.65], [14.6, 14.7, 14.65], Word.CONTRADICTED),
        ([4.0, 6.0, 5.5], [], Word.NOT_SHOWN),
        ([9.0], [], Word.NOT_SHOWN),
    ],
)
def test_an_annotation_rate_is_held_against_its_bars_but_for_how_busy_gpus_are(root, one, three, word):
    annotated(root, *parts(1, *one), *parts(3, *three))
    verdict = found(root, at_size(), "C14")
    assert verdict.word == word and "how busy GPUs are is not measured" in verdict.reason
    assert verdict.reason.startswith("Qwen2-VL-7B-Instruct; wanted ≥ 5 a card")
    each = [*one, *(rate / 3 for rate in three)]
    assert (
        verdict.measured.startswith(f"{np.mean(each):.2f}") and f"images/s a card, {len(each)} part" in verdict.measured
    )
    assert ("on 3, 3 parts" in verdict.measured) == bool(three)
    assert ("no part was annotated on 3 GPUs" in verdict.reason) == (not three)


@pytest.mark.parametrize(
    ("changes", "paces", "lacks"),
    [
        ({"models": {}}, True, "a given vision-language annotator (models.annotator)"),
        ({"annotate": {"backend": "zero-shot"}}, True, "a given vision-language annotator (models.annotator)"),
        ({}, False, "parts that GPUs annotated"),
    ],
)
def test_what_an_annotation_rate_lacks_is_named(root, changes, paces, lacks):
    if paces:
        annotated(root, *parts(1, 6, 7))
    verdict = found(root, at_size(**changes), "C14")
    assert verdict.word == Word.NOT_HERE and verdict.reason == f"needs {lacks}"


def test_in_miniature_none_of_it_is_judged_whatever_was_measured(root):
    annotated(root, *parts(1, 6, 7))
    train(root, "full", [2.0] * 3, [17] * 3)
    config = at_size(tier="demo", adapter=DIVIDED)
    verdicts = {claim: found(root, config, claim) for claim in ("C6", "C13", "C14", "C17", "C19")}
    assert {verdict.word for verdict in verdicts.values()} == {Word.NOT_HERE}
    assert verdicts["C14"].reason == "needs a GPU and Qwen2-VL's weights"
