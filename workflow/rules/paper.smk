# From the record of a run to the paper: tables, claims, figures, costs, PDF.


rule tables:
    input:
        record=RECORD,
        runs=WHOLE_RUNS,
        measured=ON_GPU,
        variance=VARIANCE,
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
        variance=["--variance", *VARIANCE] if VARIANCE else [],
        settings=everything,
    log:
        "<results>/logs/tables.log",
    benchmark:
        "<results>/benchmarks/tables/all.tsv"
    message:
        "tables: collecting the scores"
    shell:
        "gillnext tables --config {params.config:q} --results {params.results:q} --out {output.tables:q} "
        "{params.runs:q} {params.variance:q} --gpu {input.measured:q} > {log:q} 2>&1"


rule claims:
    input:
        claims=source("reference/claims.yaml"),
        record=RECORD,
        measured=ON_GPU,
        other=[f"{folder}/{kept.MANIFEST}" for folder in OTHER_WORLD],
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
        other=["--other-world", *OTHER_WORLD] if OTHER_WORLD else [],
        settings=everything,
    log:
        "<results>/logs/claims.log",
    benchmark:
        "<results>/benchmarks/claims/all.tsv"
    message:
        "claims: what the scores say of every claim"
    shell:
        "gillnext claims --config {params.config:q} --claims {input.claims:q} --results {params.results:q} "
        "--out {output.claims:q} --gpu {input.measured:q} {params.other:q} > {log:q} 2>&1"


rule figure:
    input:
        record=RECORD,
        pictures="<run>/pictures.zip",
        code=code("gillnext.paper.figure", "gillnext.paper.figures.{figure}"),
    output:
        figure=report(
            directory("<results>/figures/{figure}"),
            patterns=["{name}.svg"],
            caption="../report/figures.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
    params:
        config=CONFIG,
        results=folder(of=RUN),
        settings=everything,
    log:
        "<results>/logs/figure/{figure}.log",
    benchmark:
        "<results>/benchmarks/figure/{figure}.tsv"
    message:
        "figure: drawing {wildcards.figure}"
    shell:
        "gillnext figure {wildcards.figure:q} --config {params.config:q} --results {params.results:q} "
        "--out {output.figure:q} > {log:q} 2>&1"


rule cost:
    input:
        benchmarks=benchmarks(),
        memory="<run>/memory.json",
        code=code("gillnext.tables.cost"),
    output:
        cost=report(
            directory("<results>/cost"),
            patterns=["{table}.csv"],
            caption="../report/cost.rst",
            category="Cost",
            labels={"table": "{table}"},
        ),
    params:
        config=CONFIG,
        benchmarks=folder("jobs.parquet" if cfg.from_reference else "benchmarks", of=RUN),
        settings=settings("run.tier", "world.release", "study"),
    log:
        "<results>/logs/cost.log",
    benchmark:
        "<results>/benchmarks/cost/all.tsv"
    message:
        "cost: seconds and peak memory of every rule"
    shell:
        "gillnext cost --config {params.config:q} --benchmarks {params.benchmarks:q} --memory {input.memory:q} "
        "--out {output.cost:q} > {log:q} 2>&1"


rule paper:
    input:
        tables=rules.tables.output.tables,
        claims=rules.claims.output.claims,
        figures=expand("<results>/figures/{figure}", figure=FIGURES),
        cost=rules.cost.output.cost,
        sources=tree("paper"),
        code=code("gillnext.paper.stage"),
    output:
        pdf=report(
            "<results>/paper/paper.pdf",
            caption="../report/paper.rst",
            category="Paper",
        ),
    params:
        config=CONFIG,
        results=folder(),
        source=lambda wildcards: source("paper"),
        settings=everything,
    log:
        "<results>/logs/paper.log",
    benchmark:
        "<results>/benchmarks/paper/all.tsv"
    message:
        "paper: typesetting the PDF"
    shell:
        "gillnext paper --config {params.config:q} --results {params.results:q} --source {params.source:q} "
        "--out {output.pdf:q} > {log:q} 2>&1"
