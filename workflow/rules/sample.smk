# Pictures for the held-out layouts, a job an arm, seed and split; and for validation layouts, by the snapshots of a training.


rule sample:
    input:
        base=rules.base.output.model,
        adapter=adapter_of,
        layouts=layouts_of,
        code=code("gillnext.sample.stage"),
    output:
        images=directory("<results>/samples/{arm}/{seed}/{split}"),
    params:
        config=CONFIG,
        adapter=lambda wildcards, input: (f"--adapter {input.adapter}" if input.adapter else ""),
        settings=settings(
            "run",
            "sample.steps",
            "sample.guidance",
            "sample.batch",
            "sample.caption_grid",
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
        "gillnext sample --config {params.config} --arm {wildcards.arm} --seed {wildcards.seed} "
        "--base {input.base} {params.adapter} --layouts {input.layouts} --out {output.images} > {log} 2>&1"


rule curve:
    input:
        base=rules.base.output.model,
        adapter=rules.adapter.output.adapter,
        val="<results>/world/heldout/val.jsonl",
        evaluator=rules.evaluator.output.model,
        code=code("gillnext.curve.stage"),
    output:
        curve=directory("<results>/curves/{arm}/{seed}"),
    params:
        config=CONFIG,
        settings=settings(
            "run",
            "sample.steps",
            "sample.guidance",
            "sample.batch",
            "sample.caption_grid",
            "guided",
            "curve",
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
        "gillnext curve --config {params.config} --arm {wildcards.arm} --seed {wildcards.seed} --base {input.base} "
        "--adapter {input.adapter} --val {input.val} --evaluator {input.evaluator} --out {output.curve} > {log} 2>&1"
