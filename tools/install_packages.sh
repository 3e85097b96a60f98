#!/usr/bin/env bash
# Installs Debian packages that are missing: tools/install_packages.sh build|test|run
# build: what compiling needs; run: what a cluster needs; test: both, and what the tests use besides.
set -euo pipefail

build=(clang-19 lld-19 llvm-19 libclang-rt-19-dev cmake ninja-build ccache pkg-config
       libssl-dev libnghttp2-dev zlib1g-dev libyaml-dev libsqlite3-dev libfmt-dev libjemalloc-dev libabsl-dev
       libmnl-dev node-llhttp busybox-static libgtest-dev libbenchmark-dev)
run=(containerd runc iproute2 nftables)
test=(clang-format-19 clang-tidy-19 curl nodejs npm unzip jq procps bsdutils python3-kubernetes)

case "${1:-}" in
  build) wanted=("${build[@]}") ;;
  run) wanted=("${build[@]}" "${run[@]}") ;;
  test) wanted=("${build[@]}" "${run[@]}" "${test[@]}") ;;
  *) echo "usage: $0 build|test|run" >&2; exit 2 ;;
esac

missing=()
for package in "${wanted[@]}"; do
  # A program that came another way (npm and nodejs often do) serves as well.
  case $package in nodejs) command -v node >/dev/null && continue ;; npm) command -v npm >/dev/null && continue ;; esac
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep 'ok installed' >/dev/null || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ]; then
  echo "error: these packages are missing: ${missing[*]}" >&2
  echo "Run this again as root, or install them with: sudo apt-get install ${missing[*]}" >&2
  exit 1
fi
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
# Debian starts its containerd when it is installed; Knarr runs one of its own.
