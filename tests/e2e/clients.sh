#!/usr/bin/env bash
# End to end: older kubectls and clients in other languages against one cluster.
# Usage: clients.sh BUILD_DIRECTORY CLIENTS_DIRECTORY (made by tools/fetch_kubectl.sh and tools/fetch_clients.sh)
here=$(cd "$(dirname "$0")" && pwd)
. "$here/cluster.sh"
clients=$2
begin clients "$1" "$clients/kubectl" v1.36.3
mkdir -p "$root/test"
check "up" "$build/knarr" up "${flags[@]}"
or_stop

smoke() {  # smoke VERSION: the life of a Deployment under that kubectl
  kubectl_program=$clients/kubectl-$1
  [ -x "$kubectl_program" ] || { echo "SKIPPED: e2e clients: kubectl $1 is not here (tools/fetch_clients.sh brings it)"; return; }
  k() { timeout 90 "$kubectl_program" --cache-dir "$root/cache/$smoke_version" "$@"; }
  smoke_version=$1
  check "kubectl $1 is itself" wants "v$1." k version --client
  check "kubectl $1: get nodes" wants " Ready " k get nodes
  check "kubectl $1: create namespace" k create namespace skew
  check "kubectl $1: create" k -n skew create deployment web --image=busybox:1.36 --replicas=2 -- sleep 3600
  check "kubectl $1: rollout status" k -n skew rollout status deployment/web --timeout=60s
  check "kubectl $1: apply" k -n skew apply -f "$here/two_containers.yaml"
  check "kubectl $1: server-side apply" k -n skew apply --server-side --force-conflicts -f "$here/two_containers.yaml"
  check "kubectl $1: rollout of the applied" k -n skew rollout status deployment/pair --timeout=60s
  check "kubectl $1: get -o wide" wants "$pod_prefix" k -n skew get pods -o wide
  check "kubectl $1: logs" wants "reader sees" k -n skew logs deployment/pair -c reader
  check "kubectl $1: exec" wants "over there" k -n skew exec deployment/pair -c reader -- echo over there
  check "kubectl $1: exit code" wants_code 7 k -n skew exec deployment/pair -c reader -- sh -c 'exit 7'
  check "kubectl $1: cp" k -n skew cp "$here/two_containers.yaml" "$(k -n skew get pods -l app=pair -o jsonpath='{.items[0].metadata.name}'):/tmp/x" -c reader
  check "kubectl $1: scale" k -n skew scale deployment web --replicas=1
  check "kubectl $1: set image" k -n skew set image deployment/web busybox=busybox:latest
  check "kubectl $1: rolling update" k -n skew rollout status deployment/web --timeout=90s
  check "kubectl $1: undo" k -n skew rollout undo deployment/web
  check "kubectl $1: explain" wants "replicas" k explain deployment.spec
  check "kubectl $1: describe" wants "Replicas:" k -n skew describe deployment web
  check "kubectl $1: wait" k -n skew wait --for=condition=Available deployment/web --timeout=60s
  check "kubectl $1: auth can-i" wants "yes" k auth can-i create pods
  check "kubectl $1: label, annotate, patch" bash -c '"$1" -n skew label deployment web a=b && "$1" -n skew annotate deployment web c=d && "$1" -n skew patch deployment web --type=json -p "[{\"op\":\"add\",\"path\":\"/metadata/labels/e\",\"value\":\"f\"}]"' - "$kubectl_program"
  check "kubectl $1: delete" k delete namespace skew --timeout=80s
}
smoke 1.34
smoke 1.32

node=$clients/javascript/node_modules/node/bin/node
module=$clients/javascript/node_modules/@kubernetes/client-node/dist/index.js
if [ -x "$node" ] && [ -f "$module" ]; then
  check "the JavaScript client" timeout 240 "$node" "$here/life.mjs" "$module"
else
  echo "SKIPPED: e2e clients: the JavaScript client is not here (tools/fetch_clients.sh brings it)"
fi
# Debian's Python: another one in the PATH does not see Debian's packages.
if /usr/bin/python3 -c 'import kubernetes' 2>/dev/null; then
  check "the Python client" timeout 240 /usr/bin/python3 "$here/life.py"
else
  echo "SKIPPED: e2e clients: python3-kubernetes is not installed"
fi
finish
