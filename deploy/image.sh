#!/usr/bin/env bash
# Build the image of one node with buildah, from Debian's and Python's packages alone: no registry of images is asked.
#
#   deploy/image.sh [ARCHIVE]      leave the image in a file too, for `ctr images import`, `podman load` or `docker load`
#
# IMAGE names it (default weave.local/weave:VERSION), BASE an image to build on that is already here (default: one made
# by mmdebstrap). Needs root, buildah, mmdebstrap, and a C compiler for the CNI executable.
set -euo pipefail
cd "$(dirname "$0")/.."

archive=${1:-}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
IMAGE=${IMAGE:-weave.local/weave:$version}
SUITE=${SUITE:-bookworm}
MADE_HERE=localhost/weave-base:$SUITE
PACKAGES=python3,python3-venv,nftables,iproute2,kmod

fail() { echo "image: $*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || fail "only root can build it: try sudo"
missing=()
for program in buildah mmdebstrap; do command -v "$program" >/dev/null || missing+=("$program"); done
if ((${#missing[@]})); then
    echo "image: installing ${missing[*]}"
    DEBIAN_FRONTEND=noninteractive apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# The storage of the images is ours alone, so that building touches nobody's.
store=build/containers
mkdir -p "$store"
buildah() { command buildah --root "$PWD/$store/root" --runroot "$PWD/$store/run" --storage-driver vfs "$@"; }

if [ -z "${BASE:-}" ]; then
    BASE=$MADE_HERE
    if ! buildah inspect --type image "$BASE" >/dev/null 2>&1; then
        echo "image: making a base of Debian $SUITE"
        mmdebstrap --quiet --variant=minbase --include="$PACKAGES" \
            --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
            --dpkgopt='path-exclude=/usr/share/locale/*' "$SUITE" build/base.tar
        container=$(buildah from scratch)
        buildah add -q "$container" build/base.tar / >/dev/null
        buildah commit -q --rm "$container" "$BASE" >/dev/null
        rm build/base.tar
    fi
fi

echo "image: collecting the Python packages"
python=.venv/bin/python
[ -x "$python" ] || { python3 -m venv build/venv; python=build/venv/bin/python; }
rm -rf build/wheels && mkdir -p build/wheels
$python -m pip download --quiet --disable-pip-version-check --only-binary :all: --require-hashes \
    --python-version 3.11 -r requirements/runtime.txt -d build/wheels
$python -m pip wheel --quiet --disable-pip-version-check --no-deps -w build/wheels .

scripts/cni-program.sh build/cni/weave-net || fail "the CNI program cannot be built"

echo "image: building $IMAGE"
buildah bud --quiet --isolation chroot --network host --ignorefile deploy/Containerfile.ignore \
    --build-arg "BASE=$BASE" -f deploy/Containerfile -t "$IMAGE" . >/dev/null
if [ -n "$archive" ]; then
    rm -f "$archive"
    buildah push -q "$IMAGE" "docker-archive:$archive:$IMAGE"
    echo "image: $IMAGE in $archive"
else
    echo "image: $IMAGE in $store"
fi
