# The layout planner: caption to boxes.


rule planner:
    input:
        layouts=expand("<results>/layouts/{part}.jsonl", part=PARTS),
        code=code("gillnext.planner.train"),
    output:
        model=directory("<results>/models/planner"),
    params:
        config=CONFIG,
        settings=settings("run.seed", "run.threads", "run.device", "planner"),
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
        "gillnext planner --config {params.config} --layouts {input.layouts} --out {output.model} > {log} 2>&1"


rule plan:
    input:
        planner=rules.planner.output.model,
        heldout="<results>/world/heldout/relations.jsonl",
        train=expand("<results>/layouts/{part}.jsonl", part=PARTS),
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
        "gillnext plan --config {params.config} --planner {input.planner} --layouts {input.heldout} "
        "--train {input.train} --out {params.out} > {log} 2>&1"
