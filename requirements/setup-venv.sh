#!/bin/sh
# Makes an environment: CPython, the locked packages, this package installed in place.
#
#   requirements/setup-venv.sh                  make or renew it; does nothing if it is ready
#   requirements/setup-venv.sh --print-python   say which interpreter would be used
#   requirements/setup-venv.sh --lock [ARG...]  renew the lock (ARG for uv: --upgrade, ...)
#
# STACK=default (.venv) is TensorFlow 2.15, STACK=today (.venv-today) TensorFlow 2.21.
# Ends with status 2 and one sentence when something is missing on the machine.
set -eu

cd "$(dirname -- "$0")/.."
# An environment that happens to be active must neither be used nor changed.
unset VIRTUAL_ENV CONDA_PREFIX PYTHONHOME PYTHONPATH UV_PYTHON UV_SYSTEM_PYTHON || :
# The default of 30 seconds is short for TensorFlow's wheel on a slow line.
export UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-180}"
# Somebody who told pip about a mirror means uv as well, which does not read pip's settings.
if [ -n "${PIP_INDEX_URL:-}" ] && [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then
    export UV_DEFAULT_INDEX="$PIP_INDEX_URL"
fi

NO_DEPS=requirements/no-deps.txt

# uv's progress bars help whoever watches; in a log its list of packages is only noise.
quiet=--quiet
if [ -t 2 ]; then quiet=; fi

say() { printf 'set-up: %s\n' "$*" >&2; }
die() {
    say "$*"
    exit 2
}

# TFX 1.21 has no wheels for an older C library.
has_glibc_2_39() {
    getconf GNU_LIBC_VERSION 2>/dev/null |
        awk '{ split($2, v, "."); exit !($1 == "glibc" && v[1] * 1000 + v[2] >= 2039) }'
}

# Python versions are in the order in which they are looked for.
case "${STACK:=default}" in
    default)
        VENV=.venv
        VERSIONS=3.10
        LOCK=requirements/lock-py310.txt
        ;;
    today)
        VENV=.venv-today
        VERSIONS='3.13 3.12 3.11'
        LOCK=requirements/lock-today.txt
        if has_glibc_2_39; then LOCK=requirements/lock-today-tfx.txt; fi
        ;;
    *) die "STACK=$STACK is not known (known: default, today)." ;;
esac
CPYTHON="CPython $(echo "$VERSIONS" | sed 's/ /, /g; s/, \([^,]*\)$/ or \1/')"
STAMP=$VENV/.stamp

# Prints the interpreter behind $1 if that is a CPython of the right version that starts. Of a
# virtual environment it is the one that made it, as the environment may be our own.
base_python() {
    "$1" -I -c "
import os, platform, sys
version = '%d.%d' % sys.version_info[:2]
if platform.python_implementation() != 'CPython' or version not in '$VERSIONS'.split():
    sys.exit(1)
base = os.path.join(sys.base_prefix, 'bin', 'python' + version)
print(base if os.path.exists(base) else sys.executable)" 2>/dev/null
}

# The search: $PYTHON, then for each version PATH and pyenv. Sets `python`, to nothing if there is
# none.
find_python() {
    if [ -n "${PYTHON:-}" ]; then
        python=$(base_python "$PYTHON") ||
            die "PYTHON=$PYTHON is $("$PYTHON" --version 2>/dev/null || echo 'not a Python that starts'), but $CPYTHON is needed; name another one, or unset PYTHON to have one found."
        return
    fi
    for version in $VERSIONS; do
        if find_version "$version"; then return; fi
    done
    python=
}

find_version() {
    # Every such Python on PATH and not only the first: in front of a real one there may be a
    # pyenv shim that has none of this version behind it.
    saved_ifs=$IFS
    IFS=:
    set -f
    for dir in $PATH; do
        if [ -x "$dir/python$1" ] && python=$(base_python "$dir/python$1"); then
            IFS=$saved_ifs
            set +f
            return
        fi
    done
    IFS=$saved_ifs
    set +f
    pyenv=${PYENV_ROOT:-${HOME:-}/.pyenv}/versions
    for patch in $(cd "$pyenv" 2>/dev/null && ls -d "$1".* 2>/dev/null | sort -t. -k3,3nr); do
        if python=$(base_python "$pyenv/$patch/bin/python$1"); then
            return
        fi
    done
    return 1
}

# Sets `uv`, after installing it into .uv if the machine has none.
find_uv() {
    for uv in uv .uv/env/bin/uv .uv/target/bin/uv; do
        if "$uv" --version >/dev/null 2>&1; then
            return
        fi
    done
    say "installing uv into .uv"
    mkdir -p .uv
    for maker in "$python" python3 /usr/bin/python3; do
        [ -n "$maker" ] || continue
        rm -rf .uv/env .uv/target
        uv=.uv/env/bin/uv
        if "$maker" -m venv .uv/env >.uv/install.log 2>&1 &&
            .uv/env/bin/python -m pip install --quiet 'uv>=0.8,<1' >>.uv/install.log 2>&1 &&
            "$uv" --version >/dev/null 2>&1; then
            return
        fi
        # Debian's Python may lack ensurepip, and with it a usable venv, but have pip.
        uv=.uv/target/bin/uv
        if "$maker" -m pip install --quiet --target .uv/target 'uv>=0.8,<1' >>.uv/install.log 2>&1 &&
            "$uv" --version >/dev/null 2>&1; then
            return
        fi
    done
    rm -rf .uv/env .uv/target
    die "uv could not be installed (why: .uv/install.log); install uv, or let a python3 with the venv module (Debian: the package python3-venv) reach the package index, and try again."
}

checksum() { cat "$LOCK" "$NO_DEPS" setup.py | cksum; }

# The stamp is written last, so an interrupted set-up has none. Its three lines: checksum,
# folder (an environment cannot be moved) and interpreter.
read_stamp() {
    stamp_sum='' stamp_dir='' stamp_python=''
    if [ -f "$STAMP" ] && [ -x "$VENV/bin/python" ]; then
        {
            read -r stamp_sum
            read -r stamp_dir
            read -r stamp_python
        } <"$STAMP" || stamp_sum=''
    fi
}
usable() {
    [ -n "$stamp_sum" ] && [ "$stamp_dir" = "$PWD" ] || return 1
    [ -z "${PYTHON:-}" ] || [ "$stamp_python" = "$python" ]
}
ready() { read_stamp && usable && [ "$stamp_sum" = "$(checksum)" ]; }

make_venv() {
    if [ -e "$VENV" ]; then
        say "replacing $VENV, which is unfinished, was moved, or has another interpreter"
        rm -rf "$VENV"
    fi
    if [ -n "$python" ]; then
        say "interpreter: $python"
        "$uv" venv --quiet --python "$python" "$VENV" ||
            die "uv could not make $VENV with $python."
        return
    fi
    newest=${VERSIONS%% *}
    say "no $CPYTHON on this machine; letting uv fetch $newest"
    mkdir -p .uv
    if ! "$uv" venv --quiet --python-preference only-managed --python "$newest" "$VENV" 2>.uv/fetch.log; then
        rm -rf "$VENV"
        die "there is no $CPYTHON on this machine and uv could not fetch one (why: .uv/fetch.log); install it (for example with 'pyenv install $newest') or name one with PYTHON=/path/to/python$newest."
    fi
    python=$(base_python "$VENV/bin/python")
    say "interpreter: $python"
}

set_up() {
    started=$(date +%s)
    find_python
    find_uv
    # Only a finished environment is brought up to date; of any other nobody knows the state.
    if usable; then
        python=$stamp_python
        say "requirements changed; bringing $VENV up to date"
        rm -f "$STAMP"
    else
        make_venv
    fi
    say "installing the $(grep -c '^[a-z0-9]' "$LOCK") packages of $LOCK"
    # sync installs just what the two files name: the lock is complete, and what is in the
    # other file must come without its dependencies.
    "$uv" pip sync --compile-bytecode $quiet --python "$VENV/bin/python" "$LOCK" "$NO_DEPS" || {
        if grep -q '^pyfarmhash' "$LOCK" && ! command -v g++ >/dev/null 2>&1; then
            die "the packages could not be installed: pyfarmhash, which TFX needs, is compiled; install a C++ compiler and Python's headers (Debian: g++ and python3-dev), and try again."
        fi
        die "the packages could not be installed; see uv's message above."
    }
    say "installing this package in place"
    # The lock has setuptools; an isolated build would fetch it again.
    "$uv" pip install $quiet --python "$VENV/bin/python" --no-deps --no-build-isolation --editable . ||
        die "this package could not be installed; see uv's message above."
    printf '%s\n' "$(checksum)" "$PWD" "$python" >"$STAMP.new"
    mv "$STAMP.new" "$STAMP"
    say "ready in $(($(date +%s) - started)) s"
}

# Writes a lock; the arguments are uv's.
compile_lock() {
    make_lock="make lock"
    if [ "$STACK" != default ]; then make_lock="make lock STACK=$STACK"; fi
    "$uv" pip compile setup.py --quiet --custom-compile-command "$make_lock" "$@"
}

lock() {
    if [ "$STACK" = default ]; then
        compile_lock --all-extras --override requirements/overrides.txt \
            --python "${python:-3.10}" --output-file "$LOCK" "$@"
        return
    fi
    # One for all Pythons, with TFX and, for C libraries that are too old for it, without.
    whole=requirements/lock-today-tfx.txt
    compile_lock --all-extras --universal --python-version "${VERSIONS##* }" \
        --output-file "$whole" "$@"
    compile_lock --extra dev --universal --python-version "${VERSIONS##* }" \
        --constraints "$whole" --output-file requirements/lock-today.txt "$@"
}

case "${1:-}" in
    --print-python)
        find_python
        [ -n "$python" ] || python="none found; uv would fetch one"
        printf '%s\n' "$python"
        exit
        ;;
    --lock)
        shift
        find_python
        find_uv
        lock "$@"
        exit
        ;;
    "") ;;
    *) die "unknown argument '$1' (known: --print-python, --lock)." ;;
esac

# An interpreter that was asked for is looked at even if the environment is ready.
if [ -n "${PYTHON:-}" ]; then find_python; fi
if ready; then exit; fi
# Two makes at once: the second waits for the first and then finds its work done. The lock is
# on this script, which needs no file of its own.
if command -v flock >/dev/null 2>&1; then
    exec 9<requirements/setup-venv.sh
    flock -n 9 || {
        say "waiting for another set-up to finish"
        flock 9 || say "no file lock to be had here; going on without one"
    }
    if ready; then exit; fi
fi
set_up
