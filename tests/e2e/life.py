"""The Python client: create, get, list, watch, patch, apply (dynamic client), exec, delete. Ends with 0 when everything was as
it must be; tells the first thing that was not."""
import json

from kubernetes import client, config, dynamic, watch
from kubernetes.client.rest import ApiException
from kubernetes.stream import stream

NAMESPACE = "python"


def step(what, run):
    result = run()
    print(f"ok    python: {what}", flush=True)
    return result


def refused(code, run):
    try:
        run()
    except ApiException as error:
        assert error.status == code, f"wanted {code}, got {error.status}"
        return
    raise AssertionError(f"wanted {code}, but it was done")


def watch_for(method, wanted, **query):
    watcher = watch.Watch()
    for event in watcher.stream(method, timeout_seconds=60, **query):
        if wanted(event["type"], event["object"]):
            watcher.stop()
            return event["object"]
    raise AssertionError("no such event in 60 s")


def apply(body):
    """This client's own methods send no YAML from a dictionary, so the request is put together from its parts."""
    path = f"/api/v1/namespaces/{NAMESPACE}/configmaps/{body['metadata']['name']}"
    answer = client.ApiClient().call_api(
        path, "PATCH", query_params=[("fieldManager", "life")], header_params={"Content-Type": "application/apply-patch+yaml"},
        body=json.dumps(body), auth_settings=["BearerToken"], response_type="object")
    return answer[0]


def ready(_, pod):
    return any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions or [])


def main():
    config.load_kube_config()
    core, apps = client.CoreV1Api(), client.AppsV1Api()
    step("create a namespace", lambda: core.create_namespace({"metadata": {"name": NAMESPACE}}))
    step("create", lambda: core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": "settings", "labels": {"from": "py"}}, "data": {"a": "1"}}))
    assert step("get", lambda: core.read_namespaced_config_map("settings", NAMESPACE)).data == {"a": "1"}
    found = step("list", lambda: core.list_namespaced_config_map(NAMESPACE, label_selector="from=py"))
    assert len(found.items) == 1
    version = found.metadata.resource_version
    step("patch", lambda: core.patch_namespaced_config_map("settings", NAMESPACE, {"data": {"a": "2"}}))
    step("watch sees it", lambda: watch_for(core.list_namespaced_config_map, lambda kind, o: kind == "MODIFIED" and o.data["a"] == "2", namespace=NAMESPACE, resource_version=version))
    step("JSON patch", lambda: core.patch_namespaced_config_map("settings", NAMESPACE, [{"op": "add", "path": "/data/b", "value": "3"}]))
    step("a conflict is told", lambda: refused(409, lambda: core.replace_namespaced_config_map("settings", NAMESPACE, {"metadata": {"name": "settings", "resourceVersion": "1"}})))
    step("an absent object is told", lambda: refused(404, lambda: core.read_namespaced_pod("nobody", NAMESPACE)))

    resources = step("discovery", lambda: dynamic.DynamicClient(client.ApiClient()))
    maps = resources.resources.get(api_version="v1", kind="ConfigMap")
    applied = step("server-side apply", lambda: apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"c": "4"}}))
    assert applied["data"] == {"a": "2", "b": "3", "c": "4"}, applied
    assert step("dynamic get", lambda: maps.get(name="settings", namespace=NAMESPACE)).data.c == "4"

    container = {"name": "main", "image": "busybox:1.36", "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"]}
    template = {"metadata": {"labels": {"app": "py"}}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]}}
    step("create a Deployment", lambda: apps.create_namespaced_deployment(NAMESPACE, {"metadata": {"name": "py"}, "spec": {"selector": {"matchLabels": {"app": "py"}}, "template": template}}))
    pod = step("watch a pod run", lambda: watch_for(core.list_namespaced_pod, ready, namespace=NAMESPACE, label_selector="app=py"))
    name = pod.metadata.name
    text = step("exec", lambda: stream(core.connect_get_namespaced_pod_exec, name, NAMESPACE, command=["sh", "-c", "echo hello; echo there >&2"], stderr=True, stdin=False, stdout=True, tty=False))
    assert "hello" in text and "there" in text, text
    session = stream(core.connect_get_namespaced_pod_exec, name, NAMESPACE, command=["sh", "-c", "read line; echo got $line; exit 5"], stderr=True, stdin=True, stdout=True, tty=False, _preload_content=False)
    session.write_stdin("over there\n")
    step("exec with input", lambda: session.run_forever(timeout=30))
    assert session.read_stdout() == "got over there\n"
    assert session.returncode == 5, session.returncode
    step("read a log", lambda: core.read_namespaced_pod_log(name, NAMESPACE))
    step("scale", lambda: apps.patch_namespaced_deployment_scale("py", NAMESPACE, {"spec": {"replicas": 2}}))
    step("delete", lambda: core.delete_namespaced_config_map("settings", NAMESPACE))
    version = core.list_namespace().metadata.resource_version
    step("delete the namespace", lambda: core.delete_namespace(NAMESPACE))
    step("it goes", lambda: watch_for(core.list_namespace, lambda kind, o: kind == "DELETED" and o.metadata.name == NAMESPACE, resource_version=version))


main()
