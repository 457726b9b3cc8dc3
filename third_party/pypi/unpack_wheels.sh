#!/bin/sh
# Downloads the wheels that a requirements file pins by hash, unpacks them once into a cache in the home folder, and prints
# the folder. A second call with the same pins finds the folder and downloads nothing.
# Use: unpack_wheels.sh [--is-there] REQUIREMENTS.txt; with --is-there, only says by its exit status whether the folder exists.
set -eu
is_there=
if [ "$1" = --is-there ]; then is_there=1; shift; fi
requirements=$1
layout=1  # raise it when a change below changes what is unpacked
key=$( (echo "layout $layout"; grep -v '^ *\(#\|$\)' "$requirements") | sha256sum | cut -c1-32)
cache=${URSA_CACHE:-$HOME/.cache/ursa}/wheels
folder=$cache/$key
if [ -n "$is_there" ]; then test -e "$folder/.complete"; exit; fi
if [ ! -e "$folder/.complete" ]; then
  mkdir -p "$cache"
  exec 9> "$cache/.lock.$key"
  flock 9  # another build may be first
fi
if [ ! -e "$folder/.complete" ]; then
  scratch=$(mktemp -d "$cache/.new.XXXXXX")
  trap 'rm -rf "$scratch"' EXIT
  trap 'exit 130' INT TERM
  platforms="--platform=any --platform=manylinux1_x86_64 --platform=manylinux2014_x86_64"
  for n in $(seq 5 28); do platforms="$platforms --platform=manylinux_2_${n}_x86_64"; done  # pip matches N exactly
  # shellcheck disable=SC2086
  python3 -m pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps --require-hashes \
    --only-binary=:all: --python-version=3.12 $platforms -d "$scratch/wheels" -r "$requirements" >&2
  mkdir "$scratch/tree"
  for wheel in "$scratch"/wheels/*.whl; do
    unzip -q -o "$wheel" -d "$scratch/tree" >&2
    rm "$wheel"
  done
  # torch/include/google holds an old protobuf that would hide the system's; Python itself is not wanted.
  rm -rf "$scratch/tree/torch/include/google"
  find "$scratch/tree" -name '*.py' -delete
  touch "$scratch/tree/.complete"
  rm -rf "$folder"
  mv "$scratch/tree" "$folder"
fi
echo "$folder"
