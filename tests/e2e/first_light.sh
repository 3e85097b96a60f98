#!/usr/bin/env bash
# End to end: `knarr up`, the life of a Deployment under the exact kubectl v1.36.3, kill -9, `knarr down`, and a look at what
# is left. Usage: first_light.sh BUILD_DIRECTORY KUBECTL. Exit code 77: skipped, with the reason on a line of its own.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/cluster.sh"
begin first_light "$1" "$2" v1.36.3
mkdir -p "$root/test"

check "up" "$build/knarr" up "${flags[@]}"
or_stop
check "up again changes nothing" wants "runs already" "$build/knarr" up "${flags[@]}"
check "get nodes shows Ready" wants " Ready " k get nodes
check "apply a Deployment and its ConfigMap" k apply -f "$here/two_containers.yaml"
check "rollout status" k rollout status deployment/pair --timeout=60s
check "get pods -o wide" wants "$pod_prefix" k get pods -o wide
check "the containers share an emptyDir that reads the ConfigMap" wants "reader sees: hello from a ConfigMap" k logs deployment/pair -c reader
check "environment from a ConfigMap" wants "writer wrote first" k logs deployment/pair -c writer
check "describe" wants "MinimumReplicasAvailable" k describe deployment pair
check "describe pod tells its events" wants "Started" k describe pod -l app=pair
pod=$(k get pods -l app=pair -o jsonpath='{.items[0].metadata.name}')
check "exec reads" wants "hello from a ConfigMap" k exec "$pod" -c reader -- cat /shared/greeting.txt
check "exec writes" wants "over there" bash -c "echo over there | timeout 30 '$kubectl_program' --cache-dir '$root/cache' exec -i '$pod' -c reader -- sh -c 'cat > /shared/in; cat /shared/in'"
check "exec gives the exit code" wants_code 7 k exec "$pod" -c reader -- sh -c 'exit 7'
check "logs over a WebSocket" wants "reader sees: hello" /usr/bin/python3 "$here/log_over_websocket.py" "$kubectl_program" "$KUBECONFIG" default "$pod" reader
check "the token of the service account is mounted" k exec "$pod" -c reader -- test -s /var/run/secrets/kubernetes.io/serviceaccount/token

# Whoever attaches has no terminal here, the container has one.
check "run -it --rm" wants "deleted" k run -it --rm brief --image=busybox:1.36 --restart=Never -- echo hi
check "run -i --rm reads" wants "over there" bash -c "echo over there | timeout 30 '$kubectl_program' --cache-dir '$root/cache' run -i --rm reads --image=busybox:1.36 --restart=Never --quiet -- cat"

timeout 60 "$kubectl_program" --cache-dir "$root/cache" get pods -w >"$root/test/watch.txt" 2>&1 &
watcher=$!
check "get -w lists what is there" soon grep -q 'pair-' "$root/test/watch.txt"
check "scale to five" k scale deployment pair --replicas=5
check "rollout of five" k rollout status deployment/pair --timeout=60s
check "five are there" wants "5/5" k get deployment pair
check "set image" k set image deployment/pair reader=busybox:latest
check "rolling update" k rollout status deployment/pair --timeout=90s
check "two revisions" wants "2 " k rollout history deployment/pair
kill "$watcher" 2>/dev/null
wait "$watcher" 2>/dev/null
check "get -w saw pods come" grep -q 'ContainerCreating' "$root/test/watch.txt"
check "get -w saw pods go" grep -q 'Terminating' "$root/test/watch.txt"
check "server-side apply" k apply --server-side --force-conflicts -f "$here/two_containers.yaml"
check "rollout back to two" k rollout status deployment/pair --timeout=90s

pod=$(staying_pod -l app=pair)
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
finish
