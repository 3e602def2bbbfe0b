#!/usr/bin/env bash
# Runs a config on all the hardware there is: srun inside a Slurm job (or with --slurm), torchrun with one process per GPU
# elsewhere, one process on a machine without GPUs. The result is the same in every case.
#   bash exprs/launch.sh exprs/quickstart/config.yaml                  flags after the config go to the solver
#   bash exprs/launch.sh --nproc 2 config.yaml --fresh                 two processes here
#   bash exprs/launch.sh --slurm -p gpu -N 2 --ntasks-per-node=8 --gres=gpu:8 -- config.yaml    flags before -- go to srun
# Both may also stand after the config, so that the run.sh of an experiment takes them.
set -euo pipefail
python="${PYTHON:-python}"
module=RobustART.training.cls_solver
slurm="${SLURM_JOB_ID:+yes}"
nproc=""
srun_flags=()
rest=()
while [ $# -gt 0 ]; do
    case "$1" in
        --slurm)
            slurm=yes
            shift
            while [ $# -gt 0 ] && [ "$1" != "--" ]; do srun_flags+=("$1"); shift; done
            [ $# -gt 0 ] || { echo "error: --slurm takes srun's flags, then --, then the config" >&2; exit 2; }
            ;;
        --nproc)
            [ $# -gt 1 ] || { echo "error: --nproc takes a number" >&2; exit 2; }
            nproc="$2"
            shift
            ;;
        -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) rest+=("$1") ;;
    esac
    shift
done
[ ${#rest[@]} -gt 0 ] || { echo "error: no config given; see bash exprs/launch.sh --help" >&2; exit 2; }
command=(-m "$module" --config "${rest[@]}")
if [ "$slurm" = yes ] && [ -z "$nproc" ]; then
    command -v srun >/dev/null || { echo "error: srun was not found; this is no Slurm machine" >&2; exit 2; }
    exec srun --kill-on-bad-exit=1 ${srun_flags[@]+"${srun_flags[@]}"} "$python" "${command[@]}"
fi
[ -n "$nproc" ] || nproc="$("$python" -c 'import torch; print(max(torch.cuda.device_count(), 1))')"
if [ "$nproc" -gt 1 ]; then
    exec "$python" -m torch.distributed.run --standalone --nproc_per_node="$nproc" "${command[@]}"
fi
exec "$python" "${command[@]}"
