# How further trainings of GILL differ from it (supplement.variants). No rules here.

VARIANTS = cfg.supplement.variants


def variant_options(wildcards):
    """The options of `gillnext gill` in which a variant differs."""
    asked = VARIANTS[wildcards.variant]
    options = {name: getattr(asked, name) for name in ("images", "generation", "steps")}
    return [part for name, value in options.items() if value is not None for part in (f"--{name}", value)]


def trains_adapter(wildcards):
    """Whether a variant learns through the UNet, with its adapter."""
    return VARIANTS[wildcards.variant].generation == "denoising"


def adapter_to_train(wildcards):
    """The option that names the adapter that a variant begins with, where it trains one."""
    return ["--adapter", f"{RESULTS}/adapters/{FIRST}"] if trains_adapter(wildcards) else []


def adapter_to_draw(wildcards):
    """The folder of the adapter that a variant's pictures are drawn with: its own, or the run's."""
    own = f"{RESULTS}/supplement/variants/{wildcards.variant}/gill/adapter"
    return own if trains_adapter(wildcards) else f"{RESULTS}/adapters/{FIRST}"
