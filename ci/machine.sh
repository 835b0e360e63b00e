#!/usr/bin/env bash
# One line on what a measurement was made with: processor, cores, system, compiler, date.
set -euo pipefail
model=$(sed -n 's/^model name\s*: //p' /proc/cpuinfo 2> /dev/null | head -n 1)
echo "${model:-$(uname -m)}, $(getconf _NPROCESSORS_ONLN) cores, $(uname -s) $(uname -m);" \
    "$(rustc --version | cut -d ' ' -f 1-2); $(date -u +%F)"
