#!/usr/bin/env bash
# All measurements on one GPU, on a machine without network and cargo:
#
#   benches/gpu.sh PINHOLE_BINARY SUITE_BINARY [OUT_DIR [SPLIT_SWEEP_BINARY]]
#
# PINHOLE_BINARY is target/release/pinhole; SUITE_BINARY is the test binary that `cargo test --release --no-run` names,
# target/release/deps/suite-HASH. OUT_DIR (gpu-results where not given) gets results.json, results.md and the logs.
# SPLIT_SWEEP_BINARY is what `cargo bench --bench split_sweep --no-run` names; without it the split sweep is skipped.
# From the environment: PINHOLE_TEST_DEVICE, the adapter (default gpu, the best one); BENCH_OPTIONS, options for every
# `pinhole bench`; TORCH_OPTIONS, the same for benches/torch_graphs.py; PYTHON, a Python with PyTorch (default python3).
# Needs bash, awk and grep. A part that cannot run here is skipped and said so; a part that fails fails the whole at the
# end.
set -euo pipefail
export LC_ALL=C

if [ $# -lt 2 ] || [ $# -gt 4 ]; then
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" >&2
    exit 2
fi
pinhole=$1
suite=$2
out=${3:-gpu-results}
split_sweep=${4:-}
here=$(cd "$(dirname "$0")" && pwd)
field=$(cat "$here/field.awk")
device=${PINHOLE_TEST_DEVICE:-gpu}
export PINHOLE_TEST_DEVICE=$device
# Measured tiles and compiled pipelines of this day alone.
export PINHOLE_CACHE=${PINHOLE_CACHE-$out/cache}
python=${PYTHON:-python3}
read -ra bench_options <<<"${BENCH_OPTIONS:-}"
read -ra torch_options <<<"${TORCH_OPTIONS:-}"
for binary in "$pinhole" "$suite" ${split_sweep:+"$split_sweep"}; do
    [ -x "$binary" ] || { echo "error: $binary is no program" >&2; exit 1; }
done
# A path without a slash would be looked for elsewhere.
case $pinhole in */*) ;; *) pinhole=./$pinhole ;; esac
case $suite in */*) ;; *) suite=./$suite ;; esac
case $split_sweep in */* | '') ;; *) split_sweep=./$split_sweep ;; esac
mkdir -p "$out"
lines=$out/lines.jsonl
: >"$lines"
: >"$out/errors.log"
notes=()
failed=0

say() { printf '\n== %s\n' "$*"; }
note() {
    echo "$*"
    notes+=("$*")
}
# last FILE: the last line that says something.
last() { grep -v '^[[:space:]]*$' "$1" | tail -n 1 || true; }

# measured WHAT COMMAND...: keeps the lines of JSON that the command prints, and shows them.
measured() {
    local what=$1 status=0
    shift
    say "$what"
    "$@" 2>>"$out/errors.log" | tee -a "$lines" || status=$?
    if [ "$status" != 0 ]; then
        note "$what failed: $(last "$out/errors.log")"
        failed=1
    fi
}

say "adapter and driver"
"$pinhole" devices | tee "$out/devices.txt"
devices=$("$pinhole" devices --json)
gpu=
if command -v nvidia-smi >/dev/null; then
    gpu=$(nvidia-smi --query-gpu=name,driver_version,clocks.max.sm --format=csv,noheader || true)
fi
[ -z "$gpu" ] || echo "$gpu"

say "parity of every kernel with the CPU (log in $out/parity.log)"
if "$suite" parity:: --nocapture >"$out/parity.log" 2>&1; then
    parity=$(grep '^test result' "$out/parity.log" | tail -n 1)
else
    parity="FAILED: $(grep '^test result' "$out/parity.log" | tail -n 1)"
    failed=1
fi
tested=$(grep -o 'GPU under test: .*' "$out/parity.log" | head -n 1 || true)
echo "${tested:-no adapter named}"
note "parity: $parity"

measured "all workloads" "$pinhole" bench all --device "$device" --json "${bench_options[@]}"
# TUNING: the same with measured tiles; which they are is in the errors' log.
if "$pinhole" bench --help 2>/dev/null | grep -e --autotune >/dev/null; then
    measured "all workloads, tuned" "$pinhole" bench all --autotune --device "$device" --json "${bench_options[@]}"
else
    note "tuning: skipped, this binary has none"
fi
measured "launches of a pass of 1000, on one buffer and on several" "$pinhole" bench sweeps --device "$device" --json

if [ -n "$split_sweep" ]; then
    measured "split sweep" "$split_sweep"
else
    note "split sweep: skipped, no binary of it was given"
fi

# PyTorch on the same GPU.
has_cuda='import torch
print("CUDA" if torch.cuda.is_available() else f"PyTorch {torch.__version__} finds no CUDA device")'
if ! command -v "$python" >/dev/null; then
    note "PyTorch: skipped, $python is not found"
elif ! found=$("$python" -c "$has_cuda" 2>>"$out/errors.log"); then
    note "PyTorch: skipped, $(last "$out/errors.log")"
elif [ "$found" != CUDA ]; then
    note "PyTorch: skipped, $found"
else
    torch() { measured "PyTorch, $1" "$python" "$here/torch_graphs.py" all "${torch_options[@]}" "${@:2}"; }
    torch eager
    torch compiled --compile
    torch "CUDA graphs" --graphs
    torch "compiled CUDA graphs" --compile --graphs
fi

# One array: a header, then every line as it was printed.
quoted() { printf '"%s"' "$(printf '%s' "$1" | tr '\n\t' '  ' | sed 's/[\\"]/\\&/g')"; }
{
    printf '[\n{"header":true,"date":%s,"system":%s,"device":%s,"gpu":%s,"parity":%s,"notes":[' \
        "$(quoted "$(date -u +%Y-%m-%dT%H:%M:%SZ)")" "$(quoted "$(uname -srm)")" "$(quoted "$device")" \
        "$(quoted "$gpu")" "$(quoted "$parity")"
    separator=
    for text in "${notes[@]}"; do
        printf '%s%s' "$separator" "$(quoted "$text")"
        separator=,
    done
    printf '],"devices":%s}' "$devices"
    while IFS= read -r line; do
        case $line in '{'*) printf ',\n%s' "$line" ;; esac
    done <"$lines"
    printf '\n]\n'
} >"$out/results.json"

{
    echo "# Measurements of $(date -u +%Y-%m-%d)"
    echo
    echo '```text'
    cat "$out/devices.txt"
    [ -z "$gpu" ] || echo "$gpu"
    [ -z "$tested" ] || echo "$tested"
    echo '```'
    echo
    printf -- '- %s\n' "${notes[@]}"
    echo
    awk "$field"'
        function number(key, digits,    value) {
            value = field(key)
            return value == "-" ? value : sprintf("%." digits "f", value)
        }
        function percent(key,    value) {
            value = field(key)
            return value == "-" ? value : sprintf("%.1f %%", 100 * value)
        }
        !/^\{/ { next }
        field("workload") == "launches" {
            launches = launches sprintf("| %s | %s | %s |\n", field("buffers"), \
                number("host_us_per_launch", 2), number("device_us_per_launch", 2))
            next
        }
        field("workload") == "split-sweep" {
            splits = splits sprintf("| %s | %s | %s x %s | %s | %s | %s | %s |\n", field("model"), field("layer"), \
                field("lines"), field("columns"), field("depth"), field("splits"), number("us", 1), \
                field("planned") == "true" ? "yes" : "")
            next
        }
        !heads++ {
            print "| workload | peer | batch | median | slowest | fastest | unit | GFLOP/s | of most | launches " \
                "| us to record one | first finished step, s | loss |"
            print "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
        }
        {
            trains = field("steps_per_s") != "-"
            printf "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", \
                field("workload"), field("peer"), field("batch"), \
                number(trains ? "steps_per_s" : "gflops", 2), number("min", 2), number("max", 2), \
                trains ? "steps/s" : "GFLOP/s", number("gflops", 2), percent("ceiling_fraction"), field("launches"), \
                number("host_us_per_launch", 2), number("first_finished_step_s", 2), number("loss", 5)
        }
        END {
            if (launches != "") {
                print "\n| launches on buffers that are | us to record one | us to run one |\n| --- | --- | --- |"
                printf "%s", launches
            }
            if (splits != "") {
                print "\n| weight gradients of | layer | size | sums of | parts | us | as planned |"
                print "| --- | --- | --- | --- | --- | --- | --- |"
                printf "%s", splits
            }
        }' "$lines"
} >"$out/results.md"

say "results in $out/results.json and $out/results.md"
if [ "$failed" != 0 ]; then
    printf 'error: %s\n' "some parts failed; see the notes in $out/results.md" >&2
    exit 1
fi
