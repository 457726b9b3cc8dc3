#!/bin/bash
# Runs the stock client in the virtual environment that tools/setup --checks makes.
set -euo pipefail
python=${URSA_CACHE:-~/.cache/ursa}/venv/bin/python
if ! [ -x "$python" ]; then
  echo "no $python (hint: tools/setup --checks)" >&2
  exit 1
fi
exec "$python" "$(dirname "$(readlink -f "$0")")/stock_client_test.py"
