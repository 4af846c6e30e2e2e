# Where a run takes place: the checkout, and what its jobs run in: this interpreter's environment, or the image. Read
# before everything else, with Snakemake's own dependencies alone: a host with containers needs nothing more.
import os
import subprocess
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod
from snakemake.utils import min_version

min_version("9.19")

# Of this file, whichever Snakefile includes it: the root's, or the one in workflow/.
ROOT = Path(os.path.realpath(workflow.current_basedir.get_path_or_uri(secret_free=True))).parents[1]
# Relative, so that inputs are the same wherever a checkout lies: "." but for a run with --directory.
CHECKOUT = Path(os.path.relpath(ROOT))
sys.path.insert(0, str(ROOT / "src"))

INSIDE = "GILLNEXT_IMAGE" in os.environ  # a job in the image that asks Snakemake something (rule html)
SWITCHED_ON = DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method
CONTAINED = INSIDE or SWITCHED_ON  # results of their own: nothing of a run on the host is redone or mixed in


def source(name):
    """A file or folder of the checkout."""
    return str(CHECKOUT / name)


def cutouts(folder):
    """All files of a folder of cut-outs, which world.objects names."""
    if not (Path(folder) / "objects.csv").is_file():
        remedy = "make build/photos/objects.csv or build/emoji/objects.csv, or a folder of your own (docs/photos.md)"
        raise WorkflowError(f"world.objects: {folder}: no objects.csv there\n  remedy: {remedy}")
    return sorted(str(path) for path in Path(folder).rglob("*") if path.is_file())


def tree(name):
    """All files of a folder of the checkout."""
    return sorted(str(path) for path in Path(source(name)).rglob("*") if path.is_file())


def image_script(*arguments):
    """What containers/build.sh answers; its refusal, which tells the remedy, ends the run."""
    answer = subprocess.run([source("containers/build.sh"), *arguments], capture_output=True, text=True)
    if answer.returncode:
        raise WorkflowError(answer.stderr.strip())
    return answer.stdout.strip()


def bindable(place):
    """`place`; an error where Apptainer cannot bind it."""
    if set(place) & set(",:'\"\\$`"):
        what = "Apptainer cannot bind a path with a comma, colon, quote, backslash or dollar sign"
        raise WorkflowError(f"{place}: {what}\n  remedy: move it, or run without containers: make paper")
    return place


if SWITCHED_ON:
    image_script("--check")
    for place in (str(ROOT), os.getcwd()):
        bindable(place)
INPUTS = image_script("--hash")  # of the image's definition and locks: a change of them is another image
IMAGE = f"results/pipeline-{INPUTS}.sif"


def image():
    """What a rule's jobs run in, as inputs; nothing on the host, or where a job in it asks: the link leads out."""
    return [ancient(IMAGE), ancient(f"{IMAGE}.json")] if SWITCHED_ON else []


def isolate(environment, caches, given):
    """Jobs in the image see `environment`, caches in the folder `caches`, what the settings name outside the checkout
    (`given`: files and folders, to be read only), which GPUs they may use, how to get through a proxy, and nothing else
    of the host's.
    """
    folders = {
        "HF_HOME": "huggingface",
        "TORCH_HOME": "torch",
        "MPLCONFIGDIR": "matplotlib",
        "XDG_CACHE_HOME": "xdg",
    }
    environment |= {name: os.path.abspath(f"{caches}/{folder}") for name, folder in folders.items()}
    environment |= {
        "PYTHONPATH": str(ROOT / "src"),
        "GILLNEXT_IMAGE": f"{IMAGE}.json",
        "GILLNEXT_INPUTS": INPUTS,
    }
    environment |= {name: value for name, value in os.environ.items() if name == "CUDA_VISIBLE_DEVICES"}
    for name in [name for name in os.environ if name.startswith(("APPTAINERENV_", "SINGULARITYENV_"))]:
        del os.environ[name]
    mode = "" if Path.cwd().is_relative_to(ROOT) else ":ro"
    outside = [bindable(os.path.abspath(name)) for name in given if name and Path(name).exists()]
    outside = [place for place in outside if not Path(place).is_relative_to(Path.cwd())]
    places = [f"{ROOT}:{ROOT}{mode}"] * (CHECKOUT != Path()) + [f"{place}:{place}:ro" for place in outside]
    for tool in ("APPTAINER", "SINGULARITY"):
        os.environ[f"{tool}_CLEANENV"] = "1"
        if places:
            os.environ[f"{tool}_BIND"] = ",".join(filter(None, [os.environ.get(f"{tool}_BIND"), *places]))
        os.environ.update({f"{tool}ENV_{name}": value for name, value in environment.items()})
