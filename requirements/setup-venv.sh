#!/bin/sh
# Create or update .venv (STACK=default) or .venv-today (STACK=today); see requirements/README.md.
# Not `uv sync`: uv.lock records the package index it was made with, and `uv sync` ignores or rejects
# any other. `uv pip sync` takes only the versions from its lock.
set -eu
cd "$(dirname -- "$0")/.."
unset VIRTUAL_ENV CONDA_PREFIX PYTHONHOME PYTHONPATH UV_PYTHON UV_SYSTEM_PYTHON || :
export UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-180}" # TensorFlow's wheel on a slow line
say() { printf 'set-up: %s\n' "$*" >&2; }
die() { say "$*" && exit 2; }

case "${STACK:=default}" in
    default) venv=.venv versions=3.10 lock=requirements/lock-py310.txt ;;
    today)
        venv=.venv-today versions='3.13 3.12 3.11' lock=requirements/lock-today.txt
        # TFX 1.21 has no wheels for older C libraries.
        glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null | cut -d ' ' -f 2)
        oldest=$(printf '2.39\n%s\n' "${glibc:-0}" | sort -V | head -n 1)
        if [ "$oldest" = 2.39 ]; then lock=requirements/lock-today-tfx.txt; fi ;;
    *) die "unknown STACK=$STACK (known: default, today)" ;;
esac
if [ -n "${PYTHON:-}" ] && ! "$PYTHON" -c 'import sys; i = sys.implementation
sys.exit(i.name != "cpython" or "%d.%d" % i.version[:2] not in sys.argv)' $versions 2>/dev/null; then
    die "PYTHON=$PYTHON is not a working CPython of one of these versions: $versions"
fi

# The stamp is written last, so an interrupted set-up leaves none. It names the folder because an
# environment cannot be moved.
stamp="$(cat "$lock" requirements/no-deps.txt pyproject.toml setup.py | cksum) $PWD"
old_stamp() { cat "$venv/.stamp" 2>/dev/null || :; }
base() { "$1" -c 'import sys; print(sys.base_prefix)' 2>/dev/null; }
fits() { [ -x "$venv/bin/python" ] && { [ -z "${PYTHON:-}" ] || [ "$(base "$PYTHON")" = "$(base "$venv/bin/python")" ]; }; }
ready() { [ "$(old_stamp)" = "$stamp" ] && fits; }
if ready; then exit; fi
# Of two runs at a time, the second waits and finds the work done.
if command -v flock >/dev/null; then exec 9<"$0" && flock 9 && if ready; then exit; fi; fi

# uv does not read pip's settings.
index=${UV_DEFAULT_INDEX:-${UV_INDEX_URL:-${PIP_INDEX_URL:-$(python3 -m pip config get global.index-url 2>/dev/null || :)}}}
if [ -n "$index" ]; then export UV_DEFAULT_INDEX="$index"; fi
for uv in uv .uv/env/bin/uv none; do if "$uv" --version >/dev/null 2>&1; then break; fi; done
if [ "$uv" = none ]; then
    say "installing uv into .uv"
    uv=.uv/env/bin/uv python=${PYTHON:-python3}
    rm -rf .uv && mkdir .uv
    # Debian's Python may have pip but not venv.
    { "$python" -m venv .uv/env && .uv/env/bin/python -m pip install -q 'uv>=0.8,<1'; } >.uv/log 2>&1 ||
        "$python" -m pip install -q --target .uv/env 'uv>=0.8,<1' >>.uv/log 2>&1 ||
        die "cannot install uv (see .uv/log): install uv, or python3-venv and access to a package index"
fi

start=$(date +%s)
case "$(old_stamp)" in *" $PWD") fits && update=yes || update= ;; *) update= ;; esac
rm -f "$venv/.stamp"
if [ -z "$update" ]; then
    python=${PYTHON:-}
    # uv searches PATH but not pyenv's folders.
    search=$PATH:$(printf '%s:' "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/*/bin)
    for version in $versions; do
        [ -n "$python" ] || python=$(PATH=$search "$uv" python find --system --no-python-downloads "cpython@$version" 2>/dev/null) || :
    done
    say "creating $venv with ${python:=cpython@${versions%% *}}"
    "$uv" venv -q --clear --no-project --python "$python" "$venv" ||
        die "found no CPython ${versions%% *}, nor could uv download it: install it, or set PYTHON=/path/to/python"
fi
say "installing $(grep -c '^[a-z0-9]' "$lock") packages of $lock"
"$uv" pip sync -q --require-hashes --compile-bytecode --python "$venv/bin/python" "$lock" requirements/no-deps.txt ||
    die "cannot install the packages (TFX compiles pyfarmhash, which needs g++ and python3-dev)"
"$uv" pip install -q --python "$venv/bin/python" --no-deps --no-build-isolation --editable . ||
    die "cannot install this package"
printf '%s\n' "$stamp" >"$venv/.stamp"
say "ready in $(($(date +%s) - start)) s"
