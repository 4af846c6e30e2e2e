# Mini-Wukong: caption shards, their truth, held-out layouts.


rule world:
    input:
        image=image(),
        code=code("gillnext.world.stage"),
    output:
        shards=expand("<results>/world/shards/wukong_100m_{i}.csv", i=SHARDS),
        truth=expand("<results>/world/truth/{i}.parquet", i=SHARDS),
        heldout=expand("<results>/world/heldout/{split}.jsonl", split=["val", "test", "relations", "swapped"]),
        about="<results>/world/world.json",
    params:
        config=CONFIG,
        out=folder("world"),
        settings=settings("run.seed", "world", "sample.test", "sample.relations"),
    log:
        "<results>/logs/world.log",
    benchmark:
        "<results>/benchmarks/world/all.tsv"
    priority: 60
    threads: 1
    resources:
        mem_mb=1000,
    message:
        "world: drawing Mini-Wukong's shards and held-out layouts"
    shell:
        "gillnext world --config {params.config} --out {params.out} > {log} 2>&1"
