# From score files to the paper: quality against the world's truth, tables, costs, claims, figures, PDF, report.


rule quality:
    input:
        about="<results>/world/world.json",
        lexicon=cfg.filter.lexicon or [],
        truth=rules.world.output.truth,
        filtered=expand("<results>/filtered/{part}.parquet", part=PARTS),
        index=expand("<results>/index/{part}.jsonl", part=PARTS),
        images=expand("<results>/images/{part}", part=PARTS),
        layouts=expand("<results>/layouts/{part}.jsonl", part=PARTS),
        model=trained("annotator"),
        code=code("gillnext.miniatures.quality"),
    output:
        scores="<results>/scores/data.json",
    params:
        config=CONFIG,
        world=folder("world"),
        model=model("annotator"),
        settings=settings("run.seed", "run.threads", "run.device", "world", "filter", "annotate"),
    log:
        "<results>/logs/quality.log",
    benchmark:
        "<results>/benchmarks/quality/all.tsv"
    threads: cfg.run.threads
    resources:
        mem_mb=2000,
        gpu=GPU,
    message:
        "quality: filter, download and annotation against the world's truth"
    shell:
        "gillnext quality --config {params.config} --world {params.world} --filtered {input.filtered} "
        "--index {input.index} --layouts {input.layouts} --model {params.model} --out {output.scores} > {log} 2>&1"


rule tables:
    input:
        record=RECORD,
        runs=WHOLE_RUNS,
        code=code("gillnext.tables.stage"),
    output:
        tables=report(
            directory("<results>/tables"),
            patterns=["{table}.csv"],
            caption="../report/tables.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
    params:
        config=CONFIG,
        results=folder(of=RUN),
        runs=whole_runs,
        settings=everything,
    log:
        "<results>/logs/tables.log",
    benchmark:
        "<results>/benchmarks/tables/all.tsv"
    resources:
        mem_mb=1000,
    message:
        "tables: collecting the scores"
    shell:
        "gillnext tables --config {params.config} --results {params.results} --out {output.tables} {params.runs} "
        "> {log} 2>&1"


rule claims:
    input:
        claims=source("reference/claims.yaml"),
        record=RECORD,
        code=code("gillnext.claims.stage"),
    output:
        claims=report(
            directory("<results>/claims"),
            patterns=["{table}.csv"],
            caption="../report/claims.rst",
            category="Claims",
            labels={"table": "{table}"},
        ),
    params:
        config=CONFIG,
        results=folder(of=RUN),
        settings=everything,
    log:
        "<results>/logs/claims.log",
    benchmark:
        "<results>/benchmarks/claims/all.tsv"
    resources:
        mem_mb=1000,
    message:
        "claims: what the scores say of every claim"
    shell:
        "gillnext claims --config {params.config} --claims {input.claims:q} --results {params.results} "
        "--out {output.claims} > {log} 2>&1"


rule figures:
    input:
        record=RECORD,
        pictures="<run>/pictures.zip",
        code=code("gillnext.paper.figures"),
    output:
        figures=report(
            directory("<results>/figures"),
            patterns=["{figure}.svg"],
            caption="../report/figures.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
    params:
        config=CONFIG,
        results=folder(of=RUN),
        settings=everything,
    log:
        "<results>/logs/figures.log",
    benchmark:
        "<results>/benchmarks/figures/all.tsv"
    resources:
        mem_mb=1500,
    message:
        "figures: drawing the paper's figures"
    shell:
        "gillnext figures --config {params.config} --results {params.results} --out {output.figures} > {log} 2>&1"
