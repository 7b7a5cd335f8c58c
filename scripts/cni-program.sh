#!/usr/bin/env bash
# Build the CNI plugins as one static program, for hosts without Python: scripts/cni-program.sh OUTPUT
# With musl where there is musl-gcc (Debian package musl-tools): the C library of Debian looks at the processor for more
# than half a millisecond before `main`, in a virtual machine, and that is as long as all the rest of the program takes.
set -euo pipefail
source="$(dirname "$0")/../weave/cni/weave-net.c"
[ $# = 1 ] || { echo "usage: $0 OUTPUT" >&2; exit 2; }
for compiler in musl-gcc cc; do
    if command -v "$compiler" >/dev/null; then
        mkdir -p "$(dirname "$1")"
        exec "$compiler" -static -O2 -Wall -Wextra -Werror -Wpedantic -Wshadow -Wconversion -o "$1" "$source"
    fi
done
echo "cni-program: there is no C compiler; apt install gcc musl-tools" >&2
exit 1
