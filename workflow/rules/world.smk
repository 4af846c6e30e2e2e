# Mini-Wukong: caption shards and their truth; held-out layouts, a job a set, so that another number of one redoes that.


rule world:
    input:
        code=code("gillnext.miniatures.world.stage"),
    output:
        shards=expand("<results>/world/shards/wukong_100m_{i}.csv", i=SHARDS),
        truth=expand("<results>/world/truth/{i}.parquet", i=SHARDS),
        about="<results>/world/world.json",
    params:
        config=CONFIG,
        out=folder("world"),
        settings=settings("run.seed", "world"),
    log:
        "<results>/logs/world.log",
    benchmark:
        "<results>/benchmarks/world/all.tsv"
    priority: 60
    message:
        "world: drawing Mini-Wukong's shards"
    shell:
        "gillnext world --config {params.config:q} --out {params.out:q} > {log:q} 2>&1"


rule heldout:
    input:
        code=code("gillnext.miniatures.world.heldout"),
    output:
        layouts="<results>/world/heldout/{heldout}.jsonl",
    params:
        config=CONFIG,
        layouts=lambda wildcards: resolved["sample"][wildcards.heldout],
        settings=settings("run.seed"),
    log:
        "<results>/logs/heldout/{heldout}.log",
    benchmark:
        "<results>/benchmarks/heldout/{heldout}.tsv"
    priority: 60
    message:
        "heldout: drawing the layouts of {wildcards.heldout}"
    shell:
        "gillnext heldout --config {params.config:q} --split {wildcards.heldout:q} --count {params.layouts:q} "
        "--out {output.layouts:q} > {log:q} 2>&1"


# For the chance level of box fidelity.
rule prior:
    input:
        code=code("gillnext.miniatures.world.prior"),
    output:
        boxes="<results>/world/heldout/prior.safetensors",
    params:
        config=CONFIG,
        settings=settings("run.seed", "sample.test"),
    log:
        "<results>/logs/prior.log",
    benchmark:
        "<results>/benchmarks/prior/all.tsv"
    priority: 60
    message:
        "prior: drawing boxes for the chance level"
    shell:
        "gillnext prior --config {params.config:q} --out {output.boxes:q} > {log:q} 2>&1"


rule swap:
    input:
        layouts=heldout("test.jsonl"),
        code=code("gillnext.miniatures.world.swap"),
    output:
        layouts=heldout("swapped.jsonl"),
    log:
        "<results>/logs/swap.log",
    benchmark:
        "<results>/benchmarks/swap/all.tsv"
    priority: 60
    message:
        "swap: swapping the test layouts' phrases between boxes"
    shell:
        "gillnext swap --layouts {input.layouts:q} --out {output.layouts:q} > {log:q} 2>&1"
