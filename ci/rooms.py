#!/usr/bin/env python3
"""Rooms of a crate, in order: each file may use its own room and those below it, and none above.

    ci/rooms.py            checks the crates in the table below
    ci/rooms.py --list     also says which file is in which room

A room is a folder or a file below the crate's `src`, without `.rs`; a file is in the room with the longest name that it
begins with. What counts as use is every path that begins with `crate::` or `super::`, in code and in tests alike; paths
in comments and strings do not. A name that is re-exported at a place that is in no room cannot be judged, and is refused:
name the file where it is.
"""

import re
import sys
from pathlib import Path

# The rooms of each crate, from the top.
ROOMS = {
    "crates/http/src": """
        layer service service/body service/places service/told limiter
        decision/admission decision/refusal decision/straight decision/shared decision/warnings decision/stats
        decision/settle decision/fleet decision/decide decision/asking decision/admitted decision/status decision/refused
        decision/pending_on_fleet decision/matching decision/compile
        decision/by_client decision/candidates
        decision/gate decision/engine decision/in_flight decision
        config/serial config/looks_at config/limiter_config config/policy config/on_fleet config/tiers config/tier_map config/exemption config/charge config/shared_at config
        stats/serial stats/policy_stats stats/use_sketch stats/top stats/label stats/counts stats/places stats/decision_timer stats
        answer identity request error proxy_protocol per_thread
    """,
    "crates/gateway/src": """
        main cli commands
        replay replay/report replay/args replay/suggest replay/simulate/difference replay/simulate/keys replay/simulate/run
        replay/timeline replay/simulate/counter replay/simulate/matches replay/simulate/fields replay/tally replay/sample replay/ingest replay/record
        replay/progress replay/wall_clock replay/log replay/interrupt
        config admin control/server control/socket control/message
        proxy/gateway proxy/view proxy/threads proxy/client proxy/exchange
        proxy/upstream/check proxy/upstream/pool proxy/upstream/link proxy/upstream/http2 proxy/upstream/heard proxy/upstream/request_body
        proxy/upstream/expected proxy/exchange/hop proxy/live proxy/log/entry proxy/log/writer proxy/log
        proxy/upstream/groups proxy/upstream/upstream proxy/upstream/complaint proxy/upstream/dial proxy/service proxy/tally proxy/times proxy/error proxy/echo proxy/client_body
        proxy/shutdown proxy/tls proxy/settings proxy/cors proxy/fields proxy/idle_timer proxy/executor proxy/coarse_clock
        values
    """,
}

TOKEN = re.compile(
    r"""(?P<skip>//[^\n]*|/\*.*?\*/|r(?P<hashes>\#*)".*?"(?P=hashes)|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])')"""
    r"""|(?P<path>\b(?:crate|super)\s*::)""",
    re.DOTALL | re.VERBOSE,
)


def expanded(text, at):
    """The paths of the tree that begins at `at`, which is behind `crate::` or `super::`: lists of names."""
    names = []
    while True:
        at = re.compile(r"\s*").match(text, at).end()
        if text[at] == "{":
            paths, at = [], at + 1
            while True:
                at = re.compile(r"[\s,]*").match(text, at).end()
                if text[at] == "}":
                    return [names + path for path in paths], at + 1
                found, at = expanded(text, at)
                paths += found
                rename = re.compile(r"\s+as\s+\w+").match(text, at)
                at = rename.end() if rename else at
        name = re.compile(r"\*|(?:r#)?\w+").match(text, at)
        if not name:
            return [names], at
        names.append(name.group())
        at = name.end()
        more = re.compile(r"\s*::(?!\s*<)").match(text, at)
        if not more:
            return [names], at
        at = more.end()


def uses(text, module):
    """The full paths that a file names, each with its line; `module` is the path of the file itself."""
    # Tests stand at the end, in a module inside the file's own.
    inline = re.compile(r"^mod \w+ \{", re.MULTILINE).search(text)
    end = 0
    for token in TOKEN.finditer(text):
        if not token["path"] or token.start() < end:
            continue
        paths, end = expanded(text, token.end())
        for path in paths:
            if token["path"].startswith("crate"):
                base = []
            else:
                base = module[:] if inline and token.start() > inline.start() else module[:-1]
                while path[:1] == ["super"]:
                    base, path = base[:-1], path[1:]
            yield text.count("\n", 0, token.start()) + 1, base + path


def room_of(path, rooms):
    """The room with the longest name that `path`, a list of names, begins with."""
    for length in range(len(path), 0, -1):
        if "/".join(path[:length]) in rooms:
            return "/".join(path[:length])
    return None


def check(source, rooms, is_listing):
    problems, inhabited = [], set()
    for file in sorted(Path(source).rglob("*.rs")):
        module = list(file.relative_to(source).with_suffix("").parts)
        if module[-1] in ("mod", "lib"):
            module.pop()
        room = room_of(module, rooms)
        if is_listing:
            print(f"{room or '-':30} {file}")
        if room is None:
            # Only declares the files beside it.
            if file.name not in ("mod.rs", "lib.rs"):
                problems.append(f"{file}: in no room")
            continue
        inhabited.add(room)
        text = file.read_text()
        for line, path in uses(text, module):
            used = room_of(path, rooms)
            if used is None:
                problems.append(f"{file}:{line}: `{'::'.join(path)}` is in no room")
            elif rooms.index(used) < rooms.index(room):
                problems.append(f"{file}:{line}: the room `{room}` uses `{used}`, which is above it")
    problems += [f"{source}: the room `{room}` is empty" for room in rooms if room not in inhabited]
    return problems


def main():
    arguments = sys.argv[1:]
    if arguments not in ([], ["--list"]):
        print(__doc__.strip())
        sys.exit(0 if arguments in (["--help"], ["-h"]) else 2)
    root = Path(__file__).resolve().parent.parent
    problems = []
    for source, rooms in ROOMS.items():
        problems += [problem.replace(f"{root}/", "") for problem in check(root / source, rooms.split(), bool(arguments))]
    for problem in problems:
        print(f"ci/rooms.py: {problem}", file=sys.stderr)
    sys.exit(1 if problems else 0)


main()
