"""What the hashes go through is what the workflow's rules make."""

import dataclasses
import re
from pathlib import Path

from gillnext.cli import STAGES
from gillnext.config.load import from_dict, load
from gillnext.config.model import Score
from gillnext.config.models import Models
from gillnext.config.supplement import Supplement, Variant
from gillnext.roles.sources import ROLES
from gillnext.verify.inventory import EVERY, NEEDS, REAL, SUPPLEMENT, Stage, stages, supplement, upstream

ROOT = Path(__file__).parents[2]
# Made of scores alone, after the tables: costs, drawings, and what compares.
AFTER = {"gather", "figure", "cost", "paper", "html", "hashes", "verify"} | {
    "illustrate",
    "storyboard",
    "region_pictures",
    "supplement",
    "supplement_hashes",
}


def blocks():
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        for block in re.split(r"\n(?= *(?:use )?rule )", path.read_text(encoding="utf-8")):
            if (name := re.match(r" *(?:use rule \w+ as|rule) (\w+)", block)) and "code=code(" in block:
                yield name[1], block


def test_every_rule_that_makes_values_is_hashed_and_every_stage_has_a_command():
    assert EVERY.keys() == {name for name, _ in blocks()} - AFTER
    assert len(EVERY) == sum(map(len, (NEEDS, *SUPPLEMENT.values())))
    assert {Stage(name).command for name in EVERY} <= STAGES.keys()


def test_the_outputs_are_those_of_the_rules():
    """Each output in a rule's text, with wildcards as anything, is one of its stage's, and the other way round."""
    config = dataclasses.replace(load(ROOT / "config.yaml", ROOT / "config/study.yaml"), models=Models())
    config = dataclasses.replace(config, score=Score(second_features="efficientnet-lite0"))
    config = dataclasses.replace(config, supplement=Supplement(variants={"images-2": Variant(images=2)}))
    release = dataclasses.replace(config.world, release="shards")
    given = dataclasses.replace(config, models=Models(classifier="org/name @ main"), world=release)  # all the others
    cut = dataclasses.replace(config, world=dataclasses.replace(config.world, objects="build/photos"))
    found = [stage for one in (config, cut) for stage in stages(one, ["main.json"])]
    found += [*stages(given, ["main.json"], names=True), *supplement(config)]
    made: dict[str, list[str]] = {}
    for stage in found:
        made.setdefault(stage.name, []).extend(out for job in stage.jobs.values() for out in job)
    for name, block in blocks():
        if name in AFTER | {"tables", "claims", "swap"}:  # where the swapped layouts lie hangs on whose scenes they are
            continue
        declared = re.findall(r'<results>/([^"]+)"', block.split("output:")[1].split("log:")[0])
        assert declared, name
        patterns = [re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(one))) for one in declared]
        assert all(any(p.fullmatch(out) for p in patterns) for out in made[name]), name
        assert all(any(p.fullmatch(out) for out in made[name]) for p in patterns), name


def test_a_stage_needs_what_its_rule_reads():
    """By the results that the rules' inputs name, and functions of places.smk that name them."""
    folders = {
        "models/": None, "world/heldout/": "heldout", "world/": "world", "filtered/": "filter", "index/": "download",
        "images/": "download", "layouts/": "annotate", "plans/": "plan", "cache": "cache", "adapters/": "adapter",
        "curves/": "curve", "samples/": "sample", "fingerprints/": "fingerprint", "split/": "split",
        "reference": "ceilings", "models/lite0": "lite0", "distances/": "distances",
    }  # fmt: skip
    calls = {"layouts_of": "heldout", "train_layouts": "annotate", "autoencoder": "vae"}
    for name, block in blocks():
        if name in AFTER or name == "swap":
            continue
        read = block.split("output:")[0]
        found = set(re.findall(r"rules\.(\w+)\.output", read))
        found |= {ROLES[role].made for role in re.findall(r'model\("(\w+)"\)', read)} - {name}
        found |= {stage for call, stage in calls.items() if re.search(rf"\b{call}\b", read)}
        for file in re.findall(r'heldout\("([\w.]+)"\)', read):
            drawn = "prior" if file == "prior.safetensors" else "heldout"
            found.add("split" if name in REAL else drawn)
        for place in re.findall(r'<(?:results|run)>/([^"]+)"', read):
            found |= {stage for prefix, stage in folders.items() if stage and place.startswith(prefix)} - (
                {"world"} if "heldout" in place else set()
            )
        assert found <= set(EVERY[name]), name


def test_upstream_is_the_transitive_closure():
    def reach(name):
        return {name}.union(*(reach(one) for one in NEEDS[name]))

    assert all(set(upstream(name)) == reach(name) for name in NEEDS)
    assert upstream("base") == ["vae", "text_encoder", "base_on_windows", "base"]
    order = list(NEEDS)
    assert all(order.index(need) < order.index(name) for name in NEEDS for need in NEEDS[name])


def test_models_that_are_given_and_splits_that_nothing_draws_are_left_out():
    config = from_dict({"models": {"classifier": "Qwen/Qwen2.5-7B-Instruct @ main"}})
    found = {stage.name: stage for stage in stages(config, ["main.json"])}
    names = set(found)
    assert found["fetch"].jobs == {"fetch classifier": ["given/classifier"]}
    assert "split" not in names and "fingerprint" not in names  # of a release alone
    assert "classifier" not in names and "swap" not in names and "swapped" not in names and "annotator" in names
