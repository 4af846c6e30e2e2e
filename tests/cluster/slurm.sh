#!/usr/bin/env bash
# The smoke tier through a real Slurm on this machine, by profiles/slurm, to a green end: `make test-slurm`.
#
# As root. Installs Debian's slurm-wlm and munge where they are missing, runs both on loopback with settings and state in
# a folder of its own, and stops what it started. The host's own Slurm, where there is one, is not touched: the settings
# lie over /etc/slurm in a mount namespace of this script's own (a job's srun asks there, not in SLURM_CONF).
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD

fail() {
    printf 'slurm.sh: %s\n  remedy: %s\n' "$1" "$2" >&2
    exit 2
}

[ "$(id -u)" = 0 ] || fail "Slurm's daemons are started as root" "sudo make test-slurm"
if ! { command -v slurmctld && command -v slurmd && command -v munged; } > /dev/null; then
    command -v apt-get > /dev/null || fail "no Slurm here, and no apt-get" "install slurm and munge"
    (
        policy=/usr/sbin/policy-rc.d # nothing is to start by itself
        if [ ! -e "$policy" ]; then
            trap 'rm -f "$policy"' EXIT
            printf '#!/bin/sh\nexit 101\n' > "$policy" && chmod 755 "$policy"
        fi
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge > /dev/null
    )
fi

if [ "${1:-}" != --apart ]; then exec unshare --mount tests/cluster/slurm.sh --apart; fi

work=$(mktemp -d)
chmod 755 "$work" # munged goes there as a user of its own
processes=()
stop() {
    status=$?
    trap - EXIT
    for process in "${processes[@]}"; do kill "$process" 2> /dev/null || true; done
    for process in "${processes[@]}"; do wait "$process" 2> /dev/null || true; done
    umount /etc/slurm 2> /dev/null || true
    if [ "$status" = 0 ]; then rm -rf "$work"; else echo "logs are kept in $work" >&2; fi
    exit "$status"
}
trap stop EXIT

# --- munge and Slurm on loopback -------------------------------------------------------------------------------------

install -d -m 755 -o munge "$work/munge"
head -c 128 /dev/urandom > "$work/munge/key"
chown munge "$work/munge/key" && chmod 400 "$work/munge/key"
setpriv --reuid munge --regid munge --init-groups munged --foreground --force --key-file "$work/munge/key" \
    --socket "$work/munge/socket" --pid-file "$work/munge/pid" --seed-file "$work/munge/seed" \
    --log-file "$work/munge/log" 2> "$work/munge/out" &
processes+=($!)

mkdir -p "$work/state" "$work/spool" "$work/etc" /etc/slurm
mount --bind "$work/etc" /etc/slurm
cores=$(nproc)
# More memory than there is: the profile asks for a real cluster's.
cat > /etc/slurm/slurm.conf << END
ClusterName=loopback
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=root
SlurmctldPort=26817
SlurmdPort=26818
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket
CredType=cred/munge
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$cores RealMemory=1000000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
slurmctld -D > "$work/slurmctld.out" 2>&1 &
processes+=($!)
slurmd -D > "$work/slurmd.out" 2>&1 &
processes+=($!)
for _ in $(seq 60); do
    [ "$(sinfo --noheader --format %T 2> /dev/null)" != idle ] || break
    sleep 1
done
[ "$(sinfo --noheader --format %T)" = idle ] || fail "no idle node after 60 s" "look at slurmctld.log and slurmd.log"
sinfo --long

# --- the smoke tier through it ---------------------------------------------------------------------------------------

SECONDS=0
mkdir "$work/run"
export GILLNEXT_IMAGES=${GILLNEXT_IMAGES:-$root/containers/images}
.venv-host/bin/snakemake --snakefile "$root/Snakefile" --directory "$work/run" --profile "$root/profiles/slurm" \
    --workflow-profile "$root/profiles/default" --configfile "$root/config/smoke.yaml" \
    --slurm-no-account --slurm-status-command squeue --slurm-init-seconds-before-status-checks 2 \
    --seconds-between-status-checks 3
test -s "$work/run/results/smoke-container/paper/paper.pdf"
test -s "$work/run/results/smoke-container/report.html"
jobs=$(grep -c 'JobId=.* Action=completed\|_job_complete: JobId=.* done' "$work/slurmctld.log" || true)
[ "$jobs" -ge 30 ] || fail "Slurm tells of $jobs jobs only" "look at slurmctld.log"
echo "slurm: the smoke tier in $SECONDS s, $jobs jobs"
