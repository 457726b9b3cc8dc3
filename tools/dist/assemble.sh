#!/bin/bash
# Assembles a folder that runs elsewhere. Use: assemble.sh FOLDER PROGRAM... -- PLUGIN... -- SHARED_FILE...
# bin/ gets the programs, lib/ all shared libraries that they load except the C library's own (the programs look in
# ../lib first, see --disable-new-dtags in .bazelrc) and the plug-ins, share/ the other files.
set -euo pipefail
folder=$1
shift
mkdir -p "$folder/bin" "$folder/lib" "$folder/share"

programs=()
while [ "$1" != -- ]; do
  programs+=("$1")
  shift
done
shift
cp -L -t "$folder/bin" -- "${programs[@]}"
while [ "$1" != -- ]; do
  cp -L -t "$folder/lib" -- "$1"
  shift
done
shift
[ $# = 0 ] || cp -L -t "$folder/share" -- "$@"

c_library='/(ld-linux-x86-64|lib(c|m|dl|rt|pthread|resolv|util|anl|nsl|BrokenLocale))\.so\.[0-9]+$'
listing=$(ldd "${programs[@]}")
if grep 'not found' <<<"$listing"; then
  echo "dist: a library is missing on this machine (see above)" >&2
  exit 1
fi
# `name => /path (address)`: by the name that the programs ask for.
awk '$2 == "=>" && $3 ~ /^\// {print $1, $3}' <<<"$listing" | sort -u | while read -r name path; do
  [[ $path =~ $c_library ]] || [ -e "$folder/lib/$name" ] || cp -L "$path" "$folder/lib/$name"
done
chmod -R u+w "$folder"
