# What Learnable Regions is given in miniature: edits of the drawn world, the ViT whose attention finds objects, the
# image-text model that leads edits, and the base's UNet grown to fill boxes. Of the supplement.


rule edits:
    input:
        code=code("gillnext.miniatures.world.edits"),
    output:
        edits=directory("<results>/supplement/regions/edits"),
    params:
        config=CONFIG,
        settings=settings("run.seed", "regions.edits"),
    log:
        "<results>/supplement/logs/edits.log",
    benchmark:
        "<results>/supplement/benchmarks/edits/all.tsv"
    message:
        "edits: pictures of the world, and what is asked of them"
    shell:
        "gillnext edits --config {params.config:q} --out {output.edits:q} > {log:q} 2>&1"


rule dino:
    input:
        code=code("gillnext.miniatures.dino"),
    output:
        model=directory("<results>/supplement/regions/dino"),
    params:
        config=CONFIG,
        settings=settings("run.seed", "run.device", "regions.dino", "regions.smooth", "regions.apart"),
    log:
        "<results>/supplement/logs/dino.log",
    benchmark:
        "<results>/supplement/benchmarks/dino/all.tsv"
    threads: cfg.regions.dino.threads
    resources:
        gpu=GPU,
    message:
        "dino: training the self-supervised ViT"
    shell:
        "gillnext dino --config {params.config:q} --out {output.model:q} > {log:q} 2>&1"


rule edit_clip:
    input:
        code=code("gillnext.miniatures.edit_clip"),
    output:
        model=directory("<results>/supplement/regions/clip"),
    params:
        config=CONFIG,
        settings=settings("run.seed", "run.device", "run.threads", "clip", "regions.clip", "regions.edits"),
    log:
        "<results>/supplement/logs/edit_clip.log",
    benchmark:
        "<results>/supplement/benchmarks/edit_clip/all.tsv"
    threads: cfg.regions.clip.threads
    resources:
        gpu=GPU,
    message:
        "edit_clip: training the image-text model that edits are led by"
    shell:
        "gillnext edit_clip --config {params.config:q} --out {output.model:q} > {log:q} 2>&1"


rule inpainting:
    input:
        base=model("base"),
        code=code("gillnext.miniatures.inpainting"),
    output:
        model=directory("<results>/supplement/regions/inpainting"),
    params:
        config=CONFIG,
        settings=settings("run.seed", "run.device", "regions.training", "regions.crop", "regions.side"),
    log:
        "<results>/supplement/logs/inpainting.log",
    benchmark:
        "<results>/supplement/benchmarks/inpainting/all.tsv"
    threads: cfg.regions.training.threads
    resources:
        gpu=GPU,
    message:
        "inpainting: training the base's UNet, grown to nine channels, to fill boxes"
    shell:
        "gillnext inpainting --config {params.config:q} --base {input.base:q} --out {output.model:q} > {log:q} 2>&1"
