#!/bin/sh
# Install the packages that requirements.lock pins into a virtual environment: sh scripts/install-lock.sh .venv/bin/python
#
# Every file is checked against its hash. For PyTorch on Linux the lock has the hash of the CPU build for Python 3.11 on
# x86_64. If that build is not available, PyTorch is installed first, without hashes; pip then does not change it.
set -eu
python=$1
lock=$(dirname "$0")/../requirements.lock
torch=$(sed -n 's/^torch==\([^ ]*\).*/\1/p' "$lock")
cpu_index=https://download.pytorch.org/whl/cpu

pip() { "$python" -m pip --disable-pip-version-check "$@"; }
say() { echo "setup: $*"; }
offers_cpu_build() { pip --retries 1 --timeout 20 index versions torch "$@" 2>/dev/null | grep -qF " $torch+cpu"; }
has_torch() { "$python" -c "import importlib.metadata as m; assert m.version('torch').split('+')[0] == '$torch'" 2>/dev/null; }

# pip's own lines would be a thousand: every 25th package is told, then what takes long without a word
told() {
    awk -v all="$packages" '/^ *(Collecting|Requirement already satisfied)/ && ++n % 25 == 0 && n <= all { print "setup: " n " of " all " packages found and fetched" }
        /^Installing collected/ { print "setup: all fetched; installing them without a further word, which takes minutes" } { fflush() }'
}
# `pip install`, told of; its exit status, which the pipe would lose
install() {
    failed=$(mktemp)
    { pip install --progress-bar off --no-compile "$@" || echo failed >"$failed"; } | told
    status=$(wc -l <"$failed")
    rm -f "$failed"
    return "$status"
}

packages=$(grep -c '^[^ #].*==' "$lock")
say "$packages packages into $(dirname "$(dirname "$python")"): about 1.3 GB to download and 5 GB on the disk; this takes some minutes"
# the pip that Python brings weighs each file of each index by itself: with this one packages are found in half of the time
pins=$(mktemp)
trap 'rm -f "$pins"' EXIT
echo "pip==26.3 --hash=sha256:f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13" >"$pins"
pip install -qq --require-hashes -r "$pins" >/dev/null 2>&1 || true
from=""
if [ "$(uname -s)" = Linux ] && ! has_torch; then
    hashed=no
    machine="Python $("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') on $(uname -m)"
    [ "$machine" = "Python 3.11 on x86_64" ] && hashed=yes
    cpu=yes
    if offers_cpu_build; then
        :
    elif offers_cpu_build --index-url "$cpu_index"; then
        from="--extra-index-url $cpu_index"
    else
        cpu=no
    fi
    if [ $cpu = no ]; then
        say "the CPU build of PyTorch $torch cannot be reached: its build with CUDA is installed instead,"
        say "about 2.5 GB more to download, and more on the disk; neither it nor its further packages are checked against hashes"
    elif [ $hashed = no ]; then
        say "the lock has no hash of PyTorch $torch for $machine: it is installed without"
    fi
    if [ $cpu = no ] || [ $hashed = no ]; then
        sed -n 's/^\([^][ #]*\)\(\[.*\]\)\{0,1\}\(==[^ ]*\).*/\1\3/p' "$lock" >"$pins"  # constraints take no extras
        # shellcheck disable=SC2086
        install -c "$pins" $from "torch==$torch"
    fi
fi
# shellcheck disable=SC2086
install --require-hashes $from -r "$lock"
say "compiling their modules, on all processors"  # pip would do it on one
# what few or no commands import is left out, a quarter of all: Python compiles it where it is imported
"$python" -m compileall -q -j 0 -x '/(tests|transformers/models|plotly/graph_objs|plotly/validators|moto|pip)/' "$(dirname "$(dirname "$python")")/lib" >/dev/null 2>&1 || true  # templates are no Python
say "done: $(du -sh "$(dirname "$(dirname "$python")")" | cut -f1) on the disk"
