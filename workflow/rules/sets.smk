# Scores of the held-out sets that a release has beside the test set: people's captions, a published benchmark's layouts.


use rule score as beside with:
    input:
        samples="<results>/samples/{arm}/{seed}/{split}",
        evaluator=model("evaluator"),
        second=model("second_evaluator"),
        names=names_of,
        prior=prior_of,
        features=model("features"),
        clip=model("image_text"),
        reference="<results>/reference",
        code=code("gillnext.score.stage"),
    output:
        scores="<results>/scores/{split}/{arm}/{seed}.json",
    params:
        names=lambda wildcards, input: ["--names", *input.names] if input.names else [],
        settings=settings("run", "zero_shot"),
    log:
        "<results>/logs/beside/{arm}-{seed}-{split}.log",
    benchmark:
        "<results>/benchmarks/beside/{arm}-{seed}-{split}.tsv"
    wildcard_constraints:
        split="people|published",
    message:
        "beside: the {wildcards.split} layouts, arm {wildcards.arm}, seed {wildcards.seed}"
