#!/usr/bin/env bash
# Starts the experiment that config.yaml beside this file describes, on all the hardware there is; flags go to the solver.
#   bash exprs/nips_benchmark/ema/resnet50/run.sh --data DIR    (what DIR holds: exprs/README.md)
here="$(CDPATH= cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)"
exec bash "$here/../../../launch.sh" "$here/config.yaml" "$@"
