# Helpers of the rules: checked settings, code a rule depends on, arms and seeds. No rules here.
import dataclasses
import functools
import re

from gillnext.config.load import from_dict, load
from gillnext.instruments import families
from gillnext.release import part_shards, shard_name
from gillnext.roles import checkpoints, sources
from gillnext.roles.sources import ROLES
from gillnext.runtime import allocator, arithmetic, files, gpus, launch
from gillnext.runtime.errors import UserError
from gillnext.runtime.imports import UNFOLLOWED, closure
from gillnext.verify import kept

try:
    load(*workflow.configfiles, *workflow.overwrite_configfiles)  # errors name the file
    cfg = from_dict(config, "settings")  # and with --config KEY=VALUE on top
    if cfg.from_reference:  # a kept run's own settings, whatever stands in config.yaml by now
        cfg = kept.settings(Path(source(cfg.from_reference)), cfg.from_reference)
    named = dict.fromkeys(ROLES, sources.MADE) if cfg.from_reference else dataclasses.asdict(cfg.models)
    SOURCES = {role: sources.read(role, value, source("reference/models")) for role, value in named.items()}
    for role, found in SOURCES.items():
        if found.path:  # before anything long begins
            checkpoints.check(role, found.path)
    for judge in ("evaluator", "second_evaluator"):
        if SOURCES["annotator"].path and SOURCES[judge].path:
            families.refuse_same(SOURCES["annotator"].path, SOURCES[judge].path, f"models.{judge}")
    if not cfg.from_reference:
        launch.check(cfg, CONTAINED)
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
HANDS = gpus.hands(cfg)  # devices of a job whose model may live on several
ARMS = list(cfg.study.arms)
TRAINED = cfg.study.trained
END_TO_END = cfg.study.end_to_end_arms
DRAWN = {"test": ARMS, "relations": END_TO_END, "swapped": cfg.study.swapped}  # the arms that draw a split
HELDOUT = ["val", "test", "relations"]  # the sets of held-out layouts
SHARDS = range(cfg.world.shards)
PARTS = range(cfg.world.parts)
RELEASE = cfg.world.release  # real shards instead of the world's
# Cut-outs that scenes are made of count as code of the stages that make scenes; the drawn world has neither them nor
# settings of its own.
MADE_OF = [key for key in ("objects", "size") if getattr(cfg.world, key) != getattr(type(cfg.world)(), key)]
CUTOUTS = [] if RELEASE or cfg.from_reference or "objects" not in MADE_OF else cutouts(cfg.world.objects)
if cfg.run.tier == "wukong" and not RELEASE:
    raise WorkflowError(
        "world.release names no folder of shards\n  remedy: a file of your own on top (docs/wukong.md)"
    )
needed = [role for role in ROLES if role != "planner" and getattr(cfg.models, role) in sources.OWN]
if cfg.run.tier == "wukong" and needed:
    raise WorkflowError(
        f"models.{needed[0]}: made here, of drawn scenes alone\n"
        f"  remedy: name checkpoints (docs/roles.md) for {', '.join(needed)}"
    )
SHOWN = list(dict.fromkeys([*cfg.study.shown_arms, cfg.study.reference]))
UNMADE = sources.unmade(cfg.models)  # rules that are not in the graph
FETCHED = [role for role, found in SOURCES.items() if found.hub]

LOCK = files.sha256(source("envs/pipeline.txt"))[:16]
ENVIRONMENT = {"GILLNEXT_PARENT": str(os.getpid()), "GILLNEXT_LOCK": LOCK} | allocator.KEPT
ENVIRONMENT |= arithmetic.variables(cfg.run.arithmetic)
if SWITCHED_ON:
    named = [
        RELEASE,
        CUTOUTS and cfg.world.objects,
        *(found.path for found in SOURCES.values()),
        cfg.filter.lexicon,
        cfg.annotate.vocabulary,
        cfg.annotate.names,
        cfg.annotate.labels,
        cfg.zero_shot.names,
        cfg.split.manifest,
        cfg.split.published,
    ]
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
    results: how many seeds an arm has, how many links are asked at a time, what the planner is scored on, how far batches
    are drawn ahead; and attention guidance for arms without it. The arithmetic is every stage's.
    """
    unread = {"study.arms": ["seeds"], "download": ["concurrency", "per_host"], "planner": ["test"]}
    unread |= {"adapter": ["prefetch", "timeout"], "annotate": ["labels"], "split": ["published"]}
    unread |= {"world": [key for key in ("objects", "size") if key not in MADE_OF]}
    every = ["run.arithmetic", *(f"world.{key}" for key in MADE_OF)]

    def value(path):
        found = functools.reduce(dict.__getitem__, path.split("."), resolved)
        without = next(
            (keys for place, keys in unread.items() if path == place or path.startswith(f"{place}.")), []
        )
        return {k: v for k, v in found.items() if k not in without} if isinstance(found, dict) else found

    def read(path, wildcards):
        return path != "guided" or cfg.study.arms[wildcards.arm].boxes == "guidance"

    return lambda wildcards: {
        path: value(path.format(**wildcards)) for path in (*every, *paths) if read(path, wildcards)
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
    scenes = CUTOUTS if any(path.match("miniatures/world/objects.py") for path in found) else []
    return [*sorted(map(str, found)), *scenes, *image()]
