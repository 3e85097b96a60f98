#!/usr/bin/env python3
"""Writes api/*.api from a facts table of the Kubernetes API surface.

The schema files under api/ are the truth of this project; this script is how they were first made and how a later
upstream release is brought in (run it, then review the difference). Usage:

    tools/transcribe_api.py FACTS_DIR API_DIR

FACTS_DIR holds types.jsonl (one type a line), legacy-types.jsonl (types of versions that are no longer served), enums.jsonl,
resources.jsonl and swagger-1.36-nodesc.json. The language is described in src/schema/README.md.
"""
import collections
import json
import os
import re
import sys

# Go packages whose root kinds no swagger document names: package to API group.
GROUPS = {
    'admission': 'admission.k8s.io', 'imagepolicy': 'imagepolicy.k8s.io', 'audit': 'audit.k8s.io',
    'apiserver': 'apiserver.config.k8s.io', 'apidiscovery': 'apidiscovery.k8s.io',
    'clientauthentication': 'client.authentication.k8s.io', 'custom_metrics': 'custom.metrics.k8s.io',
    'external_metrics': 'external.metrics.k8s.io', 'metrics': 'metrics.k8s.io', 'stats': 'stats.kubelet.k8s.io',
    'authentication': 'authentication.k8s.io', 'version': 'version', 'meta': '',
    # Versions that are no longer served; their objects are still read.
    'extensions': 'extensions', 'apps': 'apps', 'authorization': 'authorization.k8s.io', 'batch': 'batch',
    'discovery': 'discovery.k8s.io', 'events': 'events.k8s.io', 'flowcontrol': 'flowcontrol.apiserver.k8s.io', 'node': 'node.k8s.io',
    'policy': 'policy', 'rbac': 'rbac.authorization.k8s.io', 'scheduling': 'scheduling.k8s.io', 'storage': 'storage.k8s.io',
}
# Types that are field kinds of the schema language, not structs.
BUILTIN = {
    'Quantity': 'Quantity', 'IntOrString': 'IntOrString', 'RawExtension': 'RawExtension', 'meta/v1.Time': 'Time',
    'meta/v1.MicroTime': 'MicroTime', 'meta/v1.Duration': 'Duration', 'meta/v1.FieldsV1': 'FieldsV1',
    'apiextensions/v1.JSON': 'JSON', 'Unknown': 'RawExtension',
}
DROPPED = {'TypeMeta', 'meta/v1.TypeMeta', 'meta/v1.Patch', 'meta/v1.Timestamp'}
SCALARS = {'string', 'bool', 'int32', 'int64', 'uint64', 'double', 'bytes', 'any'}
# Kinds of meta/v1 that are served under the group meta.k8s.io.
META_GROUP = {'Table', 'TableOptions', 'PartialObjectMetadata', 'PartialObjectMetadataList'}
# component-base/tracing/api/v1, inlined into the server's TracingConfiguration.
TRACING = [['endpoint', 'string', None, 'op', {}], ['samplingRatePerMillion', 'int32', None, 'op', {}]]


def package_of(name):
    return name.rsplit('.', 1)[0] if '.' in name else ''


def quoted(text):
    """A value of the schema language: bare, or in single quotes."""
    if re.fullmatch(r"[^\s']+", text):
        return text
    assert "'" not in text, text
    return "'" + text + "'"


def type_text(go_type, flags, package):
    prefix = ''
    while True:
        if go_type.startswith('[]'):
            prefix, go_type = prefix + '[]', go_type[2:]
        elif go_type.startswith('map:'):
            prefix, go_type = prefix + 'map[string]', go_type[4:]
        else:
            break
    if go_type in BUILTIN:
        base = BUILTIN[go_type]
    elif go_type in SCALARS:
        base = go_type
    elif package_of(go_type) == package:
        base = go_type.rsplit('.', 1)[1]
    else:
        base = go_type
    if 'p' in flags and not prefix:
        prefix = '*'
    if 'P' in flags:
        prefix += '*'
    return prefix + base


def field_line(field, package):
    json_name, go_type, tag, flags, extra = field
    words = ['inline' if 'i' in flags else json_name, type_text(go_type, flags, package)]
    if tag:
        words.append('=%d' % tag)
    if 'o' in flags:
        words.append('omitempty')
    if 'z' in flags:
        words.append('omitzero')
    if 'r' in flags:
        words.append('required')
    if 'list' in extra:
        words.append('list=' + extra['list'])
    if 'keys' in extra:
        words.append('keys=' + ','.join(extra['keys']))
    if 'map' in extra:
        words.append('map=' + extra['map'])
    if 'patch' in extra:
        words.append('patch=' + extra['patch'])
    if 'pkey' in extra:
        words.append('patchKey=' + extra['pkey'])
    if 'default' in extra:
        words.append('default=' + quoted(json.dumps(extra['default'], separators=(',', ':'))))
    if 'enum' in extra:
        enum = extra['enum']
        words.append('enum=' + (enum.rsplit('.', 1)[1] if package_of(enum) == package else enum))
    if 'format' in extra:
        words.append('format=' + extra['format'])
    for gate in extra.get('gate', []):
        words.append('gate=' + gate)
    for marker in extra.get('val', []):
        words.append('validation=' + quoted(marker))
    return '  ' + ' '.join(words)


def type_lines(record, package, kind_of):
    name = record['t'].rsplit('.', 1)[1]
    words = ['type', name]
    fields = record['f']
    if name == 'TracingConfiguration':
        fields = [f for f in fields if not f[1].startswith('tracingapi')] + TRACING
    type_meta = any(f[1] == 'meta/v1.TypeMeta' for f in fields)
    if type_meta or name == 'WatchEvent':
        words.append('kind')
        if not type_meta:
            words.append('noTypeMeta')
        group = kind_of(package, name)
        if group:
            words.append('group=' + group)
    if record.get('map') == 'atomic':
        words.append('atomic')
    if 'wrap' in record:
        words.append('wrapped')
    if record.get('unions'):
        words.append('unions=' + quoted(json.dumps(record['unions'], separators=(',', ':'))))
    lines = ['', ' '.join(words)]
    lines += [field_line(f, package) for f in fields if f[1] != 'meta/v1.TypeMeta']
    return lines


def kinds_returned_by_delete(swagger):
    """(group, version, kind) of resources whose DELETE answers with the object instead of a Status."""
    out = set()
    for item in swagger['paths'].values():
        operation = item.get('delete', {})
        if operation.get('x-kubernetes-action') != 'delete':
            continue
        if not operation['responses']['200']['schema']['$ref'].endswith('.Status'):
            gvk = operation['x-kubernetes-group-version-kind']
            out.add((gvk['group'], gvk['version'], gvk['kind']))
    return out


def resource_line(r, returned):
    words = ['resource', r['r'], r['kind']]
    if r['ns']:
        words.append('namespaced')
    if r.get('singular'):
        words.append('singular=' + r['singular'])
    if r.get('short'):
        words.append('short=' + ','.join(r['short']))
    if r.get('cat'):
        words.append('categories=' + ','.join(r['cat']))
    words.append('verbs=' + ','.join(r['verbs']))
    if r.get('kgv'):
        words.append('kindGV=' + '/'.join(r['kgv']))
    if r.get('svh'):
        words.append('hash=' + r['svh'])
    if '/' not in r['r'] and (r['g'], r['v'], r['kind']) in returned:
        words.append('deleteReturnsObject')
    return ' '.join(words)


def read(path):
    with open(path) as lines:
        return [json.loads(line) for line in lines]


def main():
    facts, out = sys.argv[1:3]
    types = collections.OrderedDict()
    group_of = {}
    current = read(os.path.join(facts, 'types.jsonl'))
    packages = {package_of(record['t']) for record in current}
    legacy = [r for r in read(os.path.join(facts, 'legacy-types.jsonl')) if package_of(r['t']) not in packages]
    for record in current + legacy:
        if record['t'] in BUILTIN or record['t'] in DROPPED:
            continue
        package = package_of(record['t'])
        types.setdefault(package, []).append(record)
        if isinstance(record.get('gvk'), list):
            group_of.setdefault(package, record['gvk'][0][0])
    for package in types:
        group_of.setdefault(package, GROUPS.get(package.split('/')[0]))
        assert group_of[package] is not None, package

    enums = collections.defaultdict(list)
    for record in read(os.path.join(facts, 'enums.jsonl')):
        name = 'meta/v1.PatchType' if record['e'] == 'PatchType' else record['e']
        package, short = package_of(name), name.rsplit('.', 1)[-1]
        if package in types and short not in ('string', 'GroupName', 'RFC3339Micro', 'AllObjects'):
            enums[package].append((short, record['closed'], record['v']))
    with open(os.path.join(facts, 'swagger-1.36-nodesc.json')) as file:
        returned = kinds_returned_by_delete(json.load(file))
    resources = collections.defaultdict(list)
    for record in read(os.path.join(facts, 'resources.jsonl')):
        resources[(record['g'], record['v'])].append(record)

    def kind_of(package, name):
        return 'meta.k8s.io' if package == 'meta/v1' and name in META_GROUP else ''

    for package, records in types.items():
        go_name, _, version = package.partition('/')
        prefix = records[0]['full'].rsplit('.', 1)[0]
        lines = ['package ' + package, 'group ' + (group_of[package] or '""'), 'version ' + (version or 'v1'),
                 'openapi ' + prefix]
        if enums[package]:
            lines.append('')
        for name, closed, values in enums[package]:
            lines.append('enum %s %s %s' % (name, 'closed' if closed else 'open',
                                            ' '.join(quoted(v) if v else "''" for v in values)))
        if package != 'meta/v1':
            found = resources.pop((group_of[package], version), [])
            if found:
                lines.append('')
            lines += [resource_line(r, returned) for r in found]
        for record in records:
            lines += type_lines(record, package, kind_of)
        path = os.path.join(out, (go_name + '_' + version if version else go_name) + '.api')
        with open(path, 'w') as file:
            file.write('\n'.join(lines) + '\n')
    assert not resources, list(resources)


if __name__ == '__main__':
    main()
