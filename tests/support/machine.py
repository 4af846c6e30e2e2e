"""An ordinary user's machine that can build and run images, whatever this machine is: a folder of programs."""

from pathlib import Path

WITHHELD = {"apptainer", "singularity", "mmdebstrap", "mksquashfs", "newuidmap"}

# Notes each call, and what `exec` binds. `build … IMAGE DEFINITION` writes IMAGE with the INPUTS argument in it,
# `inspect` tells it, `exec` runs a command with no more of the environment than Apptainer passes on.
APPTAINER = """#!/bin/bash
echo "$*" >> "$FAKE_LOG"
case $1 in
    --version) echo "apptainer version 1.4.5" ;;
    pull) [ -n "$FAKE_REGISTRY" ] && echo base > "$3" || { echo "FATAL: dial tcp: no route to host" >&2; exit 255; } ;;
    build)
        image=${@: -2:1}
        inputs=$(sed 's/.*INPUTS=\\([^ ]*\\).*/\\1/' <<< "$*")
        echo half > "$image"
        echo "Fetching torch..."
        sleep "${FAKE_SECONDS:-0}"
        [ -z "$FAKE_FAILURE" ] || { echo "FATAL: $FAKE_FAILURE" >&2; exit 255; }
        echo "${FAKE_INPUTS:-$inputs}" > "$image" ;;
    inspect) [ -s "$3" ] || exit 255; echo "gillnext.inputs: $(cat "$3")" ;;
    exec)
        echo "bind $APPTAINER_BIND" >> "$FAKE_LOG"
        while [[ $1 != *.sif ]]; do shift; done
        [ -s "$1" ] || { echo "FATAL: could not open image $1" >&2; exit 255; }
        shift
        passed=(PATH="$PATH" HOME="$PWD")
        [ -n "$APPTAINER_CLEANENV" ] || while IFS= read -r -d '' pair; do passed+=("$pair"); done < <(env -0)
        while IFS= read -r -d '' pair; do
            case $pair in APPTAINERENV_*) passed+=("${pair#APPTAINERENV_}") ;; esac
        done < <(env -0)
        exec env -i "${passed[@]}" "$@" ;;
esac
"""


def program(folder: Path, name: str, text: str) -> None:
    """Write an executable, in place of a link if there is one."""
    path = folder / name
    path.unlink(missing_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def machine(folder: Path, log: Path) -> dict[str, str]:
    """Fill `folder` with links to this machine's programs and stand-ins; returns the environment to use them."""
    folder.mkdir(exist_ok=True)
    for place in ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"):
        for path in Path(place).iterdir():
            if path.name not in WITHHELD and not (folder / path.name).exists():
                (folder / path.name).symlink_to(path)
    program(folder, "apptainer", APPTAINER)
    program(folder, "newuidmap", "#!/bin/sh\n")
    program(folder, "unshare", "#!/bin/sh\nexit 0\n")
    program(folder, "id", '#!/bin/sh\n[ "$1" = -un ] && echo somebody || echo 1000\n')
    program(folder, "grep", '#!/bin/sh\ncase "$*" in */etc/subuid) exit 0;; esac\nexec /bin/grep "$@"\n')
    log.touch()
    return {"PATH": str(folder), "FAKE_LOG": str(log), "FAKE_REGISTRY": "answers", "GILLNEXT_BUILD_GIB": "0"}
