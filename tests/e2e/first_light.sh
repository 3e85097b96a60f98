#!/usr/bin/env bash
# End to end: `knarr up`, the life of a Deployment under the exact kubectl v1.36.3, kill -9, `knarr down`, and a look at what
# is left. Usage: first_light.sh BUILD_DIRECTORY KUBECTL. Exit code 77: skipped, with the reason on a line of its own.
set -uo pipefail
build=$1
kubectl_program=$2
here=$(cd "$(dirname "$0")" && pwd)

skip() { echo "SKIPPED: e2e first_light: $1"; exit 77; }
[ "$(id -u)" -eq 0 ] || skip "root is needed for containers"
[ -x "$kubectl_program" ] || skip "kubectl v1.36.3 is not here (tools/fetch_kubectl.sh brings it)"
command -v containerd >/dev/null || skip "containerd is not installed"
command -v runc >/dev/null || skip "runc is not installed"
[[ $("$kubectl_program" version --client 2>/dev/null) == *v1.36.3* ]] || skip "$kubectl_program is not kubectl v1.36.3"

root=$(mktemp -d /tmp/knarr-e2e.XXXX)
api=$((20000 + RANDOM % 5000))
flags=(--root "$root" --name e2e --node-name e2e-node --api-port "$api" --kubelet-port $((api + 5000)) --bridge "kne$((RANDOM % 1000))"
       --pod-subnet 10.99.0.0/24 --kubeconfig "$root/kubeconfig")
export KUBECONFIG=$root/kubeconfig
k() { timeout 90 "$kubectl_program" --cache-dir "$root/cache" "$@"; }

failed=0
check() {  # check DESCRIPTION COMMAND...
  local what=$1 out
  shift
  if out=$("$@" 2>&1); then
    echo "ok    $what"
  else
    echo "e2e: FAILED: $what"
    echo "$out" | tail -15 | sed 's/^/      /'
    failed=1
  fi
}
# wants TEXT COMMAND...: the output of the command holds the text.
wants() {
  local text=$1 out
  shift
  out=$("$@" 2>&1)
  echo "$out"
  grep -qF -- "$text" <<<"$out"
}
wants_code() { local code=$1; shift; "$@"; local got=$?; echo "exit code $got"; [ $got -eq "$code" ]; }
host_state() {
  ip -o link | awk -F': ' '{print "link", $2}' | sed 's/@.*//' | grep -E 'veth|kne' | sort
  grep -F "$root" /proc/self/mountinfo | awk '{print "mount", $5}' | sort
  ls /var/run/netns 2>/dev/null | sed 's/^/netns /' | grep cni- | sort
  pgrep -f "$root" | grep -vx $$ | sed 's/^/process /'
}
cleanup() {
  "$build/knarr" down "${flags[@]}" >/dev/null 2>&1
  [ $failed -eq 0 ] && rm -rf "$root"
}
trap cleanup EXIT

before=$(host_state | grep -v '^process')
check "up" "$build/knarr" up "${flags[@]}"
if [ $failed -ne 0 ]; then tail -20 "$root/var/log/knarr/knarr.log"; exit 1; fi
check "up again changes nothing" wants "runs already" "$build/knarr" up "${flags[@]}"
check "get nodes shows Ready" wants " Ready " k get nodes
check "apply a Deployment and its ConfigMap" k apply -f "$here/two_containers.yaml"
check "rollout status" k rollout status deployment/pair --timeout=60s
check "get pods -o wide" wants "10.99.0." k get pods -o wide
check "the containers share an emptyDir that reads the ConfigMap" wants "reader sees: hello from a ConfigMap" k logs deployment/pair -c reader
check "environment from a ConfigMap" wants "writer wrote first" k logs deployment/pair -c writer
check "describe" wants "MinimumReplicasAvailable" k describe deployment pair
check "describe pod tells its events" wants "Started" k describe pod -l app=pair
pod=$(k get pods -l app=pair -o jsonpath='{.items[0].metadata.name}')
check "exec reads" wants "hello from a ConfigMap" k exec "$pod" -c reader -- cat /shared/greeting.txt
check "exec writes" wants "over there" bash -c "echo over there | timeout 30 '$kubectl_program' --cache-dir '$root/cache' exec -i '$pod' -c reader -- sh -c 'cat > /shared/in; cat /shared/in'"
check "exec gives the exit code" wants_code 7 k exec "$pod" -c reader -- sh -c 'exit 7'
check "the token of the service account is mounted" k exec "$pod" -c reader -- test -s /var/run/secrets/kubernetes.io/serviceaccount/token

timeout 60 "$kubectl_program" --cache-dir "$root/cache" get pods -w >"$root/watch.txt" 2>&1 &
watcher=$!
check "scale to five" k scale deployment pair --replicas=5
check "rollout of five" k rollout status deployment/pair --timeout=60s
check "five are there" wants "5/5" k get deployment pair
check "set image" k set image deployment/pair reader=busybox:latest
check "rolling update" k rollout status deployment/pair --timeout=90s
check "two revisions" wants "2 " k rollout history deployment/pair
kill "$watcher" 2>/dev/null
wait "$watcher" 2>/dev/null
check "get -w saw pods come" grep -q 'ContainerCreating' "$root/watch.txt"
check "get -w saw pods go" grep -q 'Terminating' "$root/watch.txt"
check "server-side apply" k apply --server-side --force-conflicts -f "$here/two_containers.yaml"
check "rollout back to two" k rollout status deployment/pair --timeout=90s

pod=$(k get pods -l app=pair --field-selector=status.phase=Running -o jsonpath='{.items[0].metadata.name}')
started=$(k get pod "$pod" -o jsonpath='{.status.containerStatuses[0].state.running.startedAt}')
kill -9 "$(cat "$root/run/knarr/knarr.pid")"
check "pods go on without the server" pgrep -f 'cat /config/greeting.txt'
check "up after kill -9" "$build/knarr" up "${flags[@]}"
check "nothing acknowledged is lost" wants "$pod" k get pods
check "the container was not restarted" wants "$started" k get pod "$pod" -o jsonpath='{.status.containerStatuses[0].state.running.startedAt}'
check "exec after the restart" k exec "$pod" -c reader -- true

check "a wrong field is named" wants 'unknown field "spec.replicass"' k apply -f - <<<'{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"x"},"spec":{"replicass":1}}'
check "an unknown resource is refused" wants "the server doesn't have a resource type" k get unicorns
check "delete" k delete -f "$here/two_containers.yaml" --timeout=60s
check "pods are gone" k wait --for=delete pod -l app=pair --timeout=60s

check "a port in use is told" wants "is in use" "$build/knarr" up "${flags[@]}" --root "$root/other"
check "down" "$build/knarr" down "${flags[@]}"
check "down again" "$build/knarr" down "${flags[@]}"
# What others had here before may have gone meanwhile; only what is new counts.
left=$(comm -13 <(sort <<<"$before") <(host_state | sort) | grep . || true)
echo "$left" | grep . | sed 's/^/left: /'
check "nothing is left on the host" test -z "$left"
check "no files are left" test -z "$(find "$root" -type f -not -path "$root/cache/*" -not -name watch.txt)"
[ $failed -eq 0 ] && echo "e2e first_light passed"
exit $failed
