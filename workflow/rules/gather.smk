# What a run is told by: scores and trainings of every job in tidy tables, and the pictures that the paper shows.


rule gather:
    input:
        scores=scores(),
        histories=runs("<results>/adapters/{arm}/{seed}", TRAINED),
        curves=runs("<results>/curves/{arm}/{seed}", TRAINED),
        pictures=runs("<results>/samples/{arm}/{seed}/test", SHOWN, 1),
        real="<results>/reference",
        code=code("gillnext.record.gather"),
    output:
        scores="<results>/scores.parquet",
        curves="<results>/curves.parquet",
        protocols="<results>/protocols.json",
        pictures="<results>/pictures.zip",
    params:
        config=CONFIG,
        results=folder(),
        settings=everything,
    log:
        "<results>/logs/gather.log",
    benchmark:
        "<results>/benchmarks/gather/all.tsv"
    message:
        "gather: scores and trainings into tidy tables"
    shell:
        "gillnext gather --config {params.config:q} --results {params.results:q} > {log:q} 2>&1"
