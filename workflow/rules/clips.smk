# Clips for InstructPix2Pix over frames: made, written as a dataset, encoded once.


rule clips:
    input:
        code=code("gillnext.miniatures.world.clips"),
    output:
        clips=directory("<results>/supplement/clips"),
    params:
        config=CONFIG,
        settings=settings("run.seed", "frames.clips"),
    log:
        "<results>/supplement/logs/clips.log",
    benchmark:
        "<results>/supplement/benchmarks/clips/all.tsv"
    message:
        "clips: objects that drop, are covered, move on"
    shell:
        "gillnext clips --config {params.config:q} --out {output.clips:q} > {log:q} 2>&1"


rule frames:
    input:
        clips=rules.clips.output.clips,
        code=code("gillnext.frames.dataset"),
    output:
        data=directory("<results>/supplement/frames"),
    params:
        config=CONFIG,
        settings=settings("frames.count", "frames.broken"),
    log:
        "<results>/supplement/logs/frames.log",
    benchmark:
        "<results>/supplement/benchmarks/frames/all.tsv"
    message:
        "frames: writing clips and instructions as a dataset"
    shell:
        "gillnext frames --config {params.config:q} --clips {input.clips:q} --out {output.data:q} > {log:q} 2>&1"


rule latents:
    input:
        data=rules.frames.output.data,
        clips=rules.clips.output.clips,
        base=model("base"),
        code=code("gillnext.frames.latents"),
    output:
        latents=directory("<results>/supplement/latents"),
    params:
        config=CONFIG,
        settings=settings(
            "run.seed",
            "run.threads",
            "run.device",
            "frames.count",
            "frames.broken",
            "frames.variants",
            "frames.flip",
            "frames.crop",
        ),
    log:
        "<results>/supplement/logs/latents.log",
    benchmark:
        "<results>/supplement/benchmarks/latents/all.tsv"
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "latents: encoding all frames once"
    shell:
        "gillnext latents --config {params.config:q} --data {input.data:q} --clips {input.clips:q} --base {input.base:q} "
        "--out {output.latents:q} > {log:q} 2>&1"
