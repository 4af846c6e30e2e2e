"""A results tree with made-up scores, for the tests of tables, claims, figures and paper. Nothing in it was
measured.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gillnext import layouts
from gillnext.config import Config
from gillnext.config.load import from_dict
from gillnext.layouts import Layout
from gillnext.miniatures.world import captions, scenes
from gillnext.record import gather
from gillnext.record.results import Results
from gillnext.score.strata import KINDS

IMAGES = 16
SEEDS = [0, 1, 2]
SETTINGS = {
    "run": {"tier": "demo"},
    "study": {
        "reference": "attn2",
        "seeds": SEEDS,
        "arms": {"base": {"site": "none"}, "attn1": {"site": "attn1"}, "attn2": {"site": "attn2"}},
    },
}
PROTOCOL = {
    "extractor": "made-up_network 100%",
    "resize": "none",
    "rules": "templates of colour and shape, nothing learned",
}
LEVELS = {"base": 0.05, "attn1": 0.80, "attn2": 0.86}


def put(path: Path, value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def score(name: str, level: float, rng: np.random.Generator, boxes: list[int]) -> dict:
    """A score file around a success level, with every metric that the real ones have."""
    hits = [int(rng.binomial(n, level)) for n in boxes]
    metrics = {
        "success50": level + rng.normal(0, 0.01), "miou": 0.8 * level + rng.normal(0, 0.01),
        "ap": 0.5 * level, "ap50": 0.9 * level, "wrong_class": 0.02 + rng.uniform(0, 0.01),
        "chance_success50": 0.03 + rng.uniform(0, 0.01), "chance_miou": 0.15, "clip_score": 70 + 5 * level,
        "fid": 20 - 10 * level + rng.normal(0, 1), "kid": 20 - 15 * level + rng.normal(0, 0.5),
        "kid_se": 1.0, "cmmd": 3 - 2 * level, "rules_success50": 0.95 * level, "rules_miou": 0.7 * level,
        "rules_chance_success50": 0.02, "rules_chance_miou": 0.12, "o_miou": 0.2 * level, "chance_o_miou": 0.01,
        "miou_migc": 0.85 * level, "miou_lgs": 0.7 * level, "miou_overlaybench": 0.82 * level, "ap_voc": 0.88 * level,
        "shown": 0.5 + 0.5 * level, "chance_shown": 0.2, "rules_shown": 0.4 + 0.5 * level, "rules_chance_shown": 0.1,
    }  # fmt: skip
    breakdown = {
        "objects": {k: {"n": 9, "success50": level} for k in "123"},
        "class": {k: {"n": 9, "success50": level * rng.uniform(0.7, 1)} for k in ("树", "猫", "鱼")},
    }
    parts = {name: [part for part in kind.parts if part != "> 0.1"] for name, kind in KINDS.items()}
    strata = {"n": 9, "success50": level, "miou": 0.8 * level, "intervals": {"miou": [0.7 * level, 0.9 * level]}}
    breakdown |= {name: {part: strata for part in of} for name, of in parts.items()}
    chance = {name: {part: {"n": 45, "success50": 0.06, "miou": 0.1} for part in of} for name, of in parts.items()}
    return {
        "name": name, "arm": name.split("/")[0], "seed": 0, "n": len(boxes), "metrics": metrics,
        "counts": {"o_miou": 7}, "intervals": {"o_miou": [0.1 * level, 0.3 * level]},
        "breakdown": breakdown, "chance_breakdown": chance,
        "fid_by_n": {str(n): 40 / n + 20 - 10 * level for n in (4, 8, 16)},
        "per_image": {"boxes": boxes, "hits": hits, "iou": [0.8 * h for h in hits]},
        "protocol": PROTOCOL, "hashes": {}, "provenance": {},
    }  # fmt: skip


def pictures(folder: Path, rows: list[Layout], rng: np.random.Generator, real: bool) -> None:
    folder.mkdir(parents=True)
    for i in range(len(rows)):
        pixels = scenes.render(scenes.sample(1, "test", i)) if real else rng.integers(0, 255, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:05d}.png")
    layouts.write(folder / "layouts.jsonl", rows)


def rows() -> list[Layout]:
    found = []
    for i in range(IMAGES):
        scene = scenes.sample(1, "test", i)
        caption = captions.naming(scene, np.random.default_rng(i))
        found.append(Layout(caption, tuple(scene.names), tuple(o.box for o in scene.objects), str(i), f"{i:05d}.png"))
    return found


def benchmarks(root: Path) -> None:
    header = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time"
    for rule, job, line in [
        ("world", "all", "12.5\t0:00:12\t210.50\t900\t200\t205\t0\t0\t95.0\t11.8"),
        ("adapter", "attn1_0", "60.0\t0:01:00\t1500.00\t4000\t1400\t1450\t0\t0\t99.0\t59.0"),
        ("adapter", "attn2_0", "58.0\t0:00:58\t1510.00\t4000\t1400\t1450\t0\t0\t99.0\t57.0"),
        ("tables", "all", "0.9\t0:00:00\tNA\tNA\tNA\tNA\tNA\tNA\tNA\tNA"),
    ]:
        path = root / "benchmarks" / rule / f"{job}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{header}\n{line}\n", encoding="utf-8")


def memory_family(modes: dict[str, tuple[int, int]]) -> dict:
    rows = {
        m: {"saved_bytes": b, "peak_bytes": b + 1000, "static_bytes": 24_000_000, "peak_rss_bytes": 2 * b,
            "seconds": 0.3, "losses": k, "trained_parameters": 5_800_000 if m == "full" else 260_000}
        for m, (b, k) in modes.items()
    }  # fmt: skip
    traced = [m for m in ("summed", "split", "checkpointed") if m in modes]
    trace = {m: [[0.5, modes[m][0] + 1000], [1.0, 1_000_000]] for m in traced}
    return {"modes": rows, "trace": trace, "batch": 16}


def memory(root: Path) -> None:
    modes = {
        "summed": (3 * 40_000_000, 3), "split": (40_000_000, 3), "accumulated": (21_000_000, 3),
        "checkpointed": (60_000_000, 3), "single": (40_000_000, 1), "full": (95_000_000, 1),
    }  # fmt: skip
    gill = {
        "summed": (50_000_000, 3), "split": (42_000_000, 3), "accumulated": (22_000_000, 3),
        "checkpointed": (15_000_000, 3), "single": (40_000_000, 1),
    }  # fmt: skip
    matched = {"summed": (12_000_000, 3), "split": (6_000_000, 3), "single": (6_000_000, 1)}
    put(root / "memory.json", {
        **memory_family(modes),
        "parameters": {"adapter": 260_000, "unet": 5_800_000},
        "max_gradient_difference": {"split": 1.3e-7, "accumulated": 2.1e-7, "checkpointed": 0.0},
        "gill": memory_family(gill) | {
            "parameters": {"trained": 1_300_000, "frozen": 6_000_000},
            "max_gradient_difference": {"split": 1.1e-7, "accumulated": 0.41, "checkpointed": 0.0},
            "tasks": {"captioning": 6_000_000, "retrieval": 4_000_000, "generation": 40_000_000},
        },
        "gill_l2": memory_family(matched) | {"max_gradient_difference": {"split": 1.0e-7}},
        "additivity": {"infonce": 0.6, "denoising": 4e-7},
        "size": "base", "precision": "no", "accounting": "live tensors", "threads": 1, "provenance": {},
    })  # fmt: skip


def redraw(root: Path, draw: int, shifts: dict[str, float] | None = None) -> None:
    """Score every arm anew, as seeds of another run would; `shifts` moves the level of an arm."""
    rng, boxes = (
        np.random.default_rng([5, draw]),
        [len(row.names) for row in layouts.read(root / "world/heldout/test.jsonl")],
    )
    for arm, level in LEVELS.items():
        for seed in SEEDS:
            put(
                root / f"scores/{arm}/{seed}.json",
                score(f"{arm}/{seed}", level + (shifts or {}).get(arm, 0), rng, boxes),
            )


def build(root: Path) -> Path:
    """Write the tree under `root`."""
    rng, test = np.random.default_rng(5), rows()
    boxes = [len(row.names) for row in test]
    layouts.write(root / "world" / "heldout" / "test.jsonl", test)
    for arm, level in LEVELS.items():
        for seed in SEEDS:
            put(root / f"scores/{arm}/{seed}.json", score(f"{arm}/{seed}", level, rng, boxes))
            pictures(root / f"samples/{arm}/{seed}/test", test, rng, real=False)
            if arm != "base":
                curve = [
                    {"step": s, "miou": level * s / 700, "success50": level * s / 600 + rng.normal(0, 0.01)}
                    for s in range(100, 700, 100)
                ]
                put(root / f"curves/{arm}/{seed}/curve.json", curve)
                put(root / f"adapters/{arm}/{seed}/losses.json", (0.25 + rng.exponential(0.02, 600)).tolist())
                put(root / f"adapters/{arm}/{seed}/training.json", {"parameters": 365_465})
                for norms in ("gradient_norms", "position_net_norms"):
                    put(root / f"adapters/{arm}/{seed}/{norms}.json", [1.5, 0.9 + 0.1 * seed])
    for seed in SEEDS:
        metrics = {"relation_accuracy": 0.8 + 0.01 * seed, "object_recall": 0.95, "n_relations": 31,
                   "rules_relation_accuracy": 0.6 + 0.01 * seed}  # fmt: skip
        put(root / f"scores/relations/attn2/{seed}.json", {"n": 24, "metrics": metrics, "protocol": {}})
    for name, level in (("real", 0.99), ("vae", 0.97)):
        put(root / f"scores/ceilings/{name}.json", score(name, level, rng, boxes))
    pictures(root / "reference" / "real", test, rng, real=True)
    planner = {
        "validity_unconstrained": 0.97, "validity_constrained": 1.0, "spatial_accuracy": 0.93,
        "count_accuracy": 0.98, "miou": 0.41, "random_spatial_accuracy": 0.48,
        "retrieval_spatial_accuracy": 0.81,
    }  # fmt: skip
    put(root / "plans/planner.json", {"n": 300, "metrics": planner, "protocol": {}})
    data = {
        "filter_precision": 0.97, "filter_recall": 0.94, "filter_label_accuracy": 0.95,
        "download_alive": 0.88, "annotation_miou": 0.86, "annotation_recall": 0.93, "annotation_wrong": 0.01,
        "annotation_oom_survived": 0.98, "annotation_oom_survived_plain": 0.31,
        "requests_saved": 0.95, "bytes_filter_first": 7654321.0, "spatial_share_before": 0.05,
        "spatial_share_after": 0.97,
    }  # fmt: skip
    counts = {key: 4000 + i for i, key in enumerate(data)}
    put(root / "scores/data.json", {"n": 4321, "metrics": data, "counts": counts, "protocol": {}})
    memory(root)
    benchmarks(root)
    put(root / "config.json", dataclasses.asdict(from_dict(SETTINGS)))
    return root


def copy_arm(root: Path, arm: str, name: str) -> None:
    """Another arm with the scores and trainings of one that there is."""
    for kind in ("scores", "adapters", "curves"):
        shutil.copytree(root / kind / arm, root / kind / name)


def gathered(root: Path, config: Config) -> Results:
    """The tree's scores as they are now, gathered; without pictures."""
    return gather.tables(config, root)


@pytest.fixture
def config() -> Config:
    return from_dict(SETTINGS)


@pytest.fixture
def results_root(tmp_path: Path, config: Config) -> Path:
    root = build(tmp_path / "results of a fake run")
    gather.gather(config, root)
    return root
