# The base: a UNet that learns windows around one object beside the data stages, then whole pictures with every core.


rule base_on_windows:
    input:
        vae=rules.vae.output.model,
        text_encoder=rules.text_encoder.output.model,
        code=code("gillnext.miniatures.base_on_windows"),
    output:
        model=directory("<results>/models/base_on_windows"),
    params:
        config=CONFIG,
        settings=settings(
            "run.seed",
            "run.device",
            "base.corpus",
            "base.window_steps",
            "base.window_batch",
            "base.window_threads",
            "base.lr",
            "base.class_map",
            "base.channels",
        ),
    log:
        "<results>/logs/base_on_windows.log",
    benchmark:
        "<results>/benchmarks/base_on_windows/all.tsv"
    priority: 100
    threads: cfg.base.window_threads
    resources:
        gpu=GPU,
    message:
        "base_on_windows: training the UNet on windows around one object"
    shell:
        "gillnext base_on_windows --config {params.config:q} --vae {input.vae:q} "
        "--text-encoder {input.text_encoder:q} --out {output.model:q} > {log:q} 2>&1"


rule base:
    input:
        vae=rules.vae.output.model,
        text_encoder=rules.text_encoder.output.model,
        windows=rules.base_on_windows.output.model,
        code=code("gillnext.miniatures.base"),
    output:
        model=directory("<results>/models/base"),
    params:
        config=CONFIG,
        settings=settings(
            "run.seed",
            "run.device",
            "base.corpus",
            "base.steps",
            "base.batch",
            "base.threads",
            "base.lr",
            "base.ema",
            "base.class_map",
        ),
    log:
        "<results>/logs/base.log",
    benchmark:
        "<results>/benchmarks/base/all.tsv"
    priority: 100
    threads: cfg.base.threads
    resources:
        gpu=GPU,
    message:
        "base: training the UNet on pictures"
    shell:
        "gillnext base --config {params.config:q} --vae {input.vae:q} --text-encoder {input.text_encoder:q} "
        "--windows {input.windows:q} --out {output.model:q} > {log:q} 2>&1"
