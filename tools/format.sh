#!/usr/bin/env bash
# Formats every source as .clang-format says, but for the breaches that tests/importverifier keeps; with --check it only tells which files differ, and fails when one does.
set -euo pipefail
cd "$(dirname "$0")/.."
mode=(-i)
[ "${1:-}" = --check ] && mode=(--dry-run -Werror)
git ls-files '*.cc' '*.h' '*.c' ':!tests/importverifier' | xargs clang-format-19 "${mode[@]}"
