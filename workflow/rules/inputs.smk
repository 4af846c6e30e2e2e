# Inputs of the rules that tell of a run: score and benchmark files, its record, the whole runs at hand. No rules here.

FIGURES = [path.stem for path in sorted(Path(source("src/gillnext/paper/figures")).glob("[!_]*.py"))]
SECOND_KID = cfg.score.second_features != "none"
WHOLE_RUNS = [name for name in [source(f"reference/runs/{cfg.run.tier}.csv")] if Path(name).is_file()]


def whole_runs(wildcards):
    """`params` of a rule: the option that names the table of whole runs, where the tier has one."""
    return ["--runs", *WHOLE_RUNS] if WHOLE_RUNS else []


def scores():
    """Every score file."""
    names = runs("scores/{arm}/{seed}", ARMS) + runs("scores/relations/{arm}/{seed}", END_TO_END)
    names += runs("scores/swapped/{arm}/{seed}", cfg.study.swapped)
    names += [name for split in cfg.beside for name in runs(f"scores/{split}/{{arm}}/{{seed}}", ARMS, 1)]
    names += ["scores/ceilings/real", "scores/ceilings/vae", "scores/data", "plans/planner", "memory"]
    if SECOND_KID:
        names += runs("distances/{arm}/{seed}", ARMS) + ["distances/ceilings/real", "distances/ceilings/vae"]
    return [f"{RESULTS}/{name}.json" for name in names]


def benchmarks():
    """The benchmark file of every job up to the result tables: what the cost tables are made of."""
    if cfg.from_reference:
        return [f"{RUN}/jobs.parquet"]
    drawn = ["world", *["swap"] * bool(cfg.study.swapped), "prior"]
    jobs = ["split", *["swap"] * bool(cfg.study.swapped)] if RELEASE else drawn
    made = ["evaluator", "templates", "features", "clip", "vae", "text_encoder", "base", "planner"]
    made = [
        MADE_BY.get("second_evaluator", job) if job == "templates" else job
        for job in made
        if job not in UNMADE
    ]
    jobs += made + ["plan", "memory", "real" if RELEASE else "ceilings"]
    jobs += ["tally" if RELEASE else "quality", "gather", "tables", "claims"]
    jobs += [role for role in ("classifier", "annotator") if role not in UNMADE]
    names = [f"{job}/all" for job in jobs]
    names += [] if RELEASE else expand("heldout/{heldout}", heldout=HELDOUT)
    by_part = ["filter", "download", "annotate", *["fingerprint"] * bool(RELEASE), "cache"]
    names += expand("{job}/{part}", job=by_part, part=PARTS)
    names += expand("figure/{figure}", figure=FIGURES)
    names += runs("adapter/{arm}-{seed}", TRAINED) + runs("curve/{arm}-{seed}", TRAINED)
    names += runs("score/{arm}-{seed}", ARMS)
    names += ["lite0/all", "distances/all", *runs("distance/{arm}-{seed}", ARMS)] if SECOND_KID else []
    for split, arms in DRAWN.items():
        names += runs(f"sample/{{arm}}-{{seed}}-{split}", arms)
        names += runs(f"{split}/{{arm}}-{{seed}}", arms) if split != "test" else []
    for split in cfg.beside:
        for job in ("sample", "beside"):
            names += runs(f"{job}/{{arm}}-{{seed}}-{split}", ARMS, 1)
    return [f"{RUN}/benchmarks/{name}.tsv" for name in names]


# What the rules from the tables on read: this run's own record, or a kept one's.
RECORD = ["<run>/scores.parquet", "<run>/curves.parquet", "<run>/protocols.json", "<run>/memory.json"]
# What was measured on one GPU at Kolors' real size (docs/gpu.md): claims' second verdicts, and a table.
ON_GPU = [source(f"reference/measured/{name}.json") for name in ("kolors", "language")]
# How far scores move with seed and noise in the drawn world (docs/variance.md): a table.
VARIANCE = [] if RELEASE else [source("reference/measured/variance.json")]
# A kept run whose pictures show other objects: claims' second verdicts by another world.
WORLDS = ["reference/photos"] if cfg.world.drawn else ["reference/study", "reference/demo"]
OTHER_WORLD = [] if RELEASE else [source(name) for name in WORLDS if Path(source(name)).is_dir()][:1]
