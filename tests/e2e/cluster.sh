# Sourced by the end-to-end tests: a cluster of the test's own, checks that print a line each, and the state of the host.
#
#   begin NAME BUILD_DIRECTORY KUBECTL VERSION    skips (exit code 77) when something is missing; sets root, flags, pod_prefix, service_prefix, k
#   check WHAT COMMAND...                         runs it; a failure is told with the end of its output
#   finish                                        takes the cluster down and compares the host with the state before
set -uo pipefail

failed=0
background=()

begin() {
  test_name=$1 build=$2 kubectl_program=$3
  local version=$4
  [ "$(id -u)" -eq 0 ] || skip "root is needed for containers"
  [ -x "$kubectl_program" ] || skip "kubectl $version is not here (tools/fetch_kubectl.sh brings it)"
  command -v containerd >/dev/null || skip "containerd is not installed"
  command -v runc >/dev/null || skip "runc is not installed"
  [[ $("$kubectl_program" version --client 2>/dev/null) == *$version* ]] || skip "$kubectl_program is not kubectl $version"
  root=$(mktemp -d /tmp/knarr-e2e.XXXX)
  # Below the range of ports that the kernel gives out by itself.
  api_port=$((20000 + RANDOM % 5000))
  # Subnets of its own, so that tests of several checkouts can run beside each other.
  local net=$((RANDOM % 256))
  pod_prefix="10.99.$net." service_prefix="10.98.$net."
  bridge="kne$((RANDOM % 1000))"
  flags=(--root "$root" --name "e2e-$bridge" --node-name e2e-node --api-port "$api_port" --kubelet-port $((api_port + 5000)) --bridge "$bridge"
         --pod-subnet "${pod_prefix}0/24" --service-subnet "${service_prefix}0/24" --dns-port $((api_port - 5000)) --kubeconfig "$root/kubeconfig")
  export KUBECONFIG=$root/kubeconfig
  before=$(host_state)
  trap cleanup EXIT
}
skip() { echo "SKIPPED: e2e $test_name: $1"; exit 77; }
k() { timeout 90 "$kubectl_program" --cache-dir "$root/cache" "$@"; }

check() {
  local what=$1 out
  shift
  if out=$("$@" 2>&1); then
    printf 'ok    %3d s  %s\n' "$SECONDS" "$what"
  else
    echo "e2e: FAILED: $what (at $SECONDS s)"
    echo "$out" | tail -15 | sed 's/^/      /'
    failed=1
  fi
}
# Ends the test at once when the check before it failed: what follows would only repeat it.
or_stop() {
  [ $failed -eq 0 ] && return
  tail -30 "$root/var/log/knarr/knarr.log" 2>/dev/null
  exit 1
}
# wants TEXT COMMAND...: the output of the command holds the text.
wants() {
  local text=$1 out
  shift
  out=$("$@" 2>&1)
  echo "$out"
  grep -qF -- "$text" <<<"$out"
}
# soon COMMAND...: the command succeeds within ten seconds; for what follows a change a moment later.
soon() {
  local end=$((SECONDS + 10)) out
  until out=$("$@" 2>&1); do
    [ $SECONDS -lt $end ] || { echo "$out"; return 1; }
    read -rt 0.1 <> <(:) || true
  done
  echo "$out"
}
wants_not() {
  local text=$1 out
  shift
  out=$("$@" 2>&1) || { echo "$out"; return 1; }
  echo "$out"
  ! grep -qF -- "$text" <<<"$out"
}
# staying_pod ARGUMENTS: the name of a running pod that nobody deletes; after a roll-out, old pods may be on their way out yet.
staying_pod() {
  k get pods --field-selector=status.phase=Running "$@" -o go-template='{{range .items}}{{if not .metadata.deletionTimestamp}}{{.metadata.name}}{{"\n"}}{{end}}{{end}}' |
    head -1
}
prints_nothing() { local out; out=$("$@" 2>&1); echo "$out"; [ -z "$out" ]; }
wants_code() { local code=$1; shift; "$@"; local got=$?; echo "exit code $got"; [ $got -eq "$code" ]; }
# In the background, until the test ends.
run_aside() { "$@" & background+=($!); }

# What a cluster of ours could leave behind. Other clusters on the host may come and go meanwhile: a veth whose other end is on
# a bridge, and a network namespace that a process lives in, are theirs, for our own bridge and processes must be gone.
host_state() {
  ip -o link show type veth | grep -v ' master ' | awk -F': ' '{print "link", $2}' | sed 's/@.*//'
  ip -o link | awk -F': ' '{print "link", $2}' | grep -E " (flannel|$bridge)"
  grep -F "$root" /proc/self/mountinfo | awk '{print "mount", $5}'
  for netns in $(ls /var/run/netns 2>/dev/null | grep cni-); do [ -n "$(ip netns pids "$netns" 2>/dev/null)" ] || echo "netns $netns"; done
  nft list tables 2>/dev/null | grep -E " e2e-$bridge"
  # The plugins' own tables are shared by all clusters of a host.
  pgrep -f "knarr server" >/dev/null || nft list tables 2>/dev/null | grep " cni_"
  ip route show table all | grep -E "$pod_prefix|$bridge" | sed 's/^/route /'
  ls -d /etc/cni /etc/cni/net.d/* /opt/cni /opt/cni/bin/* /var/lib/cni/networks/* /var/lib/cni/results/e2e-"$bridge"-* /run/flannel /var/lib/knarr* /etc/knarr* /run/knarr* /var/log/knarr* /var/log/pods/* 2>/dev/null | sed 's/^/file /'
  find /sys/fs/cgroup -type d -path "*e2e-$bridge*" 2>/dev/null | sed 's/^/cgroup /'
  pgrep -f "$root" | grep -vx $$ | sed 's/^/process /'
}
# Only what is new counts; what others had here before may have gone.
host_is_as_before() {
  local left
  left=$(comm -13 <(sort <<<"$before") <(host_state | sort) | grep . || true)
  echo "$left" | grep . | sed 's/^/left: /'
  [ -z "$left" ]
}
cleanup() {
  [ ${#background[@]} -gt 0 ] && kill "${background[@]}" 2>/dev/null
  "$build/knarr" down "${flags[@]}" >/dev/null 2>&1
  [ $failed -eq 0 ] && rm -rf "$root"
}
finish() {
  [ ${#background[@]} -gt 0 ] && kill "${background[@]}" 2>/dev/null && wait "${background[@]}" 2>/dev/null
  background=()
  check "down" "$build/knarr" down "${flags[@]}"
  check "down again" "$build/knarr" down "${flags[@]}"
  # Another cluster's pod that is just being made looks like a leftover for a moment.
  check "nothing is left on the host" soon host_is_as_before
  check "no files and folders are left" prints_nothing find "$root" -mindepth 1 -not -path "$root/cache*" -not -path "$root/test*"
  [ $failed -eq 0 ] && echo "e2e $test_name passed"
  exit $failed
}
