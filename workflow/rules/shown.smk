# The pictures that parts of the supplement show.


rule storyboard:
    input:
        edits=f"{RESULTS}/supplement/edits",
        data=f"{RESULTS}/supplement/frames",
        clips=f"{RESULTS}/supplement/clips",
        code=code("gillnext.supplement.storyboard"),
    output:
        shown="<results>/supplement/frames.zip",
    log:
        "<results>/supplement/logs/storyboard.log",
    benchmark:
        "<results>/supplement/benchmarks/storyboard/all.tsv"
    message:
        "storyboard: the clips that the supplement shows"
    shell:
        "gillnext storyboard --edits {input.edits:q} --data {input.data:q} --clips {input.clips:q} --out {output.shown:q} "
        "> {log:q} 2>&1"
