# The spatial adapter: one cache for all arms, one run for every arm and seed.


rule cache:
    input:
        base=rules.base.output.model,
        layouts=expand("<results>/layouts/{part}.jsonl", part=PARTS),
        images=expand("<results>/images/{part}", part=PARTS),
        code=code("gillnext.adapter.cache"),
    output:
        cache=directory("<results>/cache"),
    params:
        config=CONFIG,
        settings=settings("run.threads", "run.device"),
    log:
        "<results>/logs/cache.log",
    benchmark:
        "<results>/benchmarks/cache/all.tsv"
    priority: 90
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "cache: encoding the annotated images and captions"
    shell:
        "gillnext cache --config {params.config:q} --base {input.base:q} --layouts {input.layouts:q} "
        "--out {output.cache:q} > {log:q} 2>&1"


rule adapter:
    input:
        base=rules.base.output.model,
        cache=rules.cache.output.cache,
        code=code("gillnext.adapter.train"),
    output:
        adapter=directory("<results>/adapters/{arm}/{seed}"),
    params:
        config=CONFIG,
        settings=settings("run", "adapter", "study.arms.{arm}"),
    log:
        "<results>/logs/adapter/{arm}-{seed}.log",
    benchmark:
        "<results>/benchmarks/adapter/{arm}-{seed}.tsv"
    priority: 80
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "adapter: training arm {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "gillnext adapter --config {params.config:q} --arm {wildcards.arm:q} --seed {wildcards.seed:q} "
        "--base {input.base:q} --cache {input.cache:q} --out {output.adapter:q} > {log:q} 2>&1"
