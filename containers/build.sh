#!/usr/bin/env bash
# Build the pipeline's image, or find the image that these locks have already.
#
#   containers/build.sh [--link FILE]      build where needed; FILE becomes a link to it, FILE.json tells of it
#   containers/build.sh --base debian      on a Debian base made here; public: on the pinned public one; auto (default):
#                                          the public one where its registry answers, else one made here
#   containers/build.sh --check            can this host run images? says what is missing and how to get it
#   containers/build.sh --hash             the hash of definition and locks that an image is kept under
#
# Images are kept in $GILLNEXT_IMAGES, else in the checkout's containers/images (the working folder's, where the checkout
# cannot be written to), each with a .json of its digest, inputs and base. A build takes minutes, downloads ≈ 4 GiB and needs
# ≈ 20 GiB in $APPTAINER_TMPDIR, else $TMPDIR, else /tmp, while it lasts. It works as root and as an ordinary user; one that
# is cut off leaves nothing that could be taken for an image.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
scratch=${APPTAINER_TMPDIR:-${TMPDIR:-/tmp}}
NEEDED_GIB=${GILLNEXT_BUILD_GIB:-20}

fail() { # WHAT REMEDY
    printf 'containers/build.sh: %s\n  remedy: %s\n' "$1" "$2" >&2
    exit 2
}

say() { printf 'image: %s\n' "$*"; }

inputs() {
    (cd "$root" && cat containers/pipeline.def containers/packages.txt containers/gillnext envs/pipeline.txt) |
        sha256sum | cut -c1-16
}

runtime() { command -v apptainer || command -v singularity; }

packages() { sed 's/#.*//' "$root/containers/packages.txt" | xargs | tr ' ' ','; }

there() { # PROGRAM...
    local program
    for program in "$@"; do command -v "$program" > /dev/null || return; done
}

folder() { # of the images
    if [ -n "${GILLNEXT_IMAGES:-}" ]; then
        echo "$GILLNEXT_IMAGES"
    elif [ -f "$root/containers/images/pipeline-$hash.sif" ] || [ -w "$root/containers" ]; then
        echo "$root/containers/images"
    else
        echo containers/images
    fi
}

# --- what a host must have -------------------------------------------------------------------------------------------

# By anybody; or by Apptainer, where its AppArmor profile lets it.
user_namespaces() { unshare --user --map-root-user true 2> /dev/null || [ -e /etc/apparmor.d/apptainer ]; }

setuid_starter() {
    local prefix
    prefix=$(dirname "$(readlink -f "$(runtime)")")/..
    [ -n "$(find "$prefix"/lib* -name starter-suid -perm -4000 2> /dev/null)" ]
}

whole_root() { # does root hold every capability here?
    local bound last
    bound=$(sed -n 's/^CapBnd:[[:space:]]*//p' /proc/self/status)
    last=$(cat /proc/sys/kernel/cap_last_cap)
    [ $((16#$bound)) = $(((1 << (last + 1)) - 1)) ]
}

check() {
    runtime > /dev/null || fail "no apptainer (or singularity) on PATH" \
        "install the package apptainer; on Debian without one, as root: containers/install-apptainer.sh; or run without containers: make paper"
    [ "$(id -u)" = 0 ] || user_namespaces || setuid_starter || fail "this host forbids user namespaces to ordinary users" \
        "ask its administrator for user.max_user_namespaces > 0 (and kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0 where these exist) or for the package apptainer-suid; or run without containers: make paper"
}

check_build() {
    local free
    if [ "$(id -u)" != 0 ]; then
        user_namespaces || fail "an ordinary user builds in a user namespace, and this host forbids them" \
            "ask its administrator for user.max_user_namespaces > 0, or take an image that was built elsewhere: GILLNEXT_IMAGES=its folder"
        { there newuidmap && grep -q "^$(id -un):\|^$(id -u):" /etc/subuid 2> /dev/null; } || fail \
            "$(id -un) has no range of user ids to build with" \
            "as root: apt install uidmap; usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $(id -un)"
    elif ! whole_root; then
        user_namespaces || fail "root lacks capabilities here (a container?), and user namespaces that would give them" \
            "build as an ordinary user, or on another host: GILLNEXT_IMAGES=a folder that both see"
    fi
    case $(realpath -m "$images") in
        *[,:]*) fail "$images: Apptainer cannot bind a path with a comma or colon" "GILLNEXT_IMAGES=another folder" ;;
    esac
    { mkdir -p "$scratch" "$images" && [ -w "$images" ]; } 2> /dev/null || fail \
        "$images has no image of these locks, and cannot be written to" "GILLNEXT_IMAGES=a folder of yours"
    free=$(df --output=avail --block-size=1G "$scratch" | tail -n 1)
    [ "$free" -ge "$NEEDED_GIB" ] || fail "$scratch has $((free)) GiB free, a build needs $NEEDED_GIB" \
        "APPTAINER_TMPDIR=a folder with more"
}

# --- the build -------------------------------------------------------------------------------------------------------

# Some virtual machines withhold a capability from root, and Apptainer's %post asks for all; root of a user namespace that
# maps every id has them.
as_whole_root() { # COMMAND...
    if [ "$(id -u)" != 0 ] || whole_root; then
        "$@"
        return
    fi
    local gate=$work/gate child
    rm -f "$gate" && mkfifo "$gate"
    unshare --user --mount bash -c 'read -r _ < "$0"; exec "$@"' "$gate" "$@" &
    child=$!
    trap 'kill "$child" 2> /dev/null; exit 130' INT TERM
    until [ "$(readlink "/proc/$child/ns/user")" != "$(readlink /proc/self/ns/user)" ]; do
        kill -0 "$child" 2> /dev/null || return
        sleep 0.1
    done
    { echo '0 0 65536' > "/proc/$child/uid_map" && echo '0 0 65536' > "/proc/$child/gid_map"; } || return
    echo go > "$gate"
    wait "$child"
}

# What %post needs to know of this host, bound at /mnt while it runs: proxies, pip's settings, certificates.
host_settings() {
    local name certificates
    for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY \
        PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST PIP_PROXY PIP_DEFAULT_TIMEOUT; do
        [ -z "${!name:-}" ] || printf 'export %s=%q\n' "$name" "${!name}"
    done
    : > "$work/pip.conf"
    for name in /etc/pip.conf "$HOME/.pip/pip.conf" "$HOME/.config/pip/pip.conf" "${PIP_CONFIG_FILE:-}"; do
        [ ! -f "$name" ] || cp "$name" "$work/pip.conf" # the last one found counts most
    done
    echo 'export PIP_CONFIG_FILE=/mnt/pip.conf PIP_CACHE_DIR=/mnt/cache'
    certificates=${PIP_CERT:-${REQUESTS_CA_BUNDLE:-${SSL_CERT_FILE:-}}}
    if [ -n "$certificates" ]; then
        cp "$certificates" "$work/certificates.pem"
        echo 'export PIP_CERT=/mnt/certificates.pem'
    fi
}

# Sets `label`, what the base is, and `from`, what apptainer is told of it beside the definition's own: the pinned public
# base, or a Debian of our own (every file root's and no device nodes, so that an ordinary user can unpack it).
choose_base() { # auto|public|debian
    local answer
    label=$(sed -n 's/^ *FROM=//p' "$root/containers/pipeline.def")
    from=()
    if [ "$1" = public ]; then return; fi
    if [ "$1" = auto ]; then
        if answer=$(timeout 300 "$(runtime)" pull --force "$work/public.sif" "docker://$label" 2>&1); then
            say "base: the public image $label"
            from=(--build-arg BOOTSTRAP=localimage --build-arg "FROM=$work/public.sif")
            return
        fi
        say "no answer for $label: $(tail -n 1 <<< "$answer")"
    fi
    there mmdebstrap mksquashfs || fail "no public base image can be reached, and mmdebstrap is not here to make one" \
        "let this host reach an image registry, or as root: apt install mmdebstrap squashfs-tools"
    say "base: Debian bookworm, made here by mmdebstrap"
    mmdebstrap --quiet --variant=minbase --include="$(packages)" bookworm "$work/base.tar" >&2
    rm -rf "$work/base" && mkdir "$work/base"
    tar --extract --file "$work/base.tar" --directory "$work/base" --exclude './dev/*' --no-same-owner
    mksquashfs "$work/base" "$work/base.squashfs" -all-root -noappend -quiet -no-progress > /dev/null
    label=debian-bookworm-mmdebstrap
    from=(--build-arg BOOTSTRAP=localimage --build-arg "FROM=$work/base.squashfs")
}

build() {
    local began=$SECONDS part digest label from
    check_build
    work=$(realpath "$images")/.build-$(id -u) # may hold passwords of proxies and package indexes
    mkdir -p -m 700 "$work"
    mkdir -p "$work/cache"
    exec 9> "$work.lock" # held by all that is started here too: what outlives a kill is waited for
    flock --nonblock 9 || fail "another build is under way in $images" "wait for it, and give the same command again"
    part=$work/part.sif
    host_settings > "$work/environment"
    choose_base "$base"
    say "building $target ($("$(runtime)" --version))"
    rm -f "$part"
    if ! (cd "$root" && as_whole_root "$(runtime)" build --force --bind "$work:/mnt" \
        --build-arg "INPUTS=$hash" --build-arg "BASE=$label" "${from[@]}" \
        --mksquashfs-args "-comp zstd -Xcompression-level 3" "$part" containers/pipeline.def); then
        find "$work" -mindepth 1 -maxdepth 1 ! -name cache -exec rm -rf {} +
        fail "the build failed (its output is above); nothing was kept but the packages that had arrived" \
            "mend what it says and give the same command again"
    fi
    digest=$(sha256sum "$part" | cut -d' ' -f1)
    printf '{\n "base": "%s",\n "inputs": "%s",\n "sha256": "%s"\n}\n' "$label" "$hash" "$digest" > "$target.json"
    mv "$part" "$target"
    rm -rf "$work"
    say "built in $((SECONDS - began)) s: $(du --apparent-size -h "$target" | cut -f1), sha256 $digest"
}

# --- one of them -----------------------------------------------------------------------------------------------------

link() { # FILE
    mkdir -p "$(dirname "$1")"
    ln -sfn "$(realpath "$target")" "$1"
    cp "$target.json" "$1.json"
}

matches() {
    local have
    have=$("$(runtime)" inspect --labels "$target" 2> /dev/null | sed -n 's/^gillnext.inputs: *//p' || true)
    [ "$have" = "$hash" ] || fail "$target was built from locks ${have:-that it does not tell}, the checkout has $hash" \
        "remove that file and give the same command again"
}

hash=$(inputs)
images=$(folder)
target=$images/pipeline-$hash.sif
base=auto
link=''
while [ $# -gt 0 ]; do
    case $1 in
        --hash) echo "$hash" && exit ;;
        --check) check && exit ;;
        --base) base=${2:?auto, public or debian} && shift ;;
        --link) link=${2:?a file} && shift ;;
        --help | -h) sed -n '2,/^set /s/^# \{0,1\}//p' "$0" && exit ;;
        *) fail "unknown argument $1" "containers/build.sh --help" ;;
    esac
    shift
done
case $base in auto | public | debian) ;; *) fail "--base is auto, public or debian, not $base" "containers/build.sh --help" ;; esac

check
if [ -f "$target" ] && [ -f "$target.json" ]; then
    matches
    say "$target is there"
else
    build
fi
[ -z "$link" ] || link "$link"
