#!/usr/bin/env bash
# End to end: a whole cluster from nothing, used as people use one: the three-tier example under the exact kubectl v1.36.3 and
# Helm 4.2.3, services by name, rolling updates without a failed request, drain, kill -9 in the middle, and nothing left after.
# Usage: keel.sh BUILD_DIRECTORY KUBECTL HELM
here=$(cd "$(dirname "$0")" && pwd)
. "$here/cluster.sh"
begin keel "$1" "$2" v1.36.3
helm_program=$3
[ -x "$helm_program" ] || skip "helm is not here (tools/fetch_kubectl.sh brings it)"
h() { timeout 180 "$helm_program" "$@"; }
export HELM_CACHE_HOME=$root/cache/helm HELM_CONFIG_HOME=$root/cache/helm HELM_DATA_HOME=$root/cache/helm
mkdir -p "$root/test/manifests"
example=$here/../../examples/three-tier
# A node port that no other cluster on this host has.
node_port=$((30100 + RANDOM % 2600))
sed "s/nodePort: 30080/nodePort: $node_port/" "$example/manifests/40-frontend.yaml" >"$root/test/manifests/40-frontend.yaml"
cp "$example"/manifests/[123]*.yaml "$root/test/manifests/"
manifests=$root/test/manifests

check "up" "$build/knarr" up "${flags[@]}"
or_stop
check "get nodes shows Ready" wants " Ready " k get nodes
node_ip=$(k get nodes -o jsonpath='{.items[0].status.addresses[?(@.type=="InternalIP")].address}')

# ---- the example
check "apply, client side" k apply -f "$manifests"
for tier in store api frontend; do check "rollout status $tier" k rollout status "deployment/$tier" --timeout=90s; done
or_stop
# Not the Secret: kubectl always sends its stringData anew.
check "apply again changes nothing" wants_not "configured" k apply -f "$manifests/30-api.yaml" -f "$manifests/40-frontend.yaml"
check "apply, server side" k apply --server-side --force-conflicts -f "$manifests"
# kubectl checks what is inside a List by /openapi/v2.
check "apply a List" wants "configmap/in-a-list created" k apply -f - <<<'{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"in-a-list"}}]}'
check "a wrong field in a List is named" wants 'unknown field "dota"' k apply -f - <<<'{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"dota":{}}]}'
# shellcheck disable=SC2016
check "logs -f follows" bash -c '[ "$(timeout 7 "$1" --cache-dir "$2/cache" logs -f deployment/store -c watcher | wc -l)" -ge 2 ]' - "$kubectl_program" "$root"
# Without --foreground, and unless the shell replaces itself by it, timeout makes a group in the background, which may not set the terminal.
check "exec -it has a terminal" wants "/dev/pts/" script -qec "timeout --foreground 30 '$kubectl_program' --cache-dir '$root/cache' exec -it deployment/store -c watcher -- tty" /dev/null
pod=$(staying_pod -l app=store)
head -c 3000000 /dev/urandom >"$root/test/sent"
check "cp to a pod" k cp "$root/test/sent" "$pod:/tmp/sent" -c watcher
check "cp from a pod" k cp "$pod:/tmp/sent" "$root/test/back" -c watcher
check "what was copied is the same" cmp "$root/test/sent" "$root/test/back"

# ---- services
check "a Service by its short name" wants "Three tiers" k exec "$pod" -c watcher -- timeout 5 wget -qO- http://frontend/
check "a Service by its full name" wants "Three tiers" k exec "$pod" -c watcher -- timeout 5 wget -qO- http://frontend.default.svc.cluster.local/
check "a Service by its address" wants "Three tiers" k exec "$pod" -c watcher -- timeout 5 wget -qO- "http://$(k get service frontend -o jsonpath='{.spec.clusterIP}')/"
check "the API server by its name" wants "kubernetes.default.svc.cluster.local" k exec "$pod" -c watcher -- nslookup kubernetes.default.svc.cluster.local
check "a name that does not exist is refused" wants "NXDOMAIN" k exec "$pod" -c watcher -- nslookup nowhere.default.svc.cluster.local
check "the node port" wants "Three tiers" curl -s -m 5 "http://$node_ip:$node_port/"
check "both pods of a Service answer" bash -c 'for i in $(seq 30); do timeout 20 "$1" --cache-dir "$2/cache" exec "$3" -c watcher -- timeout 5 wget -qO- http://api/visits; done | grep -o "\"api\":\"[^\"]*" | sort -u | wc -l | grep -qx 2' - "$kubectl_program" "$root" "$pod"
run_aside timeout 60 "$kubectl_program" --cache-dir "$root/cache" port-forward service/frontend "$((api_port + 1)):80" >"$root/test/forward.txt" 2>&1
check "port-forward is ready" soon grep Forwarding "$root/test/forward.txt"
check "curl through port-forward" wants "Three tiers" curl -s -m 5 "http://127.0.0.1:$((api_port + 1))/"

# ---- changing it
check "scale" k scale deployment frontend --replicas=3
check "scaled" k rollout status deployment/frontend --timeout=60s
check "a client that goes on" k run load --image=testserver:1 --restart=Never -- load http://frontend/ --seconds 25 --interval-ms 10
check "the client runs" k wait --for=condition=Ready pod/load --timeout=30s
check "set image" k set image deployment/frontend frontend=testserver:2
check "rolling update" k rollout status deployment/frontend --timeout=90s
check "rollout undo" k rollout undo deployment/frontend
check "rolled back" k rollout status deployment/frontend --timeout=90s
check "the old image is back" wants "testserver:1" k get deployment frontend -o jsonpath='{.spec.template.spec.containers[0].image}'
check "the client ends well" k wait --for=jsonpath='{.status.phase}'=Succeeded pod/load --timeout=60s
check "no request failed" wants " 0 failed" k logs load
check "explain" wants "replicas" k explain deployment.spec
check "explain deep" wants "FIELD: image" k explain pod.spec.containers.image
sed -i 's/Hello from three tiers/Hello again/' "$manifests/10-settings.yaml"
check "diff shows a change" wants_code 1 k diff -f "$manifests"
check "describe tells endpoints" wants "Endpoints:" k describe service frontend
check "describe a node" wants "Allocated resources" k describe node e2e-node
check "events" wants "Scheduled" k events --for "pod/$pod"
check "get all" wants "service/frontend" k get all
check "top says what is missing" wants_code 1 k top nodes

# ---- the node
check "drain" k drain e2e-node --ignore-daemonsets --delete-emptydir-data --force --timeout=80s
check "drained pods wait" wants "Pending" k get pods
check "uncordon" k uncordon e2e-node
check "everything comes back" k rollout status deployment/frontend --timeout=90s
check "the API comes back" k rollout status deployment/api --timeout=90s

check "the page comes back" soon wants "<h1>" curl -s -m 5 "http://$node_ip:$node_port/"

# ---- kill -9 in the middle of a roll-out
check "set image again" k set image deployment/api api=testserver:2
kill -9 "$(cat "$root/run/knarr/knarr.pid")"
check "services go on without the server" wants "ok" curl -s -m 5 "http://$node_ip:$node_port/healthz"
check "up after kill -9" "$build/knarr" up "${flags[@]}"
check "the roll-out ends" k rollout status deployment/api --timeout=90s
check "and is what was asked for" wants "testserver:2" k get deployment api -o jsonpath='{.spec.template.spec.containers[0].image}'
check "the page is there" soon wants "<h1>" curl -s -m 5 "http://$node_ip:$node_port/"

check "delete" k delete -f "$manifests" --timeout=80s
check "pods are gone" k wait --for=delete pod -l app.kubernetes.io/part-of=three-tier --timeout=60s

# ---- the same as a chart
check "helm install" h install three "$example/chart" --wait --timeout 120s
check "helm status" wants "deployed" h status three
check "helm upgrade" h upgrade three "$example/chart" --set message=Again --set frontend.replicas=3 --wait --timeout 120s
check "helm history" wants "superseded" h history three
pod=$(staying_pod -l app.kubernetes.io/name=store)
check "the upgrade is served" soon wants "Again" k exec "$pod" -c watcher -- timeout 5 wget -qO- http://three-frontend/
check "helm rollback" h rollback three 1 --wait --timeout 120s
check "helm get" wants "three-frontend" h get manifest three
check "helm uninstall" h uninstall three --wait --timeout 120s
check "nothing of the chart is left" wants "No resources found" k get deployments,services -l app.kubernetes.io/instance=three
check "a namespace comes and goes" bash -c '"$1" create namespace brief && "$1" -n brief create configmap x --from-literal=a=b && timeout 60 "$1" delete namespace brief' - "$kubectl_program"

finish
