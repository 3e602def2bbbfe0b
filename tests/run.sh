#!/usr/bin/env bash
# The one test command: an environment with the test extras, then pytest. Arguments go to pytest:
#   bash tests/run.sh -k records
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source exprs/environment.sh
robustart_environment test
exec "$PYTHON" -m pytest "$@"
