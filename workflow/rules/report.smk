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
        "snakemake --report {output.html:q} --nolock --snakefile {params.snakefile:q} --directory . "
        "--configfile {params.config:q} -- {input.pdf:q} {input.verified:q} > {log:q} 2>&1"
