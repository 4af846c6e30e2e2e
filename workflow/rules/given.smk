# Models that are given: a hub's, fetched once at one commit before anything begins; a folder is taken where it is.

if FETCHED:

    rule fetch:
        input:
            code=code("gillnext.roles.fetch"),
        output:
            model=directory("<results>/given/{role}"),
        params:
            config=CONFIG,
            settings=settings("models.{role}", "run.precision"),
        log:
            "<results>/logs/fetch/{role}.log",
        benchmark:
            "<results>/benchmarks/fetch/{role}.tsv"
        wildcard_constraints:
            role="|".join(FETCHED),
        priority: 200
        resources:
            web=1,
        message:
            "fetch: the checkpoint of role {wildcards.role}"
        shell:
            "gillnext fetch --role {wildcards.role:q} --config {params.config:q} --out {output.model:q} > {log:q} 2>&1"
