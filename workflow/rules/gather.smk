# What the tables of results and of costs are made of: the score and benchmark files of every job, and the whole runs at
# hand of this tier. No rules here.
import shlex

WHOLE_RUNS = [name for name in [source(f"reference/runs/{cfg.run.tier}.csv")] if Path(name).is_file()]


def whole_runs(wildcards):
    """`params` of a rule: the option that names the table of whole runs, where the tier has one."""
    return "".join(f"--runs {shlex.quote(name)}" for name in WHOLE_RUNS)


def scores():
    """Every score file: what the result tables are made of."""
    names = runs("scores/{arm}/{seed}", ARMS) + runs("scores/relations/{arm}/{seed}", END_TO_END)
    names += runs("scores/swapped/{arm}/{seed}", cfg.study.swapped)
    names += ["scores/ceilings/real", "scores/ceilings/vae", "scores/data", "plans/planner", "memory"]
    return [f"{RUN}/{name}.json" for name in names]


def benchmarks():
    """The benchmark file of every job up to the result tables: what the cost tables are made of."""
    if cfg.from_reference:
        return tree(f"{cfg.from_reference}/benchmarks")
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
    jobs += ["memory", "ceilings", "quality", "tables", "claims", "figures"]
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
