# InstructPix2Pix over frames: two trainings, what they draw of test clips, its scores, and the pictures that are shown.


rule pix2pix:
    input:
        latents=rules.latents.output.latents,
        base=model("base"),
        code=code("gillnext.frames.train"),
    output:
        model=directory("<results>/supplement/pix2pix/{frames}"),
    params:
        config=CONFIG,
        settings=settings(
            "run",
            "frames.training",
            "frames.count",
            "frames.broken",
            "frames.variants",
            "frames.flip",
            "frames.crop",
        ),
    log:
        "<results>/supplement/logs/pix2pix/{frames}.log",
    benchmark:
        "<results>/supplement/benchmarks/pix2pix/{frames}.tsv"
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "pix2pix: training on {wildcards.frames} frames of each clip"
    shell:
        "gillnext pix2pix --config {params.config:q} --latents {input.latents:q} --base {input.base:q} "
        "--frames {wildcards.frames:q} --out {output.model:q} > {log:q} 2>&1"


rule edit_frames:
    input:
        latents=rules.latents.output.latents,
        data=rules.frames.output.data,
        clips=rules.clips.output.clips,
        model=f"{RESULTS}/supplement/pix2pix/{cfg.frames.count}",
        single=f"{RESULTS}/supplement/pix2pix/1",
        code=code("gillnext.frames.draw"),
    output:
        edits=directory("<results>/supplement/edits"),
    params:
        config=CONFIG,
        settings=settings(
            "run",
            "frames.drawing",
            "frames.count",
            "frames.broken",
            "frames.variants",
            "frames.flip",
            "frames.crop",
        ),
    log:
        "<results>/supplement/logs/edit_frames.log",
    benchmark:
        "<results>/supplement/benchmarks/edit_frames/all.tsv"
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "edit_frames: drawing the targets of test clips in every way"
    shell:
        "gillnext edit_frames --config {params.config:q} --latents {input.latents:q} --data {input.data:q} --clips {input.clips:q} "
        "--model {input.model:q} --single {input.single:q} --out {output.edits:q} > {log:q} 2>&1"


rule edited:
    input:
        edits=rules.edit_frames.output.edits,
        data=rules.frames.output.data,
        clips=rules.clips.output.clips,
        evaluator=model("evaluator"),
        features=model("features"),
        code=code("gillnext.frames.score"),
    output:
        scores="<results>/supplement/frames.json",
    params:
        config=CONFIG,
        settings=settings(
            "run",
            "frames.drawing",
            "zero_shot",
            "frames.count",
            "frames.broken",
            "frames.variants",
            "frames.flip",
            "frames.crop",
        ),
    log:
        "<results>/supplement/logs/edited.log",
    benchmark:
        "<results>/supplement/benchmarks/edited/all.tsv"
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "edited: scoring what was drawn of test clips"
    shell:
        "gillnext edited --config {params.config:q} --edits {input.edits:q} --data {input.data:q} --clips {input.clips:q} "
        "--evaluator {input.evaluator:q} --features {input.features:q} --out {output.scores:q} > {log:q} 2>&1"


rule storyboard:
    input:
        edits=f"{RESULTS}/supplement/edits",
        data=f"{RESULTS}/supplement/frames",
        clips=f"{RESULTS}/supplement/clips",
        code=code("gillnext.supplement.storyboard"),
    output:
        shown="<results>/supplement/frames.zip",
    log:
        "<results>/supplement/logs/storyboard.log",
    benchmark:
        "<results>/supplement/benchmarks/storyboard/all.tsv"
    message:
        "storyboard: the clips that the supplement shows"
    shell:
        "gillnext storyboard --edits {input.edits:q} --data {input.data:q} --clips {input.clips:q} --out {output.shown:q} "
        "> {log:q} 2>&1"
