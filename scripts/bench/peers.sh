# Sourced by the benchmarks: sets `python` to one that has the peers of requirements.txt. PEERS_PYTHON names one that is there
# already; else a virtual environment is made in build/peers-venv, once.
bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(cd "$bench/../.." && pwd)
export PYTHONDONTWRITEBYTECODE=1
python=${PEERS_PYTHON:-$checkout/build/peers-venv/bin/python}
if [ -z "${PEERS_PYTHON-}" ] && ! [ -e "$checkout/build/peers-venv/complete" ]; then
    echo "bench: installing PyTorch and the other peers into build/peers-venv" >&2
    rm -rf "$checkout/build/peers-venv"
    python3 -m venv "$checkout/build/peers-venv"
    "$python" -m pip install --quiet -r "$bench/requirements.txt"
    : > "$checkout/build/peers-venv/complete"
fi
if ! [ -x "$checkout/minibert" ]; then
    echo "bench: $checkout/minibert is missing: build it first (cmake --preset release && cmake --build --preset release)" >&2
    exit 1
fi
