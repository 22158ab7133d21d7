#!/bin/bash
# Everything that is measured on a GPU, in steps of at most eight minutes, without anyone to watch:
#
#     bash benchmarks/gpu.sh DATA [STEP ...]      DATA holds MNIST/raw; without steps all of them, one after another
#
# Each step writes build/gpu/STEP.log and ends within its time, whatever happens in it. It needs .venv (make test sets it up).
set -u
data=$(realpath "$1"); shift
steps=${*:-card speed compiled seeds large suite commands}
here=$(cd "$(dirname "$0")/.." && pwd)
python="$here/.venv/bin/python"
logs="$here/build/gpu"
mkdir -p "$logs"

train() { "$python" -m vaecli train dataset=mnist dataset.root="$data" dataset.val_size=0 device=cuda "$@"; }

card() { nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader; "$python" -c "import torch; print(torch.__version__, torch.version.cuda)"; }

# seconds of the training passes stand in metrics.jsonl
speed() { for way in false auto; do train compile=$way epochs=10 output="$work/$way"; tail -1 "$work/$way/metrics.jsonl"; done; }

compiled() { train compile=true epochs=10 output="$work/compiled"; tail -1 "$work/compiled/metrics.jsonl"; }

seeds() { "$python" -m vaecli train experiment=beta_curves epochs=20 seeds=64 device=cuda output="$work/seeds"; }

large() { for size in 1024 8192; do train batch_size=$size epochs=20 output="$work/large_$size"; tail -1 "$work/large_$size/metrics.jsonl"; done; }

suite() { cd "$here" && "$python" -m pytest -q -n 4 tests/training tests/models; }

commands() {
    train epochs=1 output="$work/run" || return 1
    for command in sample reconstruct "evaluate k=50 limit=200" encode manifold "traverse index=7" "interpolate from=3 to=8" "fit index=7"; do
        "$python" -m vaecli $command run="$work/run" device=cuda || "$python" -m vaecli $command run="$work/run"
    done
}

export -f train card speed compiled seeds large suite commands
export data here python
for step in $steps; do
    export work; work=$(mktemp -d)
    (cd "$work" && timeout 480 bash -c "$step") >"$logs/$step.log" 2>&1
    echo "$step: exit code $?, $logs/$step.log"
    rm -rf "$work"
done
