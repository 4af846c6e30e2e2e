# GILL-Next-CN: one workflow from raw caption shards to the paper.
#
#   snakemake --cores all                                     the demo tier, results/demo/paper/paper.pdf
#   snakemake --cores all --use-singularity                   the same in containers, results/demo-container/
#   snakemake --cores all --configfile config/smoke.yaml      every rule once, tiny
#   snakemake --cores all --config from_reference=reference/demo      the paper of a kept run, without training
#   snakemake -n                                              what would run, and why
#
# config.yaml says what is run (config/schema.json lists every key); profiles/default says how.


include: "workflow/rules/environment.smk"


configfile: source("config.yaml")


include: "workflow/rules/common.smk"


pathvars:
    results=RESULTS,
    run=RUN,


# Used with --use-singularity only; without it every rule runs in the environment of `make env`.
container: IMAGE


wildcard_constraints:
    arm="|".join(map(re.escape, ARMS)),
    seed=r"\d+",
    part=r"\d+",
    split="test|relations|swapped|people|published",
    heldout="|".join(HELDOUT),
    figure=r"\w+",


include: "workflow/rules/places.smk"
include: "workflow/rules/image.smk"
include: "workflow/rules/given.smk"
include: "workflow/rules/world.smk"
include: "workflow/rules/foundations.smk"
include: "workflow/rules/base.smk"
include: "workflow/rules/scorers.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/split.smk"
include: "workflow/rules/planner.smk"
include: "workflow/rules/adapter.smk"
include: "workflow/rules/memory.smk"
include: "workflow/rules/sample.smk"
include: "workflow/rules/score.smk"
include: "workflow/rules/distance.smk"
include: "workflow/rules/sets.smk"
include: "workflow/rules/release.smk"
include: "workflow/rules/inputs.smk"
include: "workflow/rules/gather.smk"
include: "workflow/rules/paper.smk"
include: "workflow/rules/verify.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/onstart.smk"


localrules:
    all,
    data,
    models,


rule all:
    default_target: True
    input:
        paper="<results>/paper/paper.pdf",
        tables="<results>/tables",
        claims="<results>/claims",
        cost="<results>/cost",
        hashes=HASHES,
        verified=VERIFIED,
        report="<results>/report.html",


# The models that play a role, of a tier that makes them all: `gillnext foundations` keeps or compares them.
rule models:
    input:
        models=lambda wildcards: [model(role)(wildcards) for role in ROLES if role != "planner"],


# The layouts alone, of a release whose boxes a person looks at before anything is trained.
rule data:
    input:
        layouts=expand("<results>/layouts/{part}.jsonl", part=PARTS),
        outcomes=expand("<results>/index/{part}.json", part=PARTS),
