# The memory comparison: ways to run the backward pass of one training step.


rule memory:
    input:
        base=model("base"),
        cache=expand("<results>/cache/{part}", part=PARTS),
        language=model("classifier"),
        code=code("gillnext.memory.stage"),
    output:
        scores="<results>/memory.json",
    params:
        config=CONFIG,
        settings=settings("run", "memory", "adapter", "study.reference", f"study.arms.{cfg.study.reference}"),
    log:
        "<results>/logs/memory.log",
    benchmark:
        "<results>/benchmarks/memory/all.tsv"
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "memory: measuring summed, split, accumulated and checkpointed backward"
    shell:
        "gillnext memory --config {params.config:q} --base {input.base:q} --cache {input.cache:q} "
        "--language {input.language:q} --out {output.scores:q} > {log:q} 2>&1"
