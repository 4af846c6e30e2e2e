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
        "gillnext planner --config {params.config:q} --layouts {input.layouts:q} --out {output.model:q} > {log:q} 2>&1"


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
        "gillnext plan --config {params.config:q} --planner {input.planner:q} --layouts {input.heldout:q} "
        "--train {input.train:q} --out {params.out:q} > {log:q} 2>&1"
