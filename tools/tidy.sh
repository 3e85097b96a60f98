#!/usr/bin/env bash
# Checks sources with clang-tidy: tools/tidy.sh [--all | FILE...]
# Without arguments: what differs from the commit before last on main, and what is not committed. Needs build/dev configured.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${1:-}" = --all ]; then
  mapfile -t files < <(git ls-files 'src/*.cc' 'cmd/*.cc' 'images/*.cc' | grep -vE '_test\.cc$|_for_test\.cc$')
elif [ $# -gt 0 ]; then
  files=("$@")
else
  mapfile -t files < <({ git diff --name-only --diff-filter=d HEAD~1 2>/dev/null; git ls-files --others --exclude-standard; } | grep -E '^(src|cmd|images)/.*\.cc$' | grep -vE '_test\.cc$|_for_test\.cc$' | sort -u)
fi
[ ${#files[@]} -gt 0 ] || { echo "nothing to check"; exit 0; }
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 4 clang-tidy-19 --quiet -p build/dev 2> >(grep -vE 'warnings? generated|Processing file|Suppressed|Use -header-filter' >&2)
echo "${#files[@]} files checked"
