# What this run made, as hashes of values; and the run against the one that is kept of its tier, where one is.

KEPT = source(f"reference/{cfg.run.tier}")
VERIFIABLE = not cfg.from_reference and Path(KEPT).is_dir()
VERIFIED = [f"{RESULTS}/verify"] if VERIFIABLE else []
HASHES = [] if cfg.from_reference else [f"{RESULTS}/hashes.json"]


rule hashes:
    input:
        record=RECORD,
        tables=rules.tables.output.tables,
        claims=rules.claims.output.claims,
        code=code("gillnext.verify.hashes"),
    output:
        hashes="<results>/hashes.json",
    params:
        results=folder(),
        settings=everything,
    log:
        "<results>/logs/hashes.log",
    benchmark:
        "<results>/benchmarks/hashes/all.tsv"
    message:
        "hashes: hashing the values that each stage made"
    shell:
        "gillnext hashes --results {params.results:q} --out {output.hashes:q} > {log:q} 2>&1"


if VERIFIABLE:

    try:
        kept.settings(Path(KEPT))  # now, not after the whole run
    except UserError as error:
        raise WorkflowError(str(error)) from None

    rule verify:
        input:
            claims=source("reference/claims.yaml"),
            kept=f"{KEPT}/{kept.MANIFEST}",
            runs=WHOLE_RUNS,
            hashes=rules.hashes.output.hashes,
            record=RECORD,
            code=code("gillnext.verify.stage"),
        output:
            verify=report(
                directory("<results>/verify"),
                patterns=["{table}.csv"],
                caption="../report/verify.rst",
                category="Verification",
                labels={"table": "{table}"},
            ),
        params:
            results=folder(),
            reference=lambda wildcards: KEPT,
            runs=whole_runs,
            settings=everything,
        log:
            "<results>/logs/verify.log",
        benchmark:
            "<results>/benchmarks/verify/all.tsv"
        message:
            "verify: this run against the one that is kept"
        shell:
            "gillnext verify --results {params.results:q} --reference {params.reference:q} --claims {input.claims:q} "
            "--out {output.verify:q} {params.runs:q} > {log:q} 2>&1"
