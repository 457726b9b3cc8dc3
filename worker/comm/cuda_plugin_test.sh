#!/usr/bin/env bash
# The CUDA plug-in was built, exports its one function, and every torch and NCCL symbol that it leaves undefined is
# provided by the libraries that it names: what a machine without a GPU can know about it.
# usage: cuda_plugin_test.sh PLUGIN CUDA_LIBRARY...
set -euo pipefail
plugin=$1
shift
fail() { echo "FAILED: $*" >&2; exit 1; }

nm -D --defined-only "$plugin" | grep ' T ursa_cuda_plugin$' > /dev/null || fail "ursa_cuda_plugin is not exported"

needed=$(readelf -d "$plugin" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
for library in libtorch_cuda.so libc10_cuda.so libtorch_cpu.so libc10.so; do
  grep -qx "$library" <<< "$needed" || fail "does not name $library: $needed"
done

# Where the libraries named are: beside those given, or where the loader looks.
provided=$(mktemp)
trap 'rm -f "$provided" "$provided.wanted"' EXIT
folder=$(dirname "$(readlink -f "$1")")
for library in $needed; do
  path=$(find -L "$folder" "$folder/../.." . -name "$library" -print -quit 2> /dev/null || true)
  # awk reads on: an ldconfig that cannot write would end this script.
  [[ -n $path ]] || path=$(/sbin/ldconfig -p | awk -v name="$library" '$1 == name && !found { print $NF; found = 1 }')
  if [[ -z $path ]]; then
    # CUDA's own libraries are on GPU machines only; what comes from them is listed below.
    echo "not here: $library"
    continue
  fi
  nm -D --defined-only "$path" | awk '{ print $NF }' | sed 's/@.*//' >> "$provided"
done
sort -u -o "$provided" "$provided"
nm -D --undefined-only "$plugin" | awk '$1 != "w" { print $NF }' | sed 's/@.*//' | sort -u > "$provided.wanted"
missing=$(comm -23 "$provided.wanted" "$provided")
count=$(wc -l < "$provided.wanted")
# Functions of the CUDA runtime and of NCCL that torch's libraries bring along.
missing=$(grep -Ev '^(cuda[A-Z]|nccl[A-Z]|__cuda)' <<< "$missing" || true)
[[ -z $missing ]] || fail "undefined symbols that no library named provides: $missing"
echo "$count undefined symbols, all provided"
