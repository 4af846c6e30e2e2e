# What pictures are scored with; what is trained, on a stream of its own.
# They and what needs them go before the short jobs, so that all cores are free for the base at about the same time.


rule evaluator:
    input:
        code=code("gillnext.miniatures.evaluator"),
    output:
        model=directory("<results>/models/evaluator"),
    params:
        config=CONFIG,
        stage="evaluator",
        settings=settings("run.seed", "run.threads", "run.device", "evaluator"),
    log:
        "<results>/logs/evaluator.log",
    benchmark:
        "<results>/benchmarks/evaluator/all.tsv"
    priority: 40
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "evaluator: training the box evaluator"
    shell:
        "gillnext {params.stage:q} --config {params.config:q} --out {output.model:q} > {log:q} 2>&1"


rule templates:
    input:
        code=code("gillnext.miniatures.templates"),
    output:
        model=directory("<results>/models/templates"),
    log:
        "<results>/logs/templates.log",
    benchmark:
        "<results>/benchmarks/templates/all.tsv"
    priority: 40
    message:
        "templates: drawing the templates of the evaluator that learns nothing"
    shell:
        "gillnext templates --out {output.model:q} > {log:q} 2>&1"


# Of cut-outs, which have no templates.
use rule evaluator as second_evaluator with:
    input:
        code=code("gillnext.miniatures.second_evaluator"),
    output:
        model=directory("<results>/models/second_evaluator"),
    params:
        config=CONFIG,
        stage="second_evaluator",
        settings=settings("run.seed", "run.threads", "run.device", "evaluator"),
    log:
        "<results>/logs/second_evaluator.log",
    benchmark:
        "<results>/benchmarks/second_evaluator/all.tsv"
    message:
        "second_evaluator: training the second box evaluator"


use rule evaluator as features with:
    input:
        code=code("gillnext.miniatures.features"),
    output:
        model=directory("<results>/models/features"),
    params:
        config=CONFIG,
        stage="features",
        settings=settings("run.seed", "run.threads", "run.device", "features"),
    log:
        "<results>/logs/features.log",
    benchmark:
        "<results>/benchmarks/features/all.tsv"
    message:
        "features: training the image feature network"


use rule evaluator as clip with:
    input:
        code=code("gillnext.miniatures.clip"),
    output:
        model=directory("<results>/models/clip"),
    params:
        config=CONFIG,
        stage="clip",
        settings=settings("run.seed", "run.threads", "run.device", "clip"),
    log:
        "<results>/logs/clip.log",
    benchmark:
        "<results>/benchmarks/clip/all.tsv"
    message:
        "clip: training the image-text scorer"
