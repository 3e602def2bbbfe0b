#!/usr/bin/env bash
# Trains a small network on scikit-learn's digits twice, plainly and adversarially, and evaluates both: clean, under eight
# corruptions, under PGD and AutoAttack; both stand side by side at the end. Less than 2 minutes on two cores after the install.
#   bash exprs/quickstart/train.sh            a second time, what is finished is not done again
#   bash exprs/quickstart/train.sh --fresh    ... unless asked for; further flags go to the solver
# Expected under AutoAttack at 24/255: 0 to 5 percent when trained plainly, about 60 when trained adversarially.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source exprs/environment.sh
robustart_environment quickstart
export PYTHON OMP_NUM_THREADS=1
processes="$("$PYTHON" -c 'import os; print(min(2, os.cpu_count() or 1))')"
folder=exprs/quickstart/digits
for training in plain adversarial; do
    bash exprs/launch.sh --nproc "$processes" "$folder/$training.yaml" "$@"
done
both=("$folder/plain" "$folder/adversarial")
"$PYTHON" -m RobustART.cli compare "${both[@]}" --first 0 -o "$folder/comparison.md" -o "$folder/comparison.json"
"$PYTHON" -m RobustART.cli leaderboard "${both[@]}" -o "$folder/board.html"
