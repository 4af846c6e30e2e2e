# The spatial adapter: one cache for all arms, a job a part of the rows; one run for every arm and seed.


rule cache:
    input:
        base=model("base"),
        layouts=train_layouts(),
        images="<results>/images/{part}",
        code=code("gillnext.adapter.encode"),
    output:
        cache=directory("<results>/cache/{part}"),
    params:
        config=CONFIG,
        settings=settings("run.threads", "run.device", "run.precision", "cache", "adapter.slots"),
    log:
        "<results>/logs/cache/{part}.log",
    benchmark:
        "<results>/benchmarks/cache/{part}.tsv"
    priority: 90
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "cache: encoding the annotated images and captions of part {wildcards.part}"
    shell:
        "gillnext cache --config {params.config:q} --base {input.base:q} --layouts {input.layouts:q} "
        "--out {output.cache:q} > {log:q} 2>&1"


rule adapter:
    input:
        base=model("base"),
        cache=expand("<results>/cache/{part}", part=PARTS),
        code=code("gillnext.adapter.train"),
    output:
        adapter=directory("<results>/adapters/{arm}/{seed}"),
    params:
        config=CONFIG,
        settings=settings("run", "adapter", "study.arms.{arm}"),
        launch=launch.words(cfg),
    log:
        "<results>/logs/adapter/{arm}-{seed}.log",
    benchmark:
        "<results>/benchmarks/adapter/{arm}-{seed}.tsv"
    priority: 80
    threads: launch.cpus(cfg)
    resources:
        **launch.resources(cfg.adapter, GPU),
    message:
        "adapter: training arm {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "{params.launch:q} gillnext adapter --config {params.config:q} --arm {wildcards.arm:q} --seed {wildcards.seed:q} "
        "--base {input.base:q} --cache {input.cache:q} --out {output.adapter:q} > {log:q} 2>&1"
