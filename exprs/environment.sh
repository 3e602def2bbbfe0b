# Sourced by the scripts that set up their own environment: makes a virtual environment in .venv (or $ROBUSTART_VENV) and
# installs this package with one of its extras, once; a later call with the same requirements returns at once.
#   source exprs/environment.sh && robustart_environment quickstart
# Afterwards $PYTHON is the environment's interpreter.

robustart_environment() {
    local extra="$1" root venv base stamp wanted
    if [ -n "${ROBUSTART_READY:-}" ]; then # an interpreter that has everything already
        PYTHON="$ROBUSTART_READY"
        return
    fi
    root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
    venv="${ROBUSTART_VENV:-$root/.venv}"
    PYTHON="$venv/bin/python"
    if ! "$PYTHON" -m pip --version >/dev/null 2>&1; then
        rm -rf "$venv" # nothing there, or half made
        for base in "${ROBUSTART_PYTHON:-}" python3 python3.13 python3.12 python3.11 python3.10 python; do
            [ -n "$base" ] && command -v "$base" >/dev/null 2>&1 \
                && "$base" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2])' && break
            base=""
        done
        if [ -z "$base" ]; then
            echo "error: Python 3.10 or newer is needed, and none was found; set ROBUSTART_PYTHON to one" >&2
            return 1
        fi
        echo "Making a virtual environment in $venv with $("$base" --version)"
        if ! "$base" -m venv "$venv"; then
            rm -rf "$venv"
            echo "error: no virtual environment could be made; on Debian and Ubuntu: apt install python3-venv" >&2
            return 1
        fi
    fi
    stamp="$venv/.robustart-$extra"
    wanted="$(cat "$root/requirements.txt" "$root/pyproject.toml" | cksum) $root"
    if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        echo "Installing RobustART with [$extra]: about 6 GB and a few minutes the first time"
        "$PYTHON" -m pip install --quiet --disable-pip-version-check --editable "$root[$extra]" || return 1
        if ! "$PYTHON" -c 'import cv2' 2>/dev/null; then
            # opencv-python needs libGL, which machines without a screen often lack; the headless build does not.
            "$PYTHON" -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps opencv-python-headless || return 1
        fi
        echo "$wanted" >"$stamp"
    fi
}
