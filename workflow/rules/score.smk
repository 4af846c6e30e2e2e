# Scores of the pictures, and of real ones.


rule ceilings:
    input:
        layouts=heldout("test.jsonl"),
        vae=autoencoder,
        evaluator=model("evaluator"),
        second=model("second_evaluator"),
        prior=heldout("prior.safetensors"),
        features=model("features"),
        clip=model("image_text"),
        code=code("gillnext.miniatures.ceilings"),
    output:
        reference=directory("<results>/reference"),
        scores=expand("<results>/scores/ceilings/{of}.json", of=["real", "vae"]),
    params:
        config=CONFIG,
        out=folder("scores/ceilings"),
        vae=lambda wildcards, input: f"{input.vae}/vae" if SOURCES["base"].given else input.vae,
        settings=settings("run", "sample.test", "score.second_features", "zero_shot"),
    log:
        "<results>/logs/ceilings.log",
    benchmark:
        "<results>/benchmarks/ceilings/all.tsv"
    priority: 40
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "ceilings: scoring real pictures, and real pictures through the autoencoder"
    shell:
        "gillnext ceilings --config {params.config:q} --layouts {input.layouts:q} --vae {params.vae:q} "
        "--evaluator {input.evaluator:q} --second-evaluator {input.second:q} --prior {input.prior:q} "
        "--features {input.features:q} --clip {input.clip:q} --reference {output.reference:q} --out {params.out:q} "
        "> {log:q} 2>&1"


rule score:
    input:
        samples="<results>/samples/{arm}/{seed}/test",
        evaluator=model("evaluator"),
        second=model("second_evaluator"),
        names=names,
        prior=heldout("prior.safetensors"),
        features=model("features"),
        clip=model("image_text"),
        reference="<results>/reference",
        code=code("gillnext.score.stage"),
    output:
        scores="<results>/scores/{arm}/{seed}.json",
    params:
        config=CONFIG,
        names=named,
        settings=settings("run", "zero_shot"),
    log:
        "<results>/logs/score/{arm}-{seed}.log",
    benchmark:
        "<results>/benchmarks/score/{arm}-{seed}.tsv"
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "score: arm {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "gillnext score --config {params.config:q} --arm {wildcards.arm:q} --seed {wildcards.seed:q} "
        "--samples {input.samples:q} --evaluator {input.evaluator:q} --second-evaluator {input.second:q} {params.names:q} "
        "--prior {input.prior:q} --features {input.features:q} --clip {input.clip:q} --reference {input.reference:q} "
        "--out {output.scores:q} > {log:q} 2>&1"


rule relations:
    input:
        samples="<results>/samples/{arm}/{seed}/relations",
        truth=heldout("relations.jsonl"),
        evaluator=model("evaluator"),
        second=model("second_evaluator"),
        names=names,
        code=code("gillnext.score.stage"),
    output:
        scores="<results>/scores/relations/{arm}/{seed}.json",
    params:
        config=CONFIG,
        names=named,
        settings=settings("run", "zero_shot"),
    log:
        "<results>/logs/relations/{arm}-{seed}.log",
    benchmark:
        "<results>/benchmarks/relations/{arm}-{seed}.tsv"
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "relations: caption to picture, arm {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "gillnext score --relations --config {params.config:q} --arm {wildcards.arm:q} --seed {wildcards.seed:q} "
        "--samples {input.samples:q} --layouts {input.truth:q} --evaluator {input.evaluator:q} "
        "--second-evaluator {input.second:q} {params.names:q} --out {output.scores:q} > {log:q} 2>&1"


# The test layouts with their phrases swapped between boxes: is it the phrase that decides what stands in a box?
rule swapped:
    input:
        samples="<results>/samples/{arm}/{seed}/swapped",
        evaluator=model("evaluator"),
        second=model("second_evaluator"),
        names=names,
        prior=heldout("prior.safetensors"),
        code=code("gillnext.score.stage"),
    output:
        scores="<results>/scores/swapped/{arm}/{seed}.json",
    params:
        config=CONFIG,
        names=named,
        settings=settings("run", "zero_shot"),
    log:
        "<results>/logs/swapped/{arm}-{seed}.log",
    benchmark:
        "<results>/benchmarks/swapped/{arm}-{seed}.tsv"
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "swapped: arm {wildcards.arm}, seed {wildcards.seed}, phrases swapped"
    shell:
        "gillnext score --boxes --config {params.config:q} --arm {wildcards.arm:q} --seed {wildcards.seed:q} "
        "--samples {input.samples:q} --evaluator {input.evaluator:q} --second-evaluator {input.second:q} {params.names:q} "
        "--prior {input.prior:q} --out {output.scores:q} > {log:q} 2>&1"
