# From caption shards to layouts, in world.parts jobs a stage: filter, download, annotate.


rule filter:
    input:
        shards=shards_of,
        model=model("classifier"),
        lexicon=cfg.filter.lexicon or [],
        code=code("gillnext.filter.stage"),
    output:
        table="<results>/filtered/{part}.parquet",
        counts="<results>/filtered/{part}.json",
    params:
        config=CONFIG,
        settings=settings("run.threads", "run.device", "filter", "world.parts"),
    log:
        "<results>/logs/filter/{part}.log",
    benchmark:
        "<results>/benchmarks/filter/{part}.tsv"
    priority: 60
    threads: cfg.run.threads * HANDS
    resources:
        gpu=GPU * HANDS,
    message:
        "filter: keeping the spatial captions of part {wildcards.part}"
    shell:
        "gillnext filter --config {params.config:q} --shards {input.shards:q} --model {input.model:q} "
        "--out {output.table:q} > {log:q} 2>&1"


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
        served=[] if RELEASE else ["gillnext", "serve", "--world", f"{RESULTS}/world", "--"],
        settings=settings("run.seed", "download", "world"),
    log:
        "<results>/logs/download/{part}.log",
    benchmark:
        "<results>/benchmarks/download/{part}.tsv"
    priority: 60
    resources:
        web=1,  # so that --resources web=4 lets no more than four parts ask the web at a time
    message:
        "download: fetching the images of part {wildcards.part}"
    shell:
        "{params.served:q} gillnext download --config {params.config:q} --table {input.table:q} "
        "--images {output.images:q} --out {output.index:q} > {log:q} 2>&1"


rule annotate:
    input:
        index="<results>/index/{part}.jsonl",
        images="<results>/images/{part}",
        model=model("annotator"),
        code=code("gillnext.annotate.stage"),
    output:
        layouts="<results>/layouts/{part}.jsonl",
        counts="<results>/layouts/{part}.json",
    params:
        config=CONFIG,
        settings=settings("run.threads", "run.device", "annotate", "zero_shot"),
    log:
        "<results>/logs/annotate/{part}.log",
    benchmark:
        "<results>/benchmarks/annotate/{part}.tsv"
    priority: 60
    threads: cfg.run.threads * HANDS
    resources:
        gpu=GPU * HANDS,
    message:
        "annotate: writing boxes for part {wildcards.part}"
    shell:
        "gillnext annotate --config {params.config:q} --index {input.index:q} --model {input.model:q} "
        "--out {output.layouts:q} > {log:q} 2>&1"


# What the data stages made of the demo's shards, against the world's truth.
rule quality:
    input:
        about="<results>/world/world.json",
        lexicon=cfg.filter.lexicon or [],
        truth=rules.world.output.truth,
        filtered=expand("<results>/filtered/{part}.parquet", part=PARTS),
        index=expand("<results>/index/{part}.jsonl", part=PARTS),
        images=expand("<results>/images/{part}", part=PARTS),
        layouts=expand("<results>/layouts/{part}.jsonl", part=PARTS),
        model=model("annotator"),
        classifier=model("classifier"),
        code=code("gillnext.miniatures.quality"),
    output:
        scores="<results>/scores/data.json",
    params:
        config=CONFIG,
        world=folder("world"),
        settings=settings("run.seed", "run.threads", "run.device", "world", "filter", "annotate", "zero_shot"),
    log:
        "<results>/logs/quality.log",
    benchmark:
        "<results>/benchmarks/quality/all.tsv"
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "quality: filter, download and annotation against the world's truth"
    shell:
        "gillnext quality --config {params.config:q} --world {params.world:q} --filtered {input.filtered:q} "
        "--index {input.index:q} --layouts {input.layouts:q} --model {input.model:q} "
        "--classifier {input.classifier:q} --out {output.scores:q} > {log:q} 2>&1"
