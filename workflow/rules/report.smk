# What a reader opens: cost tables, the PDF, the HTML report.


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
        settings=settings("run.tier", "study"),
    log:
        "<results>/logs/cost.log",
    benchmark:
        "<results>/benchmarks/cost/all.tsv"
    resources:
        mem_mb=1000,
    message:
        "cost: seconds and peak memory of every rule"
    shell:
        "gillnext cost --config {params.config} --benchmarks {params.benchmarks} --memory {input.memory} "
        "--out {output.cost} > {log} 2>&1"


rule paper:
    input:
        tables=rules.tables.output.tables,
        claims=rules.claims.output.claims,
        figures=rules.figures.output.figures,
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
    resources:
        mem_mb=1500,
    message:
        "paper: typesetting the PDF"
    shell:
        "gillnext paper --config {params.config} --results {params.results} --source {params.source:q} "
        "--out {output.pdf} > {log} 2>&1"


# As a rule of its own, a run that is killed before the report still gets one, and a finished run does nothing.
rule html:
    input:
        image=image(),
        pdf=rules.paper.output.pdf,
        verified=VERIFIED,
        captions=tree("workflow/report"),
    output:
        html="<results>/report.html",
    params:
        config=CONFIG,
        snakefile=source("Snakefile"),
    log:
        "<results>/logs/html.log",
    benchmark:
        "<results>/benchmarks/html/all.tsv"
    resources:
        mem_mb=1500,
    message:
        "html: writing the report"
    shell:
        "snakemake --report {output.html} --nolock --snakefile {params.snakefile:q} --directory . "
        "--configfile {params.config} -- {input.pdf} {input.verified} > {log} 2>&1"
