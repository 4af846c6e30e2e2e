# What a release of real shards has instead of the drawn world's truth: names for detectors that read none, ceilings of
# held-out pictures, counts of what the data stages kept. First, before anything long begins, what else the settings name.
from gillnext.annotate import label_rows
from gillnext.split import published

try:
    if (cfg.annotate.labels or cfg.split.published) and not RELEASE:
        key = "annotate.labels" if cfg.annotate.labels else "split.published"
        raise UserError("of a release alone", where=key, remedy="name the release: world.release")
    if cfg.annotate.labels and not cfg.from_reference:
        label_rows.check(cfg.annotate.labels, f"{RESULTS}/images")
    if cfg.split.published and not cfg.from_reference:
        published.check(cfg.split.published)
except UserError as error:
    raise WorkflowError(str(error)) from None

if RELEASE:

    ruleorder: real > ceilings
    ruleorder: tally > quality

    rule names:
        input:
            names=f"{RESULTS}/split/names.txt",
            model=model("classifier"),
            mended=cfg.zero_shot.names or [],
            code=code("gillnext.annotate.names"),
        output:
            table="<results>/names.tsv",
        params:
            config=CONFIG,
            mended=["--mended", cfg.zero_shot.names] if cfg.zero_shot.names else [],
            settings=settings("run.threads", "run.device"),
        log:
            "<results>/logs/names.log",
        benchmark:
            "<results>/benchmarks/names/all.tsv"
        threads: cfg.run.threads
        resources:
            gpu=GPU,
        message:
            "names: what detectors are asked for, in their language"
        shell:
            "gillnext names --config {params.config:q} --names {input.names:q} --model {input.model:q} "
            "{params.mended:q} --out {output.table:q} > {log:q} 2>&1"

    rule real:
        input:
            layouts=heldout("test.jsonl"),
            others=heldout("reference.jsonl"),
            images=expand("<results>/images/{part}", part=PARTS),
            base=model("base"),
            evaluator=model("evaluator"),
            second=model("second_evaluator"),
            names=names,
            prior=heldout("prior.safetensors"),
            features=model("features"),
            clip=model("image_text"),
            code=code("gillnext.score.real"),
        output:
            reference=directory("<results>/reference"),
            scores=expand("<results>/scores/ceilings/{of}.json", of=["real", "vae"]),
        params:
            config=CONFIG,
            names=named,
            out=folder("scores/ceilings"),
            settings=settings("run", "sample.size", "zero_shot"),
        log:
            "<results>/logs/real.log",
        benchmark:
            "<results>/benchmarks/real/all.tsv"
        priority: 40
        threads: cfg.run.threads
        resources:
            gpu=GPU,
        message:
            "real: scoring held-out pictures, and these through the autoencoder"
        shell:
            "gillnext real --config {params.config:q} --layouts {input.layouts:q} --others {input.others:q} "
            "--base {input.base:q} --evaluator {input.evaluator:q} --second-evaluator {input.second:q} {params.names:q} "
            "--prior {input.prior:q} --features {input.features:q} --clip {input.clip:q} "
            "--reference {output.reference:q} --out {params.out:q} > {log:q} 2>&1"

    rule tally:
        input:
            filtered=expand("<results>/filtered/{part}.json", part=PARTS),
            index=expand("<results>/index/{part}.json", part=PARTS),
            layouts=expand("<results>/layouts/{part}.json", part=PARTS),
            boxes=expand("<results>/layouts/{part}.jsonl", part=PARTS),
            labels=cfg.annotate.labels or [],
            split=f"{RESULTS}/split/counts.json",
            code=code("gillnext.record.tally"),
        output:
            scores="<results>/scores/data.json",
        params:
            labels=["--labels", cfg.annotate.labels] if cfg.annotate.labels else [],
        log:
            "<results>/logs/tally.log",
        benchmark:
            "<results>/benchmarks/tally/all.tsv"
        priority: 60
        message:
            "tally: what the data stages kept and lost"
        shell:
            "gillnext tally --filtered {input.filtered:q} --index {input.index:q} --layouts {input.layouts:q} "
            "--boxes {input.boxes:q} --split {input.split:q} {params.labels:q} --out {output.scores:q} > {log:q} 2>&1"
