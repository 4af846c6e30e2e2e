# One page with tables, figures and PDF, and the workflow's graph and run times.


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
    message:
        "html: writing the report"
    shell:
        "snakemake --report {output.html} --nolock --snakefile {params.snakefile:q} --directory . "
        "--configfile {params.config} -- {input.pdf} {input.verified} > {log} 2>&1"
