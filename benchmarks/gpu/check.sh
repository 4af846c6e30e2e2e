#!/bin/bash
# Parts at toy size beside each other on this machine: what a GPU refuses is found in a minute.
#     benchmarks/gpu/check.sh OUT MODELS SECONDS [PART …]
set -u
here=$(cd "$(dirname "$0")" && pwd) out=$1 models=$2 limit=$3
mkdir -p "$out"
declare -A more=([stages]="--models $models" [base]="--toy --models $models" [kolors]="--toy --precision bf16" [language]=--toy)
for part in "${@:4}"; do
    # shellcheck disable=SC2086 # several words
    (timeout $((limit + 20)) python3 "$here/$part.py" --out "$out/$part.json" --seconds "$limit" ${more[$part]} \
        > "$out/$part.log" 2>&1; echo "$part: exit $?") &
done
wait
