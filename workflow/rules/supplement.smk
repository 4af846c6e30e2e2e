# End-to-end GILL: conversations, a frozen language model, what is trained around it, and how it answers. Not of `all`:
# make supplement.


rule conversations:
    input:
        code=code("gillnext.miniatures.world.conversations"),
    output:
        conversations=directory("<results>/supplement/conversations"),
    params:
        config=CONFIG,
        settings=settings("run.seed", "gill.conversations"),
    log:
        "<results>/supplement/logs/conversations.log",
    benchmark:
        "<results>/supplement/benchmarks/conversations/all.tsv"
    message:
        "conversations: stories and dialogues, and the pictures of what they say"
    shell:
        "gillnext conversations --config {params.config:q} --out {output.conversations:q} > {log:q} 2>&1"


rule language:
    input:
        conversations=rules.conversations.output.conversations,
        code=code("gillnext.miniatures.language"),
    output:
        model=directory("<results>/supplement/language"),
    params:
        config=CONFIG,
        settings=settings("run.seed", "run.threads", "run.device", "gill.language_model"),
    log:
        "<results>/supplement/logs/language.log",
    benchmark:
        "<results>/supplement/benchmarks/language/all.tsv"
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "language: training the language model of conversations"
    shell:
        "gillnext language --config {params.config:q} --conversations {input.conversations:q} --out {output.model:q} "
        "> {log:q} 2>&1"


rule conversation_planner:
    input:
        conversations=rules.conversations.output.conversations,
        code=code("gillnext.planner.train"),
    output:
        model=directory("<results>/supplement/planner"),
    params:
        config=CONFIG,
        settings=settings("run.seed", "run.threads", "run.device", "run.precision", "planner"),
    log:
        "<results>/supplement/logs/planner.log",
    benchmark:
        "<results>/supplement/benchmarks/planner/all.tsv"
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "planner: training on what conversations say of places"
    shell:
        "gillnext planner --config {params.config:q} --layouts {input.conversations:q}/layouts/train.jsonl "
        "--out {output.model:q} > {log:q} 2>&1"


rule gill:
    input:
        conversations=rules.conversations.output.conversations,
        language=language_model,
        eyes=eyes,
        base=model("base"),
        code=code("gillnext.gill.train"),
    output:
        model=directory("<results>/supplement/gill"),
    params:
        config=CONFIG,
        settings=settings("run", "gill", "adapter", "cache", "study"),
    log:
        "<results>/supplement/logs/gill.log",
    benchmark:
        "<results>/supplement/benchmarks/gill/all.tsv"
    threads: cfg.run.threads
    resources:
        gpu=GPU,
    message:
        "gill: training [IMG] tokens, prefix, retrieval and mapper on frozen models"
    shell:
        "gillnext gill --config {params.config:q} --conversations {input.conversations:q}/train.jsonl "
        "--language {input.language:q} --eyes {input.eyes:q} --base {input.base:q} --out {output.model:q} > {log:q} 2>&1"
