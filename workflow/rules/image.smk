# The image that the other rules run in, with --use-singularity. Its name holds the hash of definition and locks, so a
# change of these is another image, and everything that is not made in it is made again.


if SWITCHED_ON:

    localrules:
        image,  # where Snakemake is started: the nodes of a cluster may have no network

    # Without a container: it builds what the others run in.
    rule image:
        output:
            image=IMAGE,
            about=f"{IMAGE}.json",
        params:
            build=source("containers/build.sh"),
        log:
            f"{RESULTS}/logs/image.log",
        threads: 2
        container:
            None
        message:
            "image: building the container image, or linking the one that these locks have"
        shell:
            "{params.build:q} --link {output.image:q} 2>&1 | tee {log:q}"
