#!/bin/sh
# Builds the digest probe with every compiler and level at hand and compares its lines with each other and with
# golden.txt. After a change that is meant to alter results: raise kNumericsVersion (agent/learn/image/limits.h), run
# this test, and copy the digests it prints (build directory, probe-*.txt) over golden.txt in the same commit.
# usage: compare_builds.sh SOURCE GENERATED_HEADERS WORK_DIR MBEDTLS_INCLUDE MBEDCRYPTO_LIBRARY
set -eu
source_dir=$1; generated=$2; work=$3; mbedtls_include=$4; mbedcrypto=$5
golden="$source_dir/tests/contract/learn/digest/golden.txt"
mkdir -p "$work"
cache=$(command -v ccache || true)
status=0
builds=0

# build NAME COMPILER FLAGS...
build() {
  name=$1; compiler=$2; shift 2
  command -v "$compiler" > /dev/null || { echo "$name: no $compiler here, left out"; return 0; }
  objects=""
  for file in "$source_dir"/agent/learn/*/*.cc "$source_dir"/agent/base/*.cc \
              "$source_dir/tests/contract/learn/digest/probe.cc"; do
    object="$work/$name-$(basename "$(dirname "$file")")-$(basename "$file").o"
    # shellcheck disable=SC2086 # one word or none
    $cache "$compiler" -std=c++20 "$@" -ffp-contract=off -fno-exceptions -fno-rtti -DEIGEN_MAX_ALIGN_BYTES=16 \
      -DEIGEN_DONT_VECTORIZE -I"$source_dir" -isystem "$generated" -idirafter "$mbedtls_include" -c "$file" -o "$object"
    objects="$objects $object"
  done
  # shellcheck disable=SC2086 # a list of files without blanks in their names
  "$compiler" $objects "$mbedcrypto" -o "$work/probe-$name"
  "$work/probe-$name" > "$work/probe-$name.txt" || { echo "$name: the probe failed"; status=1; return 0; }
  builds=$((builds + 1))
  if diff "$golden" "$work/probe-$name.txt"; then
    echo "$name: as golden.txt"
  else
    echo "$name: other digests than golden.txt (lines with > are this build's)"
    status=1
  fi
}

build gcc-O0 g++ -O0
build gcc-O2 g++ -O2
build gcc-O3-native g++ -O3 -march=native
build clang-O0 clang++ -O0
build clang-O2 clang++ -O2
[ "$builds" -ge 3 ] || { echo "only $builds builds could be compared"; status=1; }
exit $status
