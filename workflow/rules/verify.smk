# This run against the one that is kept of its tier, where one is.

KEPT = source(f"reference/{cfg.run.tier}")
VERIFIABLE = not cfg.from_reference and Path(KEPT).is_dir()
VERIFIED = [f"{RESULTS}/verify"] if VERIFIABLE else []

if VERIFIABLE:

    try:
        kept.settings(Path(KEPT))  # now, not after the whole run
    except UserError as error:
        raise WorkflowError(str(error)) from None

    rule verify:
        input:
            image=image(),
            claims=source("reference/claims.yaml"),
            kept=f"{KEPT}/{kept.MANIFEST}",
            layouts="<results>/world/heldout/test.jsonl",
            scores=scores(),
            curves=runs("<results>/adapters/{arm}/{seed}", TRAINED),
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
            settings=everything,
        log:
            "<results>/logs/verify.log",
        benchmark:
            "<results>/benchmarks/verify/all.tsv"
        threads: 1
        resources:
            mem_mb=1000,
        message:
            "verify: this run against the one that is kept"
        shell:
            "gillnext verify --results {params.results} --reference {params.reference:q} --claims {input.claims:q} "
            "--out {output.verify} > {log} 2>&1"
