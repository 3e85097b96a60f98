// The JavaScript client: create, get, list, watch, patch in each way, apply, exec, delete. Usage: node life.mjs CLIENT_MODULE
// Ends with 0 when everything was as it must be; tells the first thing that was not.
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { pathToFileURL } from 'node:url';

const k8s = await import(pathToFileURL(process.argv[2]));
const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const apps = config.makeApiClient(k8s.AppsV1Api);
const objects = k8s.KubernetesObjectApi.makeApiClient(config);
const namespace = 'javascript';

async function step(what, run) {
  const result = await run();
  console.log(`ok    javascript: ${what}`);
  return result;
}
// Resolves with the first event that `wanted` accepts.
function watchFor(path, query, wanted) {
  return new Promise((resolve, reject) => {
    let abort;
    const late = setTimeout(() => { abort?.abort(); reject(new Error(`no event on ${path} in 60 s`)); }, 60_000);
    new k8s.Watch(config).watch(path, query, (type, object) => {
      if (!wanted(type, object)) return;
      clearTimeout(late);
      abort?.abort();
      resolve(object);
    }, (error) => { if (error && error.name !== 'AbortError') reject(error); }).then((controller) => { abort = controller; }, reject);
  });
}

await step('create a namespace', () => core.createNamespace({ body: { metadata: { name: namespace } } }));
await step('create', () => core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'settings', labels: { from: 'js' } }, data: { a: '1' } } }));
const read = await step('get', () => core.readNamespacedConfigMap({ namespace, name: 'settings' }));
assert.equal(read.data.a, '1');
const list = await step('list', () => core.listNamespacedConfigMap({ namespace, labelSelector: 'from=js' }));
assert.equal(list.items.length, 1);
const changed = watchFor(`/api/v1/namespaces/${namespace}/configmaps`, { resourceVersion: list.metadata.resourceVersion }, (type, object) => type === 'MODIFIED' && object.data.a === '2');
const patch = (body, strategy) => core.patchNamespacedConfigMap({ namespace, name: 'settings', body }, k8s.setHeaderOptions('Content-Type', strategy));
await step('merge patch', () => patch({ data: { a: '2' } }, k8s.PatchStrategy.MergePatch));
await step('watch sees it', () => changed);
await step('JSON patch', () => patch([{ op: 'add', path: '/data/b', value: '3' }], k8s.PatchStrategy.JsonPatch));
await step('strategic patch', () => patch({ metadata: { labels: { more: 'yes' } } }, k8s.PatchStrategy.StrategicMergePatch));
const applied = await step('server-side apply', () => objects.patch(
  { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'settings', namespace }, data: { c: '4' } }, undefined, undefined, 'life', true, k8s.PatchStrategy.ServerSideApply));
assert.deepEqual(applied.data, { a: '2', b: '3', c: '4' });
assert.ok(applied.metadata.managedFields.some((entry) => entry.manager === 'life' && entry.operation === 'Apply'));
await step('a conflict is told', () => assert.rejects(
  core.replaceNamespacedConfigMap({ namespace, name: 'settings', body: { metadata: { name: 'settings', resourceVersion: '1' } } }), (error) => error.code === 409));
await step('an absent object is told', () => assert.rejects(core.readNamespacedPod({ namespace, name: 'nobody' }), (error) => error.code === 404));

const template = { metadata: { labels: { app: 'js' } }, spec: { terminationGracePeriodSeconds: 1, containers: [{ name: 'main', image: 'busybox:1.36', imagePullPolicy: 'IfNotPresent', command: ['sleep', '3600'] }] } };
await step('create a Deployment', () => apps.createNamespacedDeployment({ namespace, body: { metadata: { name: 'js' }, spec: { selector: { matchLabels: { app: 'js' } }, template } } }));
const pod = await step('watch a pod run', () => watchFor(`/api/v1/namespaces/${namespace}/pods`, { labelSelector: 'app=js' }, (type, object) => object.status.conditions?.some((c) => c.type === 'Ready' && c.status === 'True')));
await step('exec', async () => {
  const out = new PassThrough(), input = new PassThrough();
  let text = '';
  out.on('data', (bytes) => { text += bytes; });
  const status = new Promise((resolve, reject) => {
    new k8s.Exec(config).exec(namespace, pod.metadata.name, 'main', ['sh', '-c', 'read line; echo "got $line"; exit 5'], out, null, input, false, resolve).catch(reject);
  });
  input.write('over there\n');
  const ended = await status;
  assert.equal(text.trim(), 'got over there');
  assert.equal(ended.details.causes[0].message, '5');
});
await step('read a log', () => core.readNamespacedPodLog({ namespace, name: pod.metadata.name }));
await step('delete', () => core.deleteNamespacedConfigMap({ namespace, name: 'settings' }));
const gone = watchFor('/api/v1/namespaces', {}, (type, object) => type === 'DELETED' && object.metadata.name === namespace);
await step('delete the namespace', () => core.deleteNamespace({ name: namespace }));
await step('it goes', () => gone);
process.exit(0);
