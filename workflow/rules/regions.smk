# Learnable Regions: edits made in several ways, by two kinds of inpainting, and their scores. Of the supplement.

REGION_EYES = f"{RESULTS}/supplement/regions/dino" if cfg.regions.eyes == "made" else cfg.regions.eyes
REGION_WAYS = ["learned", "untrained", "random", "searched", "least", "centre", "whole", "true"]
REGION_BASE_WAYS = ["learned", "random", "centre", "whole", "true"]
REGION_SEEDS = cfg.regions.seeds


rule regions:
    input:
        edits=rules.edits.output.edits,
        base=model("base"),
        inpainting=rules.inpainting.output.model,
        eyes=REGION_EYES,
        clip=region_clip,
        code=code("gillnext.regions.stage"),
    output:
        edited=directory("<results>/supplement/regions/edited"),
    params:
        config=CONFIG,
        ways=REGION_WAYS,
        seeds=REGION_SEEDS,
        settings=settings("run", "regions"),
    log:
        "<results>/supplement/logs/regions.log",
    benchmark:
        "<results>/supplement/benchmarks/regions/all.tsv"
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "regions: editing by texts, nine channels"
    shell:
        "gillnext regions --config {params.config:q} --images {input.edits:q}/test/images "
        "--json {input.edits:q}/test/images.json --truth {input.edits:q}/test/truth.jsonl --base {input.base:q} "
        "--inpainting {input.inpainting:q} --eyes {input.eyes:q} --clip {input.clip:q} --ways {params.ways:q} "
        "--seeds {params.seeds:q} --out {output.edited:q} > {log:q} 2>&1"


rule regions_by_base:
    input:
        edits=rules.edits.output.edits,
        base=model("base"),
        eyes=REGION_EYES,
        clip=region_clip,
        code=code("gillnext.regions.stage"),
    output:
        edited=directory("<results>/supplement/regions/edited_by_base"),
    params:
        config=CONFIG,
        ways=REGION_BASE_WAYS,
        seeds=REGION_SEEDS,
        settings=settings("run", "regions"),
    log:
        "<results>/supplement/logs/regions_by_base.log",
    benchmark:
        "<results>/supplement/benchmarks/regions_by_base/all.tsv"
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "regions: editing by texts, the base's own four channels"
    shell:
        "gillnext regions --config {params.config:q} --images {input.edits:q}/test/images "
        "--json {input.edits:q}/test/images.json --truth {input.edits:q}/test/truth.jsonl --base {input.base:q} "
        "--eyes {input.eyes:q} --clip {input.clip:q} --ways {params.ways:q} --seeds {params.seeds:q} "
        "--out {output.edited:q} > {log:q} 2>&1"


rule region_scores:
    input:
        edits=rules.edits.output.edits,
        edited=rules.regions.output.edited,
        by_base=rules.regions_by_base.output.edited,
        eyes=REGION_EYES,
        leader=region_clip,
        inpainting=rules.inpainting.output.model,
        evaluator=model("evaluator"),
        features=model("features"),
        clip=model("image_text"),
        code=code("gillnext.regions.score"),
    output:
        scores="<results>/supplement/regions.json",
    params:
        config=CONFIG,
        settings=settings("run", "zero_shot", "regions"),
    log:
        "<results>/supplement/logs/region_scores.log",
    benchmark:
        "<results>/supplement/benchmarks/region_scores/all.tsv"
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "regions: scoring the edits against what was to change"
    shell:
        "gillnext region_scores --config {params.config:q} --edits {input.edits:q}/test --edited {input.edited:q} "
        "--edited-by-base {input.by_base:q} --eyes {input.eyes:q} --leader {input.leader:q} "
        "--inpainting {input.inpainting:q} --evaluator {input.evaluator:q} --features {input.features:q} "
        "--clip {input.clip:q} --out {output.scores:q} > {log:q} 2>&1"


rule region_pictures:
    input:
        edits=rules.edits.output.edits,
        edited=rules.regions.output.edited,
        by_base=rules.regions_by_base.output.edited,
        code=code("gillnext.regions.keep"),
    output:
        shown="<results>/supplement/regions.zip",
    log:
        "<results>/supplement/logs/region_pictures.log",
    benchmark:
        "<results>/supplement/benchmarks/region_pictures/all.tsv"
    message:
        "regions: the edits that the supplement shows"
    shell:
        "gillnext region_pictures --edits {input.edits:q}/test --edited {input.edited:q} "
        "--edited-by-base {input.by_base:q} --out {output.shown:q} > {log:q} 2>&1"
