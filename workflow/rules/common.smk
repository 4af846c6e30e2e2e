# Helpers of the rules: checked settings, code a rule depends on, arms and seeds. No rules here.
import dataclasses
import functools
import re

from gillnext.config.load import from_dict, load
from gillnext.release import part_shards, shard_name
from gillnext.runtime import allocator, arithmetic, files, pretrained
from gillnext.runtime.errors import UserError
from gillnext.runtime.imports import UNFOLLOWED, closure
from gillnext.verify import kept

try:
    load(*workflow.configfiles, *workflow.overwrite_configfiles)  # errors name the file
    cfg = from_dict(config, "settings")  # and with --config KEY=VALUE on top
    if cfg.from_reference:  # a kept run's own settings, whatever stands in config.yaml by now
        cfg = kept.settings(Path(source(cfg.from_reference)), cfg.from_reference)
    else:
        for key, model in {"filter.model": cfg.filter.model, "annotate.model": cfg.annotate.model}.items():
            if model:
                pretrained.check(model, key, "mend the path before anything is downloaded")
    # From here on by its name: jobs are redone where it is another. A kept run's tables are made in any.
    named = "auto" if cfg.from_reference else cfg.run.arithmetic
    chosen = arithmetic.resolve(named, cfg.run.device, cfg.run.precision)
    cfg = dataclasses.replace(cfg, run=dataclasses.replace(cfg.run, arithmetic=chosen))
except UserError as error:
    raise WorkflowError(str(error)) from None

resolved = dataclasses.asdict(cfg)  # every setting with its value, as plain JSON
RESULTS = f"results/{cfg.run.tier}{'-reference' * bool(cfg.from_reference)}{'-container' * CONTAINED}"
# What the rules from the tables on read: this run's own results, or what was kept of one.
RUN = source(cfg.from_reference) if cfg.from_reference else RESULTS
# What the stages read; rules follow the sections that they name, not the file.
CONFIG = f"{RESULTS}/config.json"
GPU = int(cfg.run.device.startswith("cuda"))
HANDS = 1 if cfg.ray.address else max(cfg.ray.actors, 1)  # devices of a job whose model may live on several
ARMS = list(cfg.study.arms)
TRAINED = cfg.study.trained
END_TO_END = cfg.study.end_to_end_arms
DRAWN = {"test": ARMS, "relations": END_TO_END, "swapped": cfg.study.swapped}  # the arms that draw a split
HELDOUT = ["val", "test", "relations"]  # the sets of held-out layouts
SHARDS = range(cfg.world.shards)
PARTS = range(cfg.world.parts)
RELEASE = cfg.world.release  # real shards instead of the world's
if cfg.run.tier == "wukong" and not RELEASE:
    raise WorkflowError(
        "world.release names no folder of shards\n  remedy: a file of your own on top (docs/wukong.md)"
    )
SHOWN = list(dict.fromkeys([*cfg.study.shown_arms, cfg.study.reference]))
# A folder or hub id instead of our own.
GIVEN = {"classifier": cfg.filter.model, "annotator": cfg.annotate.model}

LOCK = files.sha256(source("envs/pipeline.txt"))[:16]
ENVIRONMENT = {"GILLNEXT_PARENT": str(os.getpid()), "GILLNEXT_LOCK": LOCK} | allocator.KEPT
ENVIRONMENT |= arithmetic.variables(cfg.run.arithmetic)
if SWITCHED_ON:
    named = [RELEASE, *GIVEN.values(), cfg.filter.lexicon, cfg.annotate.vocabulary]
    isolate(ENVIRONMENT, caches=f"{RESULTS}/.cache", given=named)
else:  # this interpreter's commands, no user site-packages
    bin = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    os.environ.update(ENVIRONMENT, PATH=bin, PYTHONNOUSERSITE="1")
# Snakemake sets these from --cores; results must depend on the settings alone.
shell.prefix(
    f"set -euo pipefail; export OMP_NUM_THREADS={cfg.run.threads} MKL_NUM_THREADS={cfg.run.threads} "
    f"OPENBLAS_NUM_THREADS={cfg.run.threads}; "
)


def settings(*paths):
    """`params` of a rule: the settings that its stage reads, so that only their change redoes its jobs.

    Paths are dotted and may hold wildcards: settings("adapter", "study.arms.{arm}"). Left out is what changes no job's
    results: how many seeds an arm has, how many links are asked at a time, what the planner is scored on; and attention
    guidance for arms without it. The arithmetic is every stage's.
    """
    unread = {"study.arms": ["seeds"], "download": ["concurrency", "per_host"], "planner": ["test"]}

    def value(path):
        found = functools.reduce(dict.__getitem__, path.split("."), resolved)
        without = next(
            (keys for place, keys in unread.items() if path == place or path.startswith(f"{place}.")), []
        )
        return {k: v for k, v in found.items() if k not in without} if isinstance(found, dict) else found

    def read(path, wildcards):
        return path != "guided" or cfg.study.arms[wildcards.arm].boxes == "guidance"

    return lambda wildcards: {
        path: value(path.format(**wildcards)) for path in ("run.arithmetic", *paths) if read(path, wildcards)
    }


def folder(name="", of=RESULTS):
    """`params` of a rule: a folder of this tier's results, or all of them."""
    return lambda wildcards: f"{of}/{name}".rstrip("/")


def everything(wildcards):
    """`params` of a rule whose stage quotes settings of any kind."""
    return resolved


def code(*modules):
    """`input.code` of a rule: the package's files that its stage imports, however indirectly, and the image that they run
    in.

    Left out: the configuration's modules (settings are followed by value), the command line (it names every stage). A
    module's name may hold wildcards.
    """
    if any("{" in module for module in modules):
        return lambda wildcards: code(*(module.format(**wildcards) for module in modules))
    try:
        found = {path for module in modules for path in closure(module, Path(source("src")), skip=UNFOLLOWED)}
    except (ModuleNotFoundError, SyntaxError) as error:
        raise WorkflowError(f"code of {', '.join(modules)}: {error}") from None
    return [*sorted(map(str, found)), *image()]


def trained(role):
    """The workflow's own model for a role; nothing where the settings give another."""
    return [] if GIVEN[role] else [f"{RESULTS}/models/{role}"]


def model(role):
    """`params` of a rule: the folder or hub id of the model that plays a role."""
    return lambda wildcards: GIVEN[role] or f"{RESULTS}/models/{role}"


def shards_of(wildcards):
    """The shards of one part."""
    folder = RELEASE or f"{RESULTS}/world/shards"
    return [f"{folder}/{shard_name(i)}" for i in part_shards(cfg.world, int(wildcards.part))]


def adapter_of(wildcards):
    """The trained adapter of an arm and seed; nothing for the base alone."""
    return [f"{RESULTS}/adapters/{wildcards.arm}/{wildcards.seed}"] if wildcards.arm in TRAINED else []


def layouts_of(wildcards):
    """The held-out layouts of a split: drawn by the world, or planned from captions."""
    planned = wildcards.split == "relations"
    return f"{RESULTS}/{'plans' if planned else 'world/heldout'}/{wildcards.split}.jsonl"


def runs(pattern, arms, seeds=None):
    """`pattern` for every arm of `arms` and each of its seeds, or the first few."""
    return [pattern.format(arm=arm, seed=seed) for arm in arms for seed in cfg.study.seeds_of(arm)[:seeds]]
