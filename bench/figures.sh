#!/usr/bin/env bash
# Prints the project's figures on this machine: bench/figures.sh [BUILD_DIRECTORY]   (as root; takes about four minutes)
# Builds the release benchmarks, measures the codec and the store, then a cluster of its own from `up` to `down`.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/release}
[ -d "$build" ] || cmake --preset release >/dev/null
cmake --build "$build" --target knarr codec_bench store_bench api_bench >/dev/null
tools/fetch_kubectl.sh "$PWD/build/clients"
kubectl=$PWD/build/clients/kubectl
echo "== machine: $(nproc) cores, load $(cut -d' ' -f1-3 /proc/loadavg), $(date -u +%F)"
echo "== codec (bench/codec_bench.cc)"
"$build/bench/codec_bench" --benchmark_min_time=0.5 2>/dev/null | grep -vE '^-|^Run|^CPU|^ +L|^Load'
echo "== store (bench/store_bench.cc)"
"$build/bench/store_bench" 2>/dev/null
echo "== cluster"
root=$(mktemp -d /tmp/knarr-figures.XXXX)
flags=(--root "$root" --name figures --node-name figures --api-port 27443 --kubelet-port 27250 --bridge knfig --pod-subnet 10.199.8.0/24 --service-subnet 10.198.8.0/24 --dns-port 27053 --kubeconfig "$root/kubeconfig")
export KUBECONFIG=$root/kubeconfig
trap '"$build/knarr" down "${flags[@]}" >/dev/null 2>&1; rm -rf "$root"' EXIT
echo "program: $(stat -c %s "$build/knarr") bytes, stripped $(strip -o "$root/stripped" "$build/knarr" && stat -c %s "$root/stripped") bytes"
echo "first start (keys, images loaded):"
"$build/knarr" up "${flags[@]}" | grep ' s  '
pid() { cat "$root/run/knarr/knarr.pid"; }
milliseconds() { date +%s%3N; }
start=$(milliseconds)
"$kubectl" run first --image=busybox:1.36 --restart=Never -- sleep 3600 >/dev/null
"$kubectl" wait --for=condition=Ready pod/first --timeout=30s >/dev/null
echo "kubectl run to Ready seen by kubectl wait: $(($(milliseconds) - start)) ms"
kill -9 "$(pid)"
start=$(milliseconds)
"$build/knarr" up "${flags[@]}" | grep ' s  '
echo "restart after kill -9, to node Ready: $(($(milliseconds) - start)) ms"
"$kubectl" delete pod first --grace-period=0 --force >/dev/null 2>&1
sleep 5
rss() { awk '/VmRSS/{print $2}' "/proc/$1/status"; }
echo "resident memory, idle: knarr $(rss "$(pid)") KiB, containerd $(rss "$(cat "$root/run/knarr/containerd.pid")") KiB"
cpu() { awk '{print $14+$15}' "/proc/$1/stat"; }
sleep 60  # what the pod left behind is written away
wrote() { awk '/^write_bytes/{print $2}' "/proc/$1/io"; }
containerd=$(cat "$root/run/knarr/containerd.pid")
began=("$(cpu "$(pid)")" "$(wrote "$(pid)")" "$(cpu "$containerd")" "$(wrote "$containerd")")
sleep 120
ended=("$(cpu "$(pid)")" "$(wrote "$(pid)")" "$(cpu "$containerd")" "$(wrote "$containerd")")
# Ticks are 10 ms.
echo "idle for 120 s: knarr $(awk "BEGIN{printf \"%.3f\", (${ended[0]}-${began[0]})/120}") % of a core and $(((ended[1] - began[1]) * 30 / 1024)) KiB written an hour," \
     "containerd $(awk "BEGIN{printf \"%.3f\", (${ended[2]}-${began[2]})/120}") % and $(((ended[3] - began[3]) * 30 / 1024)) KiB"
"$build/bench/api_bench" 127.0.0.1:27443 "$root/etc/knarr/pki" "$(pid)"
echo "resident memory of knarr after the load: $(rss "$(pid)") KiB"
