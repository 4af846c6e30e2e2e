# The layout planner: caption to boxes.


rule planner:
    input:
        layouts=[train_layouts(part) for part in PARTS],
        given=model("planner") if SOURCES["planner"].given else [],
        code=code("gillnext.planner.train"),
    output:
        model=directory("<results>/models/planner"),
    params:
        config=CONFIG,
        given=lambda wildcards, input: ["--from", str(input.given)] if input.given else [],
        settings=settings("run.seed", "run.threads", "run.device", "run.precision", "planner"),
    log:
        "<results>/logs/planner.log",
    benchmark:
        "<results>/benchmarks/planner/all.tsv"
    priority: 60
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "planner: training on the annotated layouts"
    shell:
        "gillnext planner --config {params.config:q} --layouts {input.layouts:q} {params.given:q} --out {output.model:q} "
        "> {log:q} 2>&1"


rule plan:
    input:
        planner=rules.planner.output.model,
        heldout=heldout("relations.jsonl"),
        train=[train_layouts(part) for part in PARTS],
        code=code("gillnext.planner.stage"),
    output:
        layouts="<results>/plans/relations.jsonl",
        scores="<results>/plans/planner.json",
    params:
        config=CONFIG,
        out=folder("plans"),
        settings=settings("run.seed", "run.threads", "run.device", "planner.test"),
    log:
        "<results>/logs/plan.log",
    benchmark:
        "<results>/benchmarks/plan/all.tsv"
    priority: 20
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "plan: planning layouts for the held-out captions"
    shell:
        "gillnext plan --config {params.config:q} --planner {input.planner:q} --layouts {input.heldout:q} "
        "--train {input.train:q} --out {params.out:q} > {log:q} 2>&1"
