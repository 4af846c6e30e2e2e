# From caption shards to layouts, in world.parts jobs a stage: filter, download, annotate.


rule filter:
    input:
        shards=shards_of,
        model=trained("classifier"),
        lexicon=cfg.filter.lexicon or [],
        code=code("gillnext.filter.stage"),
    output:
        table="<results>/filtered/{part}.parquet",
        counts="<results>/filtered/{part}.json",
    params:
        config=CONFIG,
        model=model("classifier"),
        settings=settings("run.threads", "run.device", "filter", "world.parts"),
    log:
        "<results>/logs/filter/{part}.log",
    benchmark:
        "<results>/benchmarks/filter/{part}.tsv"
    priority: 60
    threads: cfg.run.threads * HANDS
    resources:
        mem_mb=1500,
        gpu=GPU * HANDS,
    message:
        "filter: keeping the spatial captions of part {wildcards.part}"
    shell:
        "gillnext filter --config {params.config} --shards {input.shards} --model {params.model} "
        "--out {output.table} > {log} 2>&1"


rule download:
    input:
        table="<results>/filtered/{part}.parquet",
        world=[] if RELEASE else rules.world.output.about,
        truth=[] if RELEASE else rules.world.output.truth,
        code=code("gillnext.download.stage", *[] if RELEASE else ["gillnext.miniatures.world.serve"]),
    output:
        images=directory("<results>/images/{part}"),
        index="<results>/index/{part}.jsonl",
        outcomes="<results>/index/{part}.json",
    params:
        config=CONFIG,
        served="" if RELEASE else f"gillnext serve --world {RESULTS}/world -- ",
        settings=settings("run.seed", "download", "world"),
    log:
        "<results>/logs/download/{part}.log",
    benchmark:
        "<results>/benchmarks/download/{part}.tsv"
    priority: 60
    resources:
        mem_mb=2000,
        web=1,  # so that --resources web=4 lets no more than four parts ask the web at a time
    message:
        "download: fetching the images of part {wildcards.part}"
    shell:
        "{params.served}gillnext download --config {params.config} --table {input.table} "
        "--images {output.images} --out {output.index} > {log} 2>&1"


rule annotate:
    input:
        index="<results>/index/{part}.jsonl",
        images="<results>/images/{part}",
        model=trained("annotator"),
        code=code("gillnext.annotate.stage"),
    output:
        layouts="<results>/layouts/{part}.jsonl",
        counts="<results>/layouts/{part}.json",
    params:
        config=CONFIG,
        model=model("annotator"),
        settings=settings("run.threads", "run.device", "annotate"),
    log:
        "<results>/logs/annotate/{part}.log",
    benchmark:
        "<results>/benchmarks/annotate/{part}.tsv"
    priority: 60
    threads: cfg.run.threads * HANDS
    resources:
        mem_mb=2000,
        gpu=GPU * HANDS,
    message:
        "annotate: writing boxes for part {wildcards.part}"
    shell:
        "gillnext annotate --config {params.config} --index {input.index} --model {params.model} "
        "--out {output.layouts} > {log} 2>&1"
