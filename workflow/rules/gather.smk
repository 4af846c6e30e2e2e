# What a run is told by: the scores and trainings of every job in tidy tables, and the pictures that the paper shows; the
# benchmark files of every job; the whole runs at hand of this tier.
import shlex

WHOLE_RUNS = [name for name in [source(f"reference/runs/{cfg.run.tier}.csv")] if Path(name).is_file()]


def whole_runs(wildcards):
    """`params` of a rule: the option that names the table of whole runs, where the tier has one."""
    return "".join(f"--runs {shlex.quote(name)}" for name in WHOLE_RUNS)


def scores():
    """Every score file."""
    names = runs("scores/{arm}/{seed}", ARMS) + runs("scores/relations/{arm}/{seed}", END_TO_END)
    names += runs("scores/swapped/{arm}/{seed}", cfg.study.swapped)
    names += ["scores/ceilings/real", "scores/ceilings/vae", "scores/data", "plans/planner", "memory"]
    return [f"{RESULTS}/{name}.json" for name in names]


def benchmarks():
    """The benchmark file of every job up to the result tables: what the cost tables are made of."""
    if cfg.from_reference:
        return [f"{RUN}/jobs.parquet"]
    jobs = [
        "world",
        *["swap"] * bool(cfg.study.swapped),
        "prior",
        "evaluator",
        "templates",
        "features",
        "clip",
        "vae",
        "text",
        "base",
        "planner",
        "plan",
        "cache",
    ]
    jobs += ["memory", "ceilings", "quality", "gather", "tables", "claims", "figures"]
    jobs += [role for role in ("classifier", "annotator") if trained(role)]
    names = [f"{job}/all" for job in jobs]
    names += expand("heldout/{heldout}", heldout=HELDOUT)
    names += expand("{job}/{part}", job=["filter", "download", "annotate"], part=PARTS)
    names += runs("adapter/{arm}-{seed}", TRAINED) + runs("curve/{arm}-{seed}", TRAINED)
    names += runs("score/{arm}-{seed}", ARMS)
    for split, arms in DRAWN.items():
        names += runs(f"sample/{{arm}}-{{seed}}-{split}", arms)
        names += runs(f"{split}/{{arm}}-{{seed}}", arms) if split != "test" else []
    return [f"{RUN}/benchmarks/{name}.tsv" for name in names]


# What the rules from the tables on read: this run's own record, or a kept one's.
RECORD = ["<run>/scores.parquet", "<run>/curves.parquet", "<run>/protocols.json", "<run>/memory.json"]


rule gather:
    input:
        image=image(),
        scores=scores(),
        histories=runs("<results>/adapters/{arm}/{seed}", TRAINED),
        curves=runs("<results>/curves/{arm}/{seed}", TRAINED),
        pictures=runs("<results>/samples/{arm}/{seed}/test", SHOWN, 1),
        real="<results>/reference",
        code=code("gillnext.record.gather"),
    output:
        scores="<results>/scores.parquet",
        curves="<results>/curves.parquet",
        protocols="<results>/protocols.json",
        pictures="<results>/pictures.zip",
    params:
        config=CONFIG,
        results=folder(),
        settings=everything,
    log:
        "<results>/logs/gather.log",
    benchmark:
        "<results>/benchmarks/gather/all.tsv"
    threads: 1
    resources:
        mem_mb=1000,
    message:
        "gather: scores and trainings into tidy tables"
    shell:
        "gillnext gather --config {params.config} --results {params.results} > {log} 2>&1"
