"""What each stage of the workflow makes, in the workflow's order: the jobs, their outputs, and what a stage needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gillnext.config.model import Config
from gillnext.release import shard_name
from gillnext.roles.sources import on_hub, unmade

CEILINGS = ("ceilings", "real")
CEILING_DISTANCES = ("ceilings/real.json", "ceilings/vae.json")
HELDOUT = ("val", "test", "relations")
SPLIT = [f"{name}.jsonl" for name in ("val", "test", "named", "relations", "reference")]  # beside the training layouts
SPLIT += ["prior.safetensors", "names.txt", "manifest.parquet", "counts.json"]
DRAWN = {"world", "heldout", "prior", "ceilings", "quality"}
REAL = {"fingerprint", "split", "names", "real", "tally", "beside"}
TOLD = (
    "quality", "tally", "ceilings", "real", "plan", "adapter", "curve", "memory", "score", "relations", "swapped",
    "beside", "distances", "distance",
)  # fmt: skip
# What finds objects in pictures; of the last two a run has one at most: the drawn world's, or that of cut-outs.
JUDGES = ("evaluator", "templates", "second_evaluator")
# rule -> the rules whose outputs its jobs read, in the workflow's order; of the drawn world or of a release
NEEDS: dict[str, tuple[str, ...]] = {
    "fetch": (),
    "world": (),
    "heldout": (),
    "prior": (),
    "classifier": (),
    "filter": ("world", "classifier"),
    "download": ("world", "filter"),
    "annotator": (),
    "annotate": ("download", "annotator"),
    "fingerprint": ("download", "annotate"),
    "split": ("annotate", "fingerprint"),
    "swap": ("heldout", "split"),
    "names": ("split", "classifier"),
    "tally": ("filter", "download", "annotate", "split"),
    "quality": ("world", "filter", "download", "annotate", "annotator", "classifier"),
    "vae": (),
    "text_encoder": (),
    "base_on_windows": ("vae", "text_encoder"),
    "base": ("vae", "text_encoder", "base_on_windows"),
    "evaluator": (),
    "features": (),
    "clip": (),
    "templates": (),
    "second_evaluator": (),
    "ceilings": ("heldout", "prior", "vae", *JUDGES, "features", "clip"),
    "real": ("download", "split", "names", "base", *JUDGES, "features", "clip"),
    "lite0": (),
    "distances": ("ceilings", "real", "lite0"),
    "planner": ("annotate", "split"),
    "plan": ("heldout", "annotate", "split", "planner"),
    "cache": ("download", "annotate", "split", "base"),
    "adapter": ("base", "cache"),
    "curve": ("heldout", "split", "names", "base", "evaluator", "adapter"),
    "memory": ("classifier", "base", "cache"),
    "sample": ("heldout", "split", "swap", "base", "plan", "adapter"),
    "score": (
        "prior", "split", "names", *JUDGES, "features", "clip", "ceilings", "real", "sample",
    ),
    "distance": ("lite0", "distances", "sample"),
    "relations": ("heldout", "split", "names", *JUDGES, "sample"),
    "swapped": ("prior", "split", "names", *JUDGES, "sample"),
    "beside": ("split", "names", *JUDGES, "features", "clip", "ceilings", "real", "sample"),
    "tables": TOLD,
    "claims": ("heldout", *TOLD),
}  # fmt: skip
# The same of each part of the supplement, which is a target of its own: beside them its rules need those of a run.
GILL: dict[str, tuple[str, ...]] = {
    "conversations": (),
    "language": ("conversations",),
    "conversation_planner": ("conversations",),
    "gill": ("conversations", "language", "clip", "base"),
    "album": ("conversations", "language", "clip", "gill"),
    "respond": ("conversations", "language", "clip", "gill", "base", "adapter", "conversation_planner"),
    "decide": (
        "conversations", "language", "clip", "gill", "album", "base", "adapter", "conversation_planner", *JUDGES,
    ),
    "gill_variant": ("conversations", "language", "clip", "base", "adapter"),
    "respond_variant": (
        "conversations", "language", "clip", "gill_variant", "base", "adapter", "conversation_planner",
    ),
    "converse_variant": ("conversations", "language", "clip", "gill_variant", "respond_variant", "evaluator"),
    "converse": ("conversations", "language", "clip", "gill", "respond", "decide", "evaluator"),
}  # fmt: skip
FRAMES: dict[str, tuple[str, ...]] = {
    "clips": (),
    "frames": ("clips",),
    "latents": ("clips", "frames", "base"),
    "pix2pix": ("latents", "base"),
    "edit_frames": ("clips", "frames", "latents", "pix2pix"),
    "edited": ("clips", "frames", "edit_frames", "evaluator", "features"),
}
REGIONS: dict[str, tuple[str, ...]] = {
    "edits": (),
    "dino": (),
    "edit_clip": (),
    "inpainting": ("base",),
    "regions": ("edits", "dino", "edit_clip", "inpainting", "base"),
    "regions_by_base": ("edits", "dino", "edit_clip", "base"),
    "region_scores": (
        "edits", "dino", "edit_clip", "inpainting", "regions", "regions_by_base", "evaluator", "features", "clip",
    ),
}  # fmt: skip
SUPPLEMENT = {"gill": GILL, "regions": REGIONS, "frames": FRAMES}
EVERY = {name: needs for rules in (NEEDS, *SUPPLEMENT.values()) for name, needs in rules.items()}
# Outputs of a part's rules, in its folder, where they are not named after their rule.
MADE = {
    "conversation_planner": "planner", "album": "index", "respond": "pictures", "decide": "decision",
    "converse": "gill.json", "edited": "frames.json", "edit_frames": "edits",
    "edits": "regions/edits", "dino": "regions/dino", "edit_clip": "regions/clip",
    "inpainting": "regions/inpainting", "regions": "regions/edited", "regions_by_base": "regions/edited_by_base",
    "region_scores": "regions.json",
}  # fmt: skip
# Of the others the command has their name.
COMMANDS = dict.fromkeys(("relations", "swapped", "beside"), "score") | {
    "distances": "distance", "conversation_planner": "planner", "album": "index", "gill_variant": "gill",
    "respond_variant": "respond", "converse_variant": "converse",
    "regions_by_base": "regions",
}  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """A rule of the workflow: its name, and the outputs of each of its jobs in the results folder."""

    name: str
    jobs: dict[str, list[str]] = field(default_factory=dict)

    @property
    def command(self) -> str:
        return COMMANDS.get(self.name, self.name)


def upstream(name: str) -> list[str]:
    """A rule and all that it needs, however indirectly, in the workflow's order."""
    found, todo = {name}, [name]
    while todo:
        todo += [one for one in EVERY[todo.pop()] if one not in found]
        found.update(todo)
    return [one for one in EVERY if one in found]


def _seeds(config: Config, arms: Iterable[str]) -> list[str]:
    """arm/seed of each of these arms."""
    return [f"{arm}/{seed}" for arm in arms for seed in config.study.seeds_of(arm)]


def _drawn(config: Config) -> dict[str, list[str]]:
    """split -> arm/seed of every set of pictures."""
    study = config.study
    arms = {"test": list(study.arms), "relations": study.end_to_end_arms, "swapped": study.swapped}
    drawn = {split: _seeds(config, of) for split, of in arms.items()}
    return drawn | {split: [f"{arm}/{study.seeds_of(arm)[0]}" for arm in study.arms] for split in config.beside}


def _outputs(config: Config) -> dict[str, dict[str, list[str]]]:
    """rule -> what tells its jobs apart ("" where there is one) -> outputs."""
    shards, parts, drawn = range(config.world.shards), [str(i) for i in range(config.world.parts)], _drawn(config)
    models = [
        "classifier",
        "annotator",
        "vae",
        "text_encoder",
        "base_on_windows",
        "base",
        "evaluator",
        "templates",
        "second_evaluator",
        "features",
        "clip",
    ]
    models += ["planner"]
    world = [f"world/shards/{shard_name(i)}" for i in shards] + [f"world/truth/{i}.parquet" for i in shards]
    return {
        **{model: {"": [f"models/{model}"]} for model in models},
        "fetch": {role: [f"given/{role}"] for role in on_hub(config.models)},
        "world": {"": [*world, "world/world.json"]},
        "heldout": {name: [f"world/heldout/{name}.jsonl"] for name in HELDOUT},
        "prior": {"": ["world/heldout/prior.safetensors"]},
        "swap": {"": [f"{'split' if config.world.release else 'world/heldout'}/swapped.jsonl"]},
        "filter": {part: [f"filtered/{part}.parquet", f"filtered/{part}.json"] for part in parts},
        "download": {part: [f"images/{part}", f"index/{part}.jsonl", f"index/{part}.json"] for part in parts},
        "annotate": {part: [f"layouts/{part}.jsonl", f"layouts/{part}.json"] for part in parts},
        "fingerprint": {part: [f"fingerprints/{part}.parquet", f"fingerprints/{part}.json"] for part in parts},
        "split": {"": [f"split/train/{part}.jsonl" for part in parts] + [f"split/{name}" for name in SPLIT]},
        "names": {"": ["names.tsv"]},
        **{rule: {"": ["scores/data.json"]} for rule in ("quality", "tally")},
        **{rule: {"": ["reference", *(f"scores/ceilings/{of}.json" for of in ("real", "vae"))]} for rule in CEILINGS},
        "plan": {"": ["plans/relations.jsonl", "plans/planner.json"]},
        "cache": {part: [f"cache/{part}"] for part in parts},
        "adapter": {name: [f"adapters/{name}"] for name in _seeds(config, config.study.trained)},
        "curve": {name: [f"curves/{name}"] for name in _seeds(config, config.study.trained)},
        "memory": {"": ["memory.json"]},
        "sample": {f"{name}/{split}": [f"samples/{name}/{split}"] for split, of in drawn.items() for name in of},
        "score": {name: [f"scores/{name}.json"] for name in drawn["test"]},
        "lite0": {"": ["models/lite0"]},
        "distances": {"": [f"distances/{name}" for name in ("real.safetensors", *CEILING_DISTANCES)]},
        "distance": {name: [f"distances/{name}.json"] for name in drawn["test"]},
        "relations": {name: [f"scores/relations/{name}.json"] for name in drawn["relations"]},
        "swapped": {name: [f"scores/swapped/{name}.json"] for name in drawn["swapped"]},
        "beside": {f"{name}/{of}": [f"scores/{of}/{name}.json"] for of in config.beside for name in drawn[of]},
        "claims": {"": ["claims/claims.json"]},
    }


def stages(config: Config, tables: Iterable[str] = (), names: bool = False) -> list[Stage]:
    """The stages that a run with these settings goes through, in order. `tables`: names of its table files; `names`:
    it has a table of names, which only evaluators need that find what they are asked for.
    """
    outputs = _outputs(config) | {"tables": {"": [f"tables/{name}" for name in sorted(tables)]}}
    absent = unmade(config.models) | ({"swap"} if not config.study.swapped else set())
    absent |= {"lite0", "distances", "distance"} if config.score.second_features == "none" else set()
    cut = not (config.world.release or config.world.drawn or "templates" in absent)
    absent |= {"templates" if cut else "second_evaluator"}
    absent |= (DRAWN if config.world.release else REAL) | (set() if names else {"names"})
    return [
        Stage(name, {f"{name} {job}".strip(): made for job, made in outputs[name].items()})
        for name in NEEDS
        if name not in absent and outputs[name]
    ]


def supplement(config: Config) -> list[Stage]:
    """The stages of the supplement's parts that these settings name, in order."""
    rules = [name for part in config.supplement.parts for name in SUPPLEMENT[part]]
    jobs = {name: {name: [f"supplement/{MADE.get(name, name)}"]} for name in rules}
    variants = {
        "gill_variant": "variants/{}/gill",
        "respond_variant": "variants/{}/pictures",
        "converse_variant": "gill-{}.json",
    }
    for name in variants.keys() & jobs.keys():
        jobs[name] = {f"{name} {of}": [f"supplement/{variants[name].format(of)}"] for of in config.supplement.variants}
    if "pix2pix" in jobs:
        jobs["pix2pix"] = {f"pix2pix {n}": [f"supplement/pix2pix/{n}"] for n in (config.frames.count, 1)}
    return [Stage(name, of) for name, of in jobs.items() if of]
