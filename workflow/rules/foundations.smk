# Foundations: miniatures of the models that the real system starts from, in the same formats.


rule classifier:
    input:
        code=code("gillnext.miniatures.classifier"),
    output:
        model=directory("<results>/models/classifier"),
    params:
        config=CONFIG,
        stage="classifier",
        settings=settings("run.seed", "run.threads", "run.device", "classifier"),
    log:
        "<results>/logs/classifier.log",
    benchmark:
        "<results>/benchmarks/classifier/all.tsv"
    priority: 60
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "classifier: training the caption classifier"
    shell:
        "gillnext {params.stage:q} --config {params.config:q} --out {output.model:q} > {log:q} 2>&1"


use rule classifier as annotator with:
    input:
        code=code("gillnext.miniatures.annotator"),
    output:
        model=directory("<results>/models/annotator"),
    params:
        config=CONFIG,
        stage="annotator",
        settings=settings("run.seed", "run.threads", "run.device", "annotator"),
    log:
        "<results>/logs/annotator.log",
    benchmark:
        "<results>/benchmarks/annotator/all.tsv"
    message:
        "annotator: training the box annotator"


# Autoencoder, text encoder and what base.smk makes of them: the critical path, which goes first wherever it can.
rule vae:
    input:
        code=code("gillnext.miniatures.vae"),
    output:
        model=directory("<results>/models/vae"),
    params:
        config=CONFIG,
        stage="vae",
        settings=settings("run.seed", "run.device", "vae"),
    log:
        "<results>/logs/vae.log",
    benchmark:
        "<results>/benchmarks/vae/all.tsv"
    priority: 100
    threads: cfg.vae.threads
    resources:
        gpu=GPU,
    message:
        "vae: training the autoencoder"
    shell:
        "gillnext {params.stage:q} --config {params.config:q} --out {output.model:q} > {log:q} 2>&1"


use rule vae as text_encoder with:
    input:
        code=code("gillnext.miniatures.text_encoder"),
    output:
        model=directory("<results>/models/text_encoder"),
    params:
        config=CONFIG,
        stage="text_encoder",
        settings=settings("run.seed", "run.threads", "run.device", "text_encoder"),
    log:
        "<results>/logs/text_encoder.log",
    benchmark:
        "<results>/benchmarks/text_encoder/all.tsv"
    threads: cfg.run.threads
    message:
        "text_encoder: training the text encoder"
