# The supplement's PDF, of this run or of what is kept of one.

SUPPLEMENT = RUN if cfg.from_reference else f"{RESULTS}/supplement"

TOLD = [f"{SUPPLEMENT}/{part}" for part in cfg.supplement.parts]
FURTHER = [
    f"{SUPPLEMENT}/gill-{variant}.json"
    for variant in cfg.supplement.variants
    if "gill" in cfg.supplement.parts
]
SUPPLEMENT_HASHES = [] if cfg.from_reference else [f"{RESULTS}/supplement/hashes.json"]


rule supplement_hashes:
    input:
        scores=[*(f"{part}.json" for part in TOLD), *FURTHER],
        code=code("gillnext.verify.hashes"),
    output:
        hashes="<results>/supplement/hashes.json",
    params:
        results=folder(),
        settings=everything,
    log:
        "<results>/supplement/logs/hashes.log",
    benchmark:
        "<results>/supplement/benchmarks/supplement_hashes/all.tsv"
    message:
        "hashes: hashing the values of the supplement's stages"
    shell:
        "gillnext hashes --supplement --results {params.results:q} --out {output.hashes:q} > {log:q} 2>&1"


rule supplement:
    input:
        scores=[*(f"{part}.json" for part in TOLD), *FURTHER],
        shown=[f"{part}.zip" for part in TOLD],
        hashes=SUPPLEMENT_HASHES,
        costs=f"{SUPPLEMENT}/jobs.parquet" if cfg.from_reference else [],
        sources=tree("paper"),
        code=code("gillnext.supplement.stage"),
    output:
        pdf="<results>/supplement/supplement.pdf",
        tables=directory("<results>/supplement/tables"),
        figures=directory("<results>/supplement/figures"),
    params:
        config=CONFIG,
        record=lambda wildcards: SUPPLEMENT,
        source=lambda wildcards: source("paper"),
        settings=everything,
    log:
        "<results>/supplement/logs/supplement.log",
    benchmark:
        "<results>/supplement/benchmarks/supplement/all.tsv"
    message:
        "supplement: tables, figures and PDF"
    shell:
        "gillnext supplement --config {params.config:q} --record {params.record:q} --source {params.source:q} "
        "--out {output.pdf:q} > {log:q} 2>&1"
