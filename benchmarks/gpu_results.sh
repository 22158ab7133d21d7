#!/bin/bash
# Rows of docs/results.md that want a GPU, in steps of at most eight minutes that go on where the last one stopped:
#
#     bash benchmarks/gpu_results.sh DATA [ROW ...]      DATA holds MNIST/raw; STEP=SECONDS changes the length of a step
#
# Each row gets one step: training saves when its time is up, and the next call resumes it, evaluates it once it is
# complete, and makes the record. A row that has a record is left out. Each step appends to build/gpu/ROW.log. It needs
# .venv (make test sets it up).
set -u
[ -n "${1:-}" ] && [ -d "$1" ] || { echo "error: give the folder that holds MNIST/raw: bash $0 DATA [ROW ...]"; exit 1; }
data=$(realpath "$1"); shift
rows=${*:-resnet_gaussian resnet_flow_prior resnet_flow_posterior iwae_k50 best_k50 gated_vamp}
here=$(cd "$(dirname "$0")/.." && pwd)
logs="$here/build/gpu"
mkdir -p "$logs"

for row in $rows; do
    if [ -f "$here/docs/results/$row/record.json" ]; then echo "$row: has its record"; continue; fi
    timeout --kill-after=30 "${STEP:-480}" "$here/.venv/bin/python" "$here/benchmarks/published.py" "$data" "$row" >>"$logs/$row.log" 2>&1
    case $? in
        0) echo "$row: done, docs/results/$row" ;;
        124 | 137) echo "$row: the step is over; the same command goes on ($logs/$row.log)" ;;
        *) echo "$row: failed, the last lines of $logs/$row.log:"; tail -n 3 "$logs/$row.log" ;;
    esac
done
