#!/usr/bin/env bash
# Runs a config on all the hardware there is: srun inside a Slurm job (or with --slurm), torchrun with one process per GPU
# elsewhere, one process on a machine without GPUs. The result is the same in every case.
#   bash exprs/launch.sh exprs/quickstart/config.yaml                  flags after the config go to the solver
#   bash exprs/launch.sh --nproc 2 config.yaml --fresh                 two processes here
#   bash exprs/launch.sh --slurm -p gpu -N 2 --ntasks-per-node=8 --gres=gpu:8 -- config.yaml    flags before -- go to srun
set -euo pipefail
python="${PYTHON:-python}"
module=RobustART.training.cls_solver
slurm="${SLURM_JOB_ID:+yes}"
nproc=""
srun_flags=()
while [ $# -gt 0 ]; do
    case "$1" in
        --slurm)
            slurm=yes
            shift
            while [ $# -gt 0 ] && [ "$1" != "--" ]; do srun_flags+=("$1"); shift; done
            [ $# -gt 0 ] || { echo "error: --slurm takes srun's flags, then --, then the config" >&2; exit 2; }
            shift
            ;;
        --nproc)
            [ $# -gt 1 ] || { echo "error: --nproc takes a number" >&2; exit 2; }
            nproc="$2"
            shift 2
            ;;
        -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) break ;;
    esac
done
[ $# -gt 0 ] || { echo "error: no config given; see bash exprs/launch.sh --help" >&2; exit 2; }
config="$1"
shift
if [ "$slurm" = yes ] && [ -z "$nproc" ]; then
    command -v srun >/dev/null || { echo "error: srun was not found; this is no Slurm machine" >&2; exit 2; }
    exec srun --kill-on-bad-exit=1 ${srun_flags[@]+"${srun_flags[@]}"} "$python" -m "$module" --config "$config" "$@"
fi
[ -n "$nproc" ] || nproc="$("$python" -c 'import torch; print(max(torch.cuda.device_count(), 1))')"
if [ "$nproc" -gt 1 ]; then
    exec "$python" -m torch.distributed.run --standalone --nproc_per_node="$nproc" -m "$module" --config "$config" "$@"
fi
exec "$python" -m "$module" --config "$config" "$@"
