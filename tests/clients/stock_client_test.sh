#!/bin/bash
# Runs the stock client in its virtual environment, with the programs that Bazel built for this test.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
python=${URSA_CACHE:-~/.cache/ursa}/venv/bin/python
if ! [ -x "$python" ]; then
  echo "no $python (hint: tools/setup --checks)" >&2
  exit 1
fi
URSA_BIN=$TEST_TMPDIR/bin
mkdir -p "$URSA_BIN"
for program in client/cli/ursa coordinator/ursa-coordinator worker/agent/ursa-worker worker/task/ursa-task; do
  ln -sf "$(readlink -f "$TEST_SRCDIR/ursa/$program")" "$URSA_BIN/"
done
export URSA_BIN URSA=$URSA_BIN/ursa
exec "$python" "$here/stock_client_test.py"
