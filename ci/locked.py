#!/usr/bin/env python3
"""How many instructions callgrind has counted, and how many of them lock a line of memory.

ci/locked.py PROGRAM CALLGRIND-OUT

Instructions of libraries are counted, but not looked at: none of those here locks. Wants PROGRAM.disassembled, as objdump has
it, beside CALLGRIND-OUT, which is of --dump-instr=yes --dump-line=no --compress-pos=no.
"""

import pathlib
import re
import sys

program, out = map(pathlib.Path, sys.argv[1:])
# `lock ...`, and `xchg` with memory, which locks without saying so.
LOCKS = re.compile(r"^\s*([0-9a-f]+):\s+(?:lock |xchg\s.*\()", re.MULTILINE)
locks = {int(address, 16) for address in LOCKS.findall((out.parent / f"{program.name}.disassembled").read_text())}

total = locked = 0
is_ours = is_inclusive = False
objects = {}
for line in out.read_text().splitlines():
    if line.startswith("ob="):
        number, name = re.match(r"ob=\((\d+)\)(?: (.*))?", line).groups()
        is_ours = objects.setdefault(number, name).endswith(program.name)
    elif line.startswith("cob="):
        number, name = re.match(r"cob=\((\d+)\)(?: (.*))?", line).groups()
        objects.setdefault(number, name)
    elif line.startswith("calls="):
        is_inclusive = True
    elif line.startswith("0x"):
        address, count = line.split()[0], int(line.split()[-1])
        if not is_inclusive:
            total += count
            locked += count if is_ours and int(address, 16) in locks else 0
        is_inclusive = False
print(f"{total}\t{locked}")
