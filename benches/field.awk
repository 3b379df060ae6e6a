# For compare.sh and gpu.sh, before their own programs: the value of a key in a flat line of JSON, without quotes; a
# dash where it is null or missing.
function field(key,    rest) {
    if (!match($0, "\"" key "\": *")) return "-"
    rest = substr($0, RSTART + RLENGTH)
    if (substr(rest, 1, 1) == "\"") {
        rest = substr(rest, 2)
        sub(/".*/, "", rest)
    } else sub(/[,}\]].*/, "", rest)
    return rest == "null" ? "-" : rest
}
