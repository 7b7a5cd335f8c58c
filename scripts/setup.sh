#!/usr/bin/env bash
# Install what the project needs: Debian packages that are missing, then the pinned Python packages into .venv.
# Safe to run again: what is there already costs well under a second.
set -euo pipefail
cd "$(dirname "$0")/.."

# command:package, for the router itself (nft, ip), the lab and the tests (the rest)
NEEDED=(ip:iproute2 nft:nftables dig:dnsutils tcpdump:tcpdump ping:iputils-ping iperf3:iperf3 dnsmasq:dnsmasq-base
        unbound:unbound dnsperf:dnsperf ps:procps cc:gcc musl-gcc:musl-tools
        /usr/lib/cni/bridge:containernetworking-plugins)

missing=()
for pair in "${NEEDED[@]}"; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
python="${PYTHON:-python3}"
command -v "$python" >/dev/null || missing+=(python3 python3-venv)
if command -v "$python" >/dev/null && ! "$python" -c 'import ensurepip' 2>/dev/null; then missing+=(python3-venv); fi

if ((${#missing[@]})); then
    if [ "$(id -u)" != 0 ]; then
        echo "setup: these Debian packages are missing and only root can install them: ${missing[*]}" >&2
        exit 1
    fi
    echo "setup: installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "setup: Python 3.11 or newer is needed, $python is $("$python" --version); set PYTHON=..." >&2
    exit 1
}

stamp=.venv/.installed
want=$(cat requirements/dev.txt pyproject.toml | sha256sum | cut -d' ' -f1)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then exit 0; fi
echo "setup: installing the pinned Python packages into .venv"
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
echo "$want" > "$stamp"
