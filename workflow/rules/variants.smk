# Further trainings of GILL, which differ from it in a setting each (supplement.variants), and their scores.


wildcard_constraints:
    variant="|".join(map(re.escape, VARIANTS)) or "none",


rule gill_variant:
    input:
        conversations=rules.conversations.output.conversations,
        language=language_model,
        eyes=eyes,
        base=model("base"),
        adapter=f"<results>/adapters/{FIRST}",
        code=code("gillnext.gill.train"),
    output:
        model=directory("<results>/supplement/variants/{variant}/gill"),
    params:
        config=CONFIG,
        options=variant_options,
        adapter=adapter_to_train,
        settings=settings("run", "gill", "adapter", "cache", "study"),
    log:
        "<results>/supplement/logs/gill/{variant}.log",
    benchmark:
        "<results>/supplement/benchmarks/gill_variant/{variant}.tsv"
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "gill: training its variant {wildcards.variant}"
    shell:
        "gillnext gill --config {params.config:q} --conversations {input.conversations:q}/train.jsonl "
        "--language {input.language:q} --eyes {input.eyes:q} --base {input.base:q} {params.adapter:q} {params.options:q} "
        "--out {output.model:q} > {log:q} 2>&1"


rule respond_variant:
    input:
        conversations=rules.conversations.output.conversations,
        gill=rules.gill_variant.output.model,
        language=language_model,
        eyes=eyes,
        base=model("base"),
        adapter=f"<results>/adapters/{FIRST}",
        planner=rules.conversation_planner.output.model,
        code=code("gillnext.chat.respond"),
    output:
        pictures=directory("<results>/supplement/variants/{variant}/pictures"),
    params:
        config=CONFIG,
        adapter=adapter_to_draw,
        settings=settings("run", "sample.steps", "sample.guidance", "sample.batch"),
    log:
        "<results>/supplement/logs/respond/{variant}.log",
    benchmark:
        "<results>/supplement/benchmarks/respond_variant/{variant}.tsv"
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "respond: drawing what conversations end with, by variant {wildcards.variant}"
    shell:
        "gillnext respond --config {params.config:q} --conversations {input.conversations:q}/test.jsonl --gill {input.gill:q} "
        "--language {input.language:q} --eyes {input.eyes:q} --base {input.base:q} --adapter {params.adapter:q} "
        "--planner {input.planner:q} --ways gill-pictures next next-true --out {output.pictures:q} > {log:q} 2>&1"


rule converse_variant:
    input:
        conversations=rules.conversations.output.conversations,
        gill=rules.gill_variant.output.model,
        language=language_model,
        eyes=eyes,
        pictures=rules.respond_variant.output.pictures,
        evaluator=model("evaluator"),
        clip=model("image_text"),
        code=code("gillnext.chat.score"),
    output:
        scores="<results>/supplement/gill-{variant}.json",
    params:
        config=CONFIG,
        settings=settings("run", "zero_shot"),
    log:
        "<results>/supplement/logs/converse/{variant}.log",
    benchmark:
        "<results>/supplement/benchmarks/converse_variant/{variant}.tsv"
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "converse: scoring variant {wildcards.variant}"
    shell:
        "gillnext converse --config {params.config:q} --test {input.conversations:q}/test.jsonl "
        "--gallery {input.conversations:q}/gallery.jsonl --gill {input.gill:q} --language {input.language:q} "
        "--eyes {input.eyes:q} --pictures {input.pictures:q} --evaluator {input.evaluator:q} --clip {input.clip:q} "
        "--out {output.scores:q} > {log:q} 2>&1"
