#!/usr/bin/env bash
# The one test command: an environment with the test extras, then pytest on all cores. Arguments go to pytest:
#   bash tests/run.sh -k records
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source exprs/environment.sh
robustart_environment test
export OMP_NUM_THREADS=1 # one thread for each of several processes, or they wait for each other
processes="$("$PYTHON" -c 'import os; print(min(4, os.cpu_count() or 1))')"
exec "$PYTHON" -m pytest -n "$processes" --dist loadfile "$@"
