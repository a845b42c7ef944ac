#!/usr/bin/env bash
# Builds the digest probe for one machine with every compiler and level that matters there, runs each, and
# compares what it prints with golden.txt. An ARM probe is linked statically and run by QEMU (directly on such
# a machine).
#
# usage: compare_builds.sh x86_64|aarch64|armhf SOURCE GENERATED_HEADERS WORK FLATBUFFERS_INCLUDE
#                          [MBEDTLS_INCLUDE MBEDCRYPTO_LIBRARY]     (only x86_64 hashes with them)
#        compare_builds.sh library SOURCE PROBE WORK                 (an already built probe)
#
# Exit status: 0 all as golden.txt; 1 a difference, or something did not compile or run; 77 (skipped in CTest)
# nothing differs, but a compiler or QEMU is missing: tools/setup --tests installs them.
set -euo pipefail

target=$1 source_dir=$2 third=$3 work=$4
shift 4
here="$source_dir/tests/contract/learn/digest"
golden="$here/golden.txt"
recording="$source_dir/tests/data/suthaharan/single_hop.csv"
mkdir -p "$work"
cache=$(command -v ccache || true)
status=0
differing=0
missing=()
outputs=()

seconds() { awk -v from="$1" -v to="$EPOCHREALTIME" 'BEGIN { printf "%.1f s", to - from }'; }
row() { printf '%-20s %-48s %9s %8s  %s\n' "$@"; }

# Says which cases of a probe's output differ from golden.txt.
differences() {
  awk -v name="$1" '
    NR == FNR { golden[$1] = $2; next }
    { seen[$1] = 1 }
    !($1 in golden) { print "  " name ": " $1 " is not in golden.txt"; next }
    golden[$1] != $2 {
      print "  " name ": " $1 " is " substr($2, 1, 16) ".., golden.txt has " substr(golden[$1], 1, 16) ".."
    }
    END { for (c in golden) if (!(c in seen)) print "  " name ": " c " of golden.txt is no case any more" }
  ' "$golden" "$2"
}

# run NAME FLAGS COMPILE_TIME PROGRAM: runs a probe and prints its row. A probe computes from itself and the
# recording alone, so one that ran here before, byte for byte, is not run again.
run() {
  local name=$1 flags=$2 compile=$3 program=$4 begin=$EPOCHREALTIME
  local output="$work/probe-$1.txt" key time result
  key=$(cat "$program" "$recording" "${emulator[@]}" | sha256sum)
  if [[ -f $output && $key == "$(cat "$output.key" 2>/dev/null)" ]]; then
    time="as before"
  elif rm -f "$output.key" && "${runner[@]}" "$program" "$recording" >"$output"; then
    echo "$key" >"$output.key"
    time=$(seconds "$begin")
  else
    row "$name" "$flags" "$compile" "$(seconds "$begin")" "THE PROBE FAILED"
    status=1
    return
  fi
  outputs+=("$output")
  result="as golden.txt ($(wc -l <"$golden"))"
  if ! cmp -s "$golden" "$output"; then
    result=DIFFERS
    status=1
    differing=$((differing + 1))
  fi
  row "$name" "$flags" "$compile" "$time" "$result"
  [[ $result != DIFFERS ]] || differences "$name" "$output"
}

# build NAME COMPILER FLAGS...: compiles file by file (ccache makes the next time quick), links, runs.
build() {
  local name=$1 compiler=$2 begin=$EPOCHREALTIME file object
  shift 2
  if ! command -v "$compiler" >/dev/null; then
    row "$name" "$*" - - "left out: no $compiler here"
    missing+=("$compiler")
    return
  fi
  local files=("$source_dir"/agent/learn/*/*.cc "$source_dir"/agent/stream/csv.cc "$here/probe.cc") objects=()
  for file in "$source_dir"/agent/base/*.cc; do
    [[ $target != x86_64 && $file == */sha256.cc ]] || files+=("$file")
  done
  [[ $target == x86_64 ]] || files+=("$here/plain_sha256.cc")
  for file in "${files[@]}"; do
    object=${file#"$source_dir"/}
    object="$work/$name-${object//\//-}.o"
    # shellcheck disable=SC2086 # one word or none
    if ! $cache "$compiler" -std=c++20 -w -Wno-psabi -Wno-narrowing "$@" -ffp-contract=off -fno-exceptions \
      -fno-rtti -DEIGEN_MAX_ALIGN_BYTES=16 -DEIGEN_DONT_VECTORIZE -I"$source_dir" -isystem "$third" \
      "${includes[@]}" -c "$file" -o "$object"; then
      row "$name" "$*" "$(seconds "$begin")" - "DOES NOT COMPILE: ${file#"$source_dir"/}"
      status=1
      return
    fi
    objects+=("$object")
  done
  if ! "$compiler" "${link[@]}" "$@" "${objects[@]}" "${libraries[@]}" -o "$work/probe-$name"; then
    row "$name" "$*" "$(seconds "$begin")" - "DOES NOT LINK"
    status=1
    return
  fi
  run "$name" "$*" "$(seconds "$begin")" "$work/probe-$name"
}

# emulate PROGRAM MACHINE: what runs a program of another machine.
emulate() {
  [[ $(uname -m) != "$2" ]] || return 0
  runner=("$1")
  emulator=("$(command -v "$1")") || missing+=("$1")
}

row build flags compiled run digests
runner=() emulator=() includes=() link=() libraries=()
if [[ $target != library ]]; then
  # In a folder of its own: a cross compiler must not see this machine's other headers.
  mkdir -p "$work/include"
  ln -sfn "$1/flatbuffers" "$work/include/flatbuffers"
  includes=(-isystem "$work/include")
fi
case "$target" in
  library) run library "the library of this build" - "$third" ;;
  x86_64)
    if [[ $(uname -m) != x86_64 ]]; then
      echo "this machine is no x86-64"
      exit 77
    fi
    includes+=(-idirafter "$2")
    libraries=("$3")
    build gcc-O0 g++ -O0
    build gcc-O2 g++ -O2
    build gcc-O3-native g++ -O3 -march=native
    if grep -qw avx2 /proc/cpuinfo; then
      build gcc-O2-avx2 g++ -O2 -mavx2
    else
      row gcc-O2-avx2 "-O2 -mavx2" - - "left out: this processor has no AVX2"
    fi
    build clang-O0 clang++ -O0
    build clang-O2 clang++ -O2
    ;;
  aarch64)
    emulate qemu-aarch64-static aarch64
    link=(-static)
    ((${#missing[@]})) || build aarch64-gcc-O2 aarch64-linux-gnu-g++ -O2
    ((${#missing[@]})) || build aarch64-gcc-O3 aarch64-linux-gnu-g++ -O3
    # clang takes gcc's libraries for the target.
    ((${#missing[@]})) || build aarch64-clang-O2 clang++ -O2 --target=aarch64-linux-gnu
    ;;
  armhf)
    emulate qemu-arm-static armv7l
    link=(-static)
    # What the armhf preset compiles, and what users with their own flags do: gcc keeps denormals in both.
    ((${#missing[@]})) || build armhf-gcc-O2 arm-linux-gnueabihf-g++ -O2 -mfpu=vfpv3-d16
    ((${#missing[@]})) || build armhf-gcc-O3 arm-linux-gnueabihf-g++ -O3 -mfpu=vfpv3-d16
    ((${#missing[@]})) || build armhf-gcc-O2-neon arm-linux-gnueabihf-g++ -O2 -mfpu=neon
    ((${#missing[@]})) || build armhf-gcc-O3-neon arm-linux-gnueabihf-g++ -O3 -mfpu=neon
    # Not clang with NEON: it vectorizes floats there, and NEON flushes denormals (docs/reference/numerics.md).
    ((${#missing[@]})) || build armhf-clang-O2 clang++ -O2 -mfpu=vfpv3-d16 --target=arm-linux-gnueabihf
    ;;
  *)
    echo "compare_builds.sh: no such target: $target" >&2
    exit 2
    ;;
esac

if ((differing)); then
  different=$(sha256sum "${outputs[@]}" | awk '{ print $1 }' | sort -u | wc -l)
  if [[ $target == library ]]; then
    echo "digest_x86_64 tells whether other builds print the same."
  elif ((different == 1)); then
    echo "All builds above print the same, only golden.txt has something else. New cases just need their"
    echo "lines; if results are meant to change, raise kNumericsVersion (agent/learn/image/limits.h). Then,"
    echo "in the same commit:"
    echo "  cp ${outputs[0]} $golden"
  else
    echo "The builds above differ among themselves: something depends on compiler or machine;"
    echo "docs/reference/numerics.md has the rules."
  fi
fi
if ((${#missing[@]})); then
  mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
  echo "missing here: ${missing[*]}; tools/setup --tests installs them"
  ((status)) || status=77
fi
exit "$status"
