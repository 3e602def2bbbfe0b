#!/usr/bin/env bash
# Runs a config on all the hardware there is: srun inside a Slurm job (or with --slurm), torchrun with one process per GPU
# elsewhere, one process on a machine without GPUs. Evaluations give the same in every case.
#   bash exprs/launch.sh exprs/quickstart/config.yaml                  flags after the config go to the solver
#   bash exprs/launch.sh --nproc 2 config.yaml --fresh                 two processes here
#   bash exprs/launch.sh --slurm -p gpu -N 2 --ntasks-per-node=8 --gres=gpu:8 -- config.yaml    flags before -- go to srun
# Both may also stand after the config, so that the run.sh of an experiment takes them.
set -euo pipefail
python="${PYTHON:-python}"
module=RobustART.training.cls_solver
slurm="${SLURM_JOB_ID:+yes}"
asked=""
nproc=""
srun_flags=()
rest=()
refuse() {
    echo "error: $1" >&2
    exit 2
}
while [ $# -gt 0 ]; do
    case "$1" in
        --slurm)
            slurm=yes asked=yes
            shift
            while [ $# -gt 0 ] && [ "$1" != "--" ]; do srun_flags+=("$1"); shift; done
            [ $# -gt 0 ] || refuse "--slurm takes srun's flags, then --, then the config"
            ;;
        --nproc)
            nproc="${2-none}"
            [ $# -gt 1 ] && shift
            ;;
        --nproc=*) nproc="${1#--nproc=}" ;;
        -h | --help)
            [ ${#rest[@]} -gt 0 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0; }
            rest+=("$1")
            ;;
        *) rest+=("$1") ;;
    esac
    case "$nproc" in "" | [1-9] | [1-9][0-9] | [1-9][0-9][0-9]) ;; *) refuse "--nproc takes a number of processes, got '$nproc'" ;; esac
    shift
done
[ ${#rest[@]} -gt 0 ] || refuse "no config given; see bash exprs/launch.sh --help"
case "${rest[0]}" in -*) refuse "the config comes before the solver's flags, got '${rest[0]}'" ;; esac
[ -z "$asked" ] || [ -z "$nproc" ] || refuse "--nproc is for this machine alone; with --slurm say --ntasks-per-node to srun"
command -v "$python" >/dev/null || refuse "there is no '$python'; set PYTHON to the interpreter that RobustART is installed for"
"$python" -c 'import RobustART' 2>/dev/null || refuse "'$python' has no RobustART: install it (README.md), or set PYTHON"
command=(-m "$module" --config "${rest[@]}")
if [ "$slurm" = yes ] && [ -z "$nproc" ]; then
    command -v srun >/dev/null || refuse "srun was not found; this is no Slurm machine"
    exec srun --kill-on-bad-exit=1 ${srun_flags[@]+"${srun_flags[@]}"} "$python" "${command[@]}"
fi
[ -n "$nproc" ] || nproc="$("$python" -c 'import torch; print(max(torch.cuda.device_count(), 1))')"
if [ "$nproc" -gt 1 ]; then
    exec "$python" -m torch.distributed.run --standalone --nproc_per_node="$nproc" "${command[@]}"
fi
exec "$python" "${command[@]}"
