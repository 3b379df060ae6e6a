#!/usr/bin/env bash
# Runs a rival and pinhole in turn on the same workloads, and prints a table of their medians and the ratio.
#
#   benches/compare.sh --rival 'CMD with {workload}' [--workloads conv-ae,dense-ae] [--device gpu] [--rounds 3]
#                      [--pinhole PATH] [--options '--block-seconds 2 ...']
#
# CMD prints a line of JSON for the workload: "peer" names it, "steps_per_s" (training) or "gflops" (kernels) is its
# rate.
# Needs bash, awk and grep.
set -euo pipefail
export LC_ALL=C

fail() {
    echo "error: $*" >&2
    exit 1
}

here=$(cd "$(dirname "$0")/.." && pwd)
field=$(cat "$here/benches/field.awk")
rival=''
workloads=conv-ae,dense-ae,vae,conv-ae-wide,matmul-512,matmul-1024,conv3x3
device=auto
rounds=3
pinhole=$here/target/release/pinhole
options=''
while [ $# -gt 0 ]; do
    case $1 in
    --rival | --workloads | --device | --rounds | --pinhole | --options)
        [ $# -ge 2 ] || fail "$1 needs a value"
        declare "${1#--}=$2"
        shift 2
        ;;
    -h | --help)
        sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
        exit 0
        ;;
    *) fail "$1 is no option; see --help" ;;
    esac
done
case $rival in
*'{workload}'*) ;;
'') fail "give the rival's command, as in --rival 'python torch_peer.py --workload {workload}'" ;;
*) fail "the rival's command has no {workload} in it: $rival" ;;
esac
case $rounds in '' | *[!0-9]* | 0) fail "--rounds $rounds is no number of rounds; use 1 or more" ;; esac
[ -x "$pinhole" ] || fail "$pinhole is no program; build it by cargo build --release, or give --pinhole PATH"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# measure SIDE WORKLOAD COMMAND: runs a command and keeps its line as "SIDE<tab>WORKLOAD<tab>JSON".
measure() {
    local status=0 line said
    bash -c "$3" >"$scratch/out" 2>"$scratch/err" </dev/null || status=$?
    said=$(grep -v '^[[:space:]]*$' "$scratch/err" | tail -n 1 || true)
    [ "$status" = 0 ] || fail "$1 failed on $2 with exit code $status${said:+ ($said)}: $3"
    # Whatever else a command prints, its last line that begins as JSON counts.
    line=$(grep '^[[:space:]]*{' "$scratch/out" | tail -n 1 || true)
    [ -n "$line" ] || fail "$1 printed no line of JSON on $2${said:+ ($said)}: $3"
    awk "$field"'{
        rate = field("steps_per_s") == "-" ? field("gflops") : field("steps_per_s")
        exit !(rate ~ /^[0-9.]+([eE][-+]?[0-9]+)?$/ && rate > 0)
    }' <<<"$line" || fail "$1 printed a line without a rate (steps_per_s or gflops) on $2: $line"
    printf '%s\t%s\t%s\n' "$1" "$2" "$line" >>"$scratch/lines"
}

IFS=, read -ra names <<<"$workloads"
for name in "${names[@]}"; do
    for round in $(seq "$rounds"); do
        echo "$name: round $round of $rounds" >&2
        measure rival "$name" "${rival//'{workload}'/$name}"
        measure pinhole "$name" "$(printf '%q bench %q --device %q --json' "$pinhole" "$name" "$device") $options"
    done
done

# Training has steps per second on both sides; where one has none, operations per second are compared.
awk -F '\t' "$field"'
    function add(side, workload, key,    rate) {
        rate = field(key)
        if (rate == "-") missing[workload, key] = 1
        else rates[side, workload, key] = rates[side, workload, key] " " rate
    }
    # The median, the least and the greatest of numbers in a text.
    function sorted(text, values,    count, i, j, value) {
        count = split(text, values, " ")
        for (i = 2; i <= count; i++) {
            value = values[i] + 0
            for (j = i - 1; j >= 1 && values[j] + 0 > value; j--) values[j + 1] = values[j]
            values[j + 1] = value
        }
        return (values[int((count + 1) / 2)] + values[int(count / 2) + 1]) / 2
    }
    function shown(text,    values, count) {
        count = split(text, values, " ")
        return sprintf("%.2f (%.2f to %.2f)", sorted(text, values), values[1], values[count])
    }
    {
        if (!seen[$2]++) order[++workloads] = $2
        add($1, $2, "steps_per_s")
        add($1, $2, "gflops")
        where = field("adapter") == "-" ? field("device") : field("adapter")
        peer[$1] = field("peer") (where == "-" ? "" : " on " where)
    }
    END {
        for (i = 1; i <= workloads; i++) {
            if (missing[order[i], "steps_per_s"] && missing[order[i], "gflops"]) {
                print "error: " order[i] " has steps_per_s on one side and gflops on the other" > "/dev/stderr"
                exit 1
            }
        }
        print "rival: " peer["rival"] "\npinhole: " peer["pinhole"] "\n"
        line = "| %-13s | %-7s | %-32s | %-32s | %15s |\n"
        printf line, "workload", "unit", "rival", "pinhole", "pinhole / rival"
        printf line, "---", "---", "---", "---", "---:"
        for (i = 1; i <= workloads; i++) {
            name = order[i]
            key = missing[name, "steps_per_s"] ? "gflops" : "steps_per_s"
            rival = rates["rival", name, key]
            own = rates["pinhole", name, key]
            ratio = sprintf("%.2f", sorted(own, values) / sorted(rival, values))
            printf line, name, key == "gflops" ? "GFLOP/s" : "steps/s", shown(rival), shown(own), ratio
        }
    }' "$scratch/lines"
