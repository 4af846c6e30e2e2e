# Where inputs lie: models by role, shards, layouts, adapters. No rules here.


# Cut-outs have no templates: another rule makes the model of that role.
MADE_BY = {"second_evaluator": "second_evaluator"} if CUTOUTS else {}


def model(role):
    """The folder of the model that plays a role: made here, given, or fetched from a hub (an input of a rule)."""
    found, made = SOURCES[role], MADE_BY.get(role, ROLES[role].made)
    place = f"{RESULTS}/given/{role}" if found.hub else found.path or f"{RESULTS}/models/{made}"
    return lambda wildcards: place


def autoencoder(wildcards):
    """The model that has the autoencoder: itself, made before the base is, or the base that is given."""
    return model("base")(wildcards) if SOURCES["base"].given else f"{RESULTS}/models/vae"


def shards_of(wildcards):
    """The shards of one part."""
    folder = RELEASE or f"{RESULTS}/world/shards"
    return [f"{folder}/{shard_name(i)}" for i in part_shards(cfg.world, int(wildcards.part))]


def adapter_of(wildcards):
    """The trained adapter of an arm and seed, its own or another arm's; nothing for the base alone."""
    arm = cfg.study.adapter_of(wildcards.arm)
    return [f"{RESULTS}/adapters/{arm}/{wildcards.seed}"] if arm else []


def heldout(name):
    """A file of the held-out layouts: the world's, or those that `split` keeps apart of a release. The test layouts'
    captions name the objects and no places: of a release's these stand beside people's.
    """
    if RELEASE:
        written = {"test.jsonl": "named.jsonl", "people.jsonl": "test.jsonl"}
        return f"{RESULTS}/split/{written.get(name, name)}"
    return f"{RESULTS}/world/heldout/{name}"


# Evaluators that find what they are asked for get the names in their language; the demo's know their classes.
JUDGES = [SOURCES[role] for role in ("evaluator", "second_evaluator")]
OPEN = bool(RELEASE) and any(
    judge.hub or judge.path and not checkpoints.kind(Path(judge.path)).startswith("gillnext-")
    for judge in JUDGES
)


def names(wildcards):
    """The table of names, for evaluators that need one."""
    return [f"{RESULTS}/names.tsv"] if OPEN else []


def named(wildcards):
    """`params` of a rule: the option that names the table."""
    return ["--names", f"{RESULTS}/names.tsv"] if OPEN else []


def layouts_of(wildcards):
    """The held-out layouts of a split, or what is planned from their captions."""
    name = f"{wildcards.split}.jsonl"
    if wildcards.split == "published":
        return f"{cfg.split.published}/test.jsonl"
    return f"{RESULTS}/plans/{name}" if wildcards.split == "relations" else heldout(name)


def prior_of(wildcards):
    """The boxes of the chance level of a split's layouts."""
    name = "prior.safetensors"
    return f"{cfg.split.published}/{name}" if wildcards.split == "published" else heldout(name)


def names_of(wildcards):
    """The names of a split's layouts, for evaluators that need them: a benchmark's are in its own language."""
    if OPEN and wildcards.split == "published":
        return [f"{cfg.split.published}/names.txt"]
    return names(wildcards)


def train_layouts(part="{part}"):
    """The layouts that are learned from, of a part: all of the world's; of a release those of the side `train`."""
    return f"{RESULTS}/{'split/train' if RELEASE else 'layouts'}/{part}.jsonl"


def runs(pattern, arms, seeds=None):
    """`pattern` for every arm of `arms` and each of its seeds, or the first few."""
    return [pattern.format(arm=arm, seed=seed) for arm in arms for seed in cfg.study.seeds_of(arm)[:seeds]]


def language_model(wildcards):
    """The frozen language model of conversations: made here, or given."""
    return f"{RESULTS}/supplement/language" if cfg.gill.language == "made" else cfg.gill.language


def eyes(wildcards):
    """The frozen visual encoder: that of a role, or given."""
    return model(cfg.gill.eyes)(wildcards) if cfg.gill.eyes in ROLES else cfg.gill.eyes


# The adapter that the supplement draws with: the reference arm's first.
FIRST = f"{cfg.study.reference}/{cfg.study.seeds_of(cfg.study.reference)[0]}"


def region_clip(wildcards):
    """The image-text model that edits are led by: made here, that of the role, or given."""
    made = {"made": f"{RESULTS}/supplement/regions/clip", "role": model("image_text")(wildcards)}
    return made.get(cfg.regions.image_text, cfg.regions.image_text)
