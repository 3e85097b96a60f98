#!/usr/bin/env bash
# End to end: Services and names. Pods and the host reach Services by name, cluster address and node port; changes are followed; the
# rules outlive the server. Usage: network.sh BUILD_DIRECTORY KUBECTL. Exit code 77: skipped.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/cluster.sh"
begin network "$1" "$2" v1.36.3
command -v curl >/dev/null || skip "curl is not installed"

from_pod() { k exec client -- "$@"; }
# different COUNT COMMAND...: so many different answers come within thirty tries.
different() {
  local wanted=$1 seen
  shift
  seen=$(for _ in $(seq 30); do "$@"; done | sort -u)
  echo "$seen"
  [ "$(wc -l <<<"$seen")" -eq "$wanted" ]
}

check "up" "$build/knarr" up "${flags[@]}"
or_stop
check "the node has a pod range" wants "${pod_prefix}0/24" k get node e2e-node -o jsonpath='{.spec.podCIDRs}'
check "the cluster DNS has its address" wants "${service_prefix}10" k -n kube-system get service kube-dns
check "apply" k apply -f "$here/services.yaml"
check "rollout" k rollout status deployment/web --timeout=60s
check "the client runs" k wait --for=condition=Ready pod/client --timeout=60s
or_stop
check "three endpoints in the slice" wants "$pod_prefix" k get endpointslices -l kubernetes.io/service-name=web
check "and in the Endpoints" wants ":8080" k get endpoints web

address=$(k get service web -o jsonpath='{.spec.clusterIP}')
port=$(k get service web -o jsonpath='{.spec.ports[0].nodePort}')
node=$(k get node e2e-node -o jsonpath='{.status.addresses[?(@.type=="InternalIP")].address}')
check "resolv.conf names the cluster's server" wants "nameserver ${service_prefix}10" from_pod cat /etc/resolv.conf
check "a Service by name" wants "$address" from_pod nslookup web.default.svc.cluster.local
check "a headless Service has three addresses" different 3 bash -c "timeout 20 '$kubectl_program' --cache-dir '$root/cache' exec client -- nslookup headless.default.svc.cluster.local | grep -o 'Address: $pod_prefix.*' | sort -R | head -1"
check "a name that is not there" wants "NXDOMAIN" from_pod nslookup nothing.default.svc.cluster.local
check "a pod reaches all endpoints by name" different 3 from_pod wget -qO- http://web
check "the host reaches them by cluster address" different 3 curl -s -m 3 "http://$address"
check "and by node port" different 3 curl -s -m 3 "http://$node:$port"
check "session affinity" different 1 from_pod wget -qO- http://sticky
pod=$(k get pods -l app=web -o jsonpath='{.items[0].metadata.name}')
check "an endpoint reaches itself through its Service" different 3 k exec "$pod" -- wget -qO- http://web
check "a Service without endpoints refuses" wants "refused" from_pod wget -qO- http://nobody
check "the API server answers inside" wants "TLS" from_pod wget -qO- --no-check-certificate https://kubernetes.default.svc.cluster.local

kill -9 "$(cat "$root/run/knarr/knarr.pid")"
check "Services go on without the server" curl -sf -m 3 "http://$node:$port"
check "up after kill -9" "$build/knarr" up "${flags[@]}"
check "the pods are replaced" k delete pod -l app=web --timeout=60s
check "rollout of the new ones" k rollout status deployment/web --timeout=60s
check "the new ones are reached" different 3 from_pod wget -qO- http://web
check "and the old ones are not named" different 3 curl -s -m 3 "http://$address"
check "delete" k delete -f "$here/services.yaml" --timeout=60s
finish
