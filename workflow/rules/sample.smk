# Pictures for the held-out layouts, a job an arm, seed and split; and for validation layouts, by the snapshots of a training.


rule sample:
    input:
        base=model("base"),
        adapter=adapter_of,
        layouts=layouts_of,
        code=code("gillnext.sample.stage"),
    output:
        images=directory("<results>/samples/{arm}/{seed}/{split}"),
    params:
        config=CONFIG,
        adapter=lambda wildcards, input: ["--adapter", *input.adapter] if input.adapter else [],
        settings=settings(
            "run",
            "sample.steps",
            "sample.guidance",
            "sample.batch",
            "sample.caption_grid",
            "sample.size",
            "guided",
            "study.arms.{arm}",
        ),
    log:
        "<results>/logs/sample/{arm}-{seed}-{split}.log",
    benchmark:
        "<results>/benchmarks/sample/{arm}-{seed}-{split}.tsv"
    priority: 70
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "sample: drawing the {wildcards.split} layouts with arm {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "gillnext sample --config {params.config:q} --arm {wildcards.arm:q} --seed {wildcards.seed:q} "
        "--base {input.base:q} {params.adapter:q} --layouts {input.layouts:q} --out {output.images:q} > {log:q} 2>&1"


rule curve:
    input:
        base=model("base"),
        adapter=rules.adapter.output.adapter,
        val=heldout("val.jsonl"),
        evaluator=model("evaluator"),
        names=names,
        code=code("gillnext.curve.stage"),
    output:
        curve=directory("<results>/curves/{arm}/{seed}"),
    params:
        config=CONFIG,
        names=named,
        settings=settings(
            "run",
            "sample.steps",
            "sample.guidance",
            "sample.batch",
            "sample.caption_grid",
            "sample.size",
            "guided",
            "curve",
            "zero_shot",
            "study.arms.{arm}",
        ),
    log:
        "<results>/logs/curve/{arm}-{seed}.log",
    benchmark:
        "<results>/benchmarks/curve/{arm}-{seed}.tsv"
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "curve: box fidelity over the training of arm {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "gillnext curve --config {params.config:q} --arm {wildcards.arm:q} --seed {wildcards.seed:q} "
        "--base {input.base:q} --adapter {input.adapter:q} --val {input.val:q} --evaluator {input.evaluator:q} {params.names:q} "
        "--out {output.curve:q} > {log:q} 2>&1"
