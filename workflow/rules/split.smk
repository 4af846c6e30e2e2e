# From the layouts of a release's parts to training and held-out sets: fingerprints of pictures part by part, then one
# split of all.


rule fingerprint:
    input:
        layouts="<results>/layouts/{part}.jsonl",
        images="<results>/images/{part}",
        code=code("gillnext.split.fingerprint"),
    output:
        table="<results>/fingerprints/{part}.parquet",
        counts="<results>/fingerprints/{part}.json",
    log:
        "<results>/logs/fingerprint/{part}.log",
    benchmark:
        "<results>/benchmarks/fingerprint/{part}.tsv"
    priority: 60
    message:
        "fingerprint: hashing the pictures of part {wildcards.part}"
    shell:
        "gillnext fingerprint --layouts {input.layouts:q} --out {output.table:q} > {log:q} 2>&1"


rule split:
    input:
        layouts=expand("<results>/layouts/{part}.jsonl", part=PARTS),
        fingerprints=expand("<results>/fingerprints/{part}.parquet", part=PARTS),
        lexicon=cfg.filter.lexicon or [],
        manifest=cfg.split.manifest or [],
        code=code("gillnext.split.stage"),
    output:
        train=expand("<results>/split/train/{part}.jsonl", part=PARTS),
        held_out=expand(
            "<results>/split/{name}.jsonl", name=["val", "test", "named", "relations", "reference"]
        ),
        prior="<results>/split/prior.safetensors",
        names="<results>/split/names.txt",
        manifest="<results>/split/manifest.parquet",
        counts="<results>/split/counts.json",
    params:
        config=CONFIG,
        out=folder("split"),
        settings=settings(
            "run.seed",
            "split",
            "sample.val",
            "sample.test",
            "sample.relations",
            "curve.images",
            "adapter.slots",
            "filter.lexicon",
        ),
    log:
        "<results>/logs/split.log",
    benchmark:
        "<results>/benchmarks/split/all.tsv"
    priority: 60
    message:
        "split: training and held-out sets of all parts"
    shell:
        "gillnext split --config {params.config:q} --layouts {input.layouts:q} "
        "--fingerprints {input.fingerprints:q} --out {params.out:q} > {log:q} 2>&1"
