# The memory comparison: ways to run the backward pass of one training step.


rule memory:
    input:
        base=rules.base.output.model,
        cache=rules.cache.output.cache,
        language=trained("classifier"),
        code=code("gillnext.memory.stage"),
    output:
        scores="<results>/memory.json",
    params:
        config=CONFIG,
        language=model("classifier"),
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
        "--language {params.language:q} --out {output.scores:q} > {log:q} 2>&1"
