# What Snakemake finds at the root by itself. The workflow lies in workflow/, where its catalogue looks for it; a call with
# `--snakefile workflow/Snakefile` is the same.


include: "workflow/Snakefile"


workflow.default_target = "all"  # an included file's does not count (docs/facts.md)
