# What a trained GILL finds, draws and decides, and its scores.


# An album holds pictures of few things: those of the training conversations with two objects or fewer.
rule album:
    input:
        conversations=rules.conversations.output.conversations,
        gill=rules.gill.output.model,
        language=language_model,
        eyes=eyes,
        code=code("gillnext.chat.index"),
    output:
        index=directory("<results>/supplement/index"),
    params:
        config=CONFIG,
        settings=settings("run"),
    log:
        "<results>/supplement/logs/index.log",
    benchmark:
        "<results>/supplement/benchmarks/index/all.tsv"
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "index: embedding the pictures that may be found"
    shell:
        "gillnext index --config {params.config:q} --gill {input.gill:q} --language {input.language:q} --eyes {input.eyes:q} "
        "--pictures {input.conversations:q}/train.jsonl --objects 2 --out {output.index:q} > {log:q} 2>&1"


rule respond:
    input:
        conversations=rules.conversations.output.conversations,
        gill=rules.gill.output.model,
        language=language_model,
        eyes=eyes,
        base=model("base"),
        adapter=f"<results>/adapters/{FIRST}",
        planner=rules.conversation_planner.output.model,
        code=code("gillnext.chat.respond"),
    output:
        pictures=directory("<results>/supplement/pictures"),
    params:
        config=CONFIG,
        settings=settings("run", "sample.steps", "sample.guidance", "sample.batch"),
    log:
        "<results>/supplement/logs/respond.log",
    benchmark:
        "<results>/supplement/benchmarks/respond/all.tsv"
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "respond: drawing what conversations end with, in every way"
    shell:
        "gillnext respond --config {params.config:q} --conversations {input.conversations:q}/test.jsonl --gill {input.gill:q} "
        "--language {input.language:q} --eyes {input.eyes:q} --base {input.base:q} --adapter {input.adapter:q} "
        "--planner {input.planner:q} --out {output.pictures:q} > {log:q} 2>&1"


rule decide:
    input:
        conversations=rules.conversations.output.conversations,
        gill=rules.gill.output.model,
        language=language_model,
        eyes=eyes,
        index=rules.album.output.index,
        base=model("base"),
        adapter=f"<results>/adapters/{FIRST}",
        planner=rules.conversation_planner.output.model,
        evaluator=model("evaluator"),
        second=model("second_evaluator"),
        clip=model("image_text"),
        code=code("gillnext.chat.decision"),
    output:
        decision=directory("<results>/supplement/decision"),
    params:
        config=CONFIG,
        settings=settings(
            "run", "gill.decisions", "sample.steps", "sample.guidance", "sample.batch", "zero_shot"
        ),
    log:
        "<results>/supplement/logs/decide.log",
    benchmark:
        "<results>/supplement/benchmarks/decide/all.tsv"
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "decide: learning whether a picture is found or drawn"
    shell:
        "gillnext decide --config {params.config:q} --train {input.conversations:q}/train.jsonl "
        "--val {input.conversations:q}/val.jsonl --test {input.conversations:q}/test.jsonl --gill {input.gill:q} "
        "--language {input.language:q} --eyes {input.eyes:q} --index {input.index:q} --base {input.base:q} "
        "--adapter {input.adapter:q} --planner {input.planner:q} --evaluator {input.evaluator:q} "
        "--second-evaluator {input.second:q} --clip {input.clip:q} --out {output.decision:q} > {log:q} 2>&1"


rule converse:
    input:
        conversations=rules.conversations.output.conversations,
        gill=rules.gill.output.model,
        language=language_model,
        eyes=eyes,
        pictures=rules.respond.output.pictures,
        decision=rules.decide.output.decision,
        evaluator=model("evaluator"),
        clip=model("image_text"),
        code=code("gillnext.chat.score"),
    output:
        scores="<results>/supplement/gill.json",
    params:
        config=CONFIG,
        settings=settings("run", "zero_shot"),
    log:
        "<results>/supplement/logs/converse.log",
    benchmark:
        "<results>/supplement/benchmarks/converse/all.tsv"
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "converse: scoring captions, retrieval, pictures and decisions"
    shell:
        "gillnext converse --config {params.config:q} --test {input.conversations:q}/test.jsonl "
        "--gallery {input.conversations:q}/gallery.jsonl --gill {input.gill:q} --language {input.language:q} "
        "--eyes {input.eyes:q} --pictures {input.pictures:q} --evaluator {input.evaluator:q} --clip {input.clip:q} "
        "--decision {input.decision:q} --out {output.scores:q} > {log:q} 2>&1"


rule illustrate:
    input:
        conversations=rules.conversations.output.conversations,
        pictures=rules.respond.output.pictures,
        code=code("gillnext.supplement.illustrate"),
    output:
        shown="<results>/supplement/gill.zip",
    log:
        "<results>/supplement/logs/illustrate.log",
    benchmark:
        "<results>/supplement/benchmarks/illustrate/all.tsv"
    message:
        "illustrate: the conversations that the supplement shows"
    shell:
        "gillnext illustrate --conversations {input.conversations:q}/test.jsonl --pictures {input.pictures:q} "
        "--out {output.shown:q} > {log:q} 2>&1"
