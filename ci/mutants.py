"""Plants defects in a copy of the tree and watches the tests die of them; see mutants.sh.

A defect is a text that occurs once in a file, and what it is replaced by. So the engine is not full of switches, and a
defect whose place in the code has gone is an error. `dies` lists the suites that must fail: "explorer|loom|rmw|shuttle|fleet
[FILTER]" for the models, "test NAME [FILTER]", "lib [FILTER]", "http|gateway NAME [FILTER]" for a test of that crate,
with --lib as NAME for one in its library, "redis [FILTER]" for a test in the library of that crate,
"python NAME FILTER" for tests of crates/python/tests/NAME.py, of defects in its Python (with the module that ci/python.sh has built),
"fuzz TARGET". A defect that nothing here can kill has `argued` instead, with the reason.
"""

import itertools
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path.cwd()
# The copy of the tree that this thread plants defects in.
HERE = threading.local()
# Those with suites of their own kind; all others are of the engine.
PACKAGES = {"http": ["tollgate-http", "--all-features"], "gateway": ["tollgate-gateway"], "c": ["tollgate-c"], "redis": ["tollgate-redis"]}
# A suite that goes round in a circle has failed, in seconds.
TIMEOUT = 300
BUILD_TIMEOUT = 3_000
MODELS = {"explorer": {}, "loom": {}, "rmw": {"TOLLGATE_LOOM_RMW": "1"}, "shuttle": {}, "fleet": {}}


def fail(message):
    sys.exit(f"mutants: {message}")


def defects(arguments):
    chosen = None
    if arguments[:1] == ["--file"]:
        chosen, arguments = arguments[1:2], arguments[2:]
        if not chosen:
            fail("--file needs the name of a list, such as protocol")
    lists = sorted((ROOT / "ci" / "defects").glob("*.toml"))
    if chosen and not any(path.stem in chosen for path in lists):
        fail(f"there is no list {chosen[0]}; there are {', '.join(path.stem for path in lists)}")
    found = []
    for path in lists:
        if chosen and path.stem not in chosen:
            continue
        for defect in tomllib.loads(path.read_text())["defect"]:
            if not {"name", "what", "file", "old", "new"} <= defect.keys() or ("dies" in defect) == ("argued" in defect):
                fail(f"{path.name}: a defect needs name, what, file, old, new, and dies or argued: {defect.get('name')}")
            found.append(defect | {"list": path.stem})
    names = [defect["name"] for defect in found]
    if len(set(names)) < len(names):
        fail("two defects have the same name")
    found = [d for d in found if not arguments or any(part in d["name"] for part in arguments)]
    return found or fail(f"no defect is called like {' or '.join(arguments)}")


def copy_tree(name):
    """What git would commit, with times kept, so that only what differs is built again."""
    HERE.tree = ROOT / "target" / "mutants" / name
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], capture_output=True, text=True, check=True
    ).stdout.split("\0")
    files = {name for name in listed if name and (ROOT / name).is_file()}
    for old in [path for path in HERE.tree.rglob("*") if path.is_file()] if HERE.tree.exists() else []:
        if str(old.relative_to(HERE.tree)) not in files:
            old.unlink()
    for name in files:
        source, target = ROOT / name, HERE.tree / name
        if not target.exists() or source.read_bytes() != target.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            shutil.copymode(source, target)


def commands(suite):
    """How a suite is built, and how it is run: (command, directory, environment) each."""
    kind, *rest = suite.split()
    if kind in MODELS:
        # What the models depend on is the same as in the tree itself.
        env = {"CARGO_TARGET_DIR": str(ROOT / "target" / "loom"), "RUSTFLAGS": "--cfg tollgate_model"}
        # The word of a fleet's leases has a program of its own, under loom alone.
        name = "fleet_lease" if kind == "fleet" else "models"
        build = ["cargo", "test", "--quiet", "--release", "--locked", "--test", name]
        witness = {"TOLLGATE_WITNESS": kind.replace("rmw", "loom"), **MODELS[kind]}
        run = build + ["--", *rest]
        return (build + ["--no-run"], "loom-tests", env), (run, "loom-tests", env | witness)
    env = {"CARGO_TARGET_DIR": str(ROOT / "target" / "mutants" / "target")}
    if kind == "fuzz":
        # It ends as soon as something is found. The script builds and runs, so a build is a run of a second.
        return (["ci/fuzz.sh", "1", *rest], ".", env), (["ci/fuzz.sh", "60", *rest], ".", env)
    if kind == "python":
        # The package as it is in the tree, with the extension module of the wheel.
        venv = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "python-test"
        package = HERE.tree / "crates/python/python"
        modules = list(venv.glob("lib/python*/site-packages/tollgate_limiter/_engine.abi3.so"))
        if len(modules) != 1:
            fail("run ci/python.sh first, which builds the module")
        copy = ["cp", str(modules[0]), str(package / "tollgate_limiter")]
        name, filter = rest
        tests = [str(venv / "bin/python"), "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/{name}.py", "-k", filter]
        return (copy, ".", {}), (tests, "crates/python", {"PYTHONPATH": str(package)})
    if kind not in ("test", "lib", *PACKAGES):
        fail(f"unknown suite: {suite}")
    # Those of the fleet's tests that need no server.
    in_library = kind in ("lib", "redis") or rest[0] == "--lib"
    name = ["--lib"] if in_library else ["--test", rest[0]]
    rest = rest if kind in ("lib", "redis") else rest[1:]
    package = PACKAGES.get(kind, ["tollgate"])
    if name == ["--test", "waiting"]:
        # Which is empty without what it is about.
        package = [*package, "--features", "async"]
    build = ["cargo", "test", "--quiet", "--package", *package, *name]
    return (build + ["--no-run"], ".", env), (build + ["--", *rest], ".", env)


def run(command, directory, env, timeout=TIMEOUT):
    """The exit code, or None if it did not come to an end, and what it printed."""
    process = subprocess.Popen(
        command,
        cwd=HERE.tree / directory,
        env=os.environ | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout)
        return process.returncode, output
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.communicate()
        return None, ""


def cause(output):
    """The line that says why a suite died."""
    lines = output.splitlines()
    for number, line in enumerate(lines):
        if re.search(r"panicked at|ERROR: |SUMMARY:", line):
            return next((after.strip() for after in lines[number + 1 :] if after.strip()), line.strip())[:100]
    return "failed"


def check(suite, what, planted=True):
    """Builds a suite and runs it: None if it passes, else why it does not."""
    build, test = commands(suite)
    code, output = run(*build, timeout=BUILD_TIMEOUT)
    if suite.startswith("fuzz") and "FAILED:" in output:
        return cause(output)
    if code != 0:
        fail(f"{what} does not build:\n{output[-4000:]}")
    if not planted and suite.startswith("fuzz"):
        return None  # A second will do: `ci/fuzz.sh` is a step of its own.
    code, output = run(*test)
    if code is None:
        return f"no end after {TIMEOUT} s"
    return None if code == 0 else cause(output)


def lost(chosen):
    """One line for each defect whose text does not occur exactly once."""
    for defect in chosen:
        path = HERE.tree / defect["file"]
        found = path.read_text().count(defect["old"]) if path.is_file() else 0
        if found != 1:
            yield f"{defect['name']}: its text occurs {found} times in {defect['file']}, not once"


def nowhere(chosen):
    """One line for each suite that has no such tests, which would only be seen when it is its turn."""
    homes = {"test": "tests", "lib": "src", "redis": "crates/redis/src", "python": "crates/python/tests", "fuzz": "fuzz/fuzz_targets"}
    homes |= {kind: f"crates/{kind}/tests" for kind in ("http", "gateway", "c")} | dict.fromkeys(MODELS, "loom-tests")
    for suite in sorted({suite for defect in chosen for suite in defect.get("dies", [])}):
        kind, *rest = suite.split()
        within = kind in ("test", "http", "gateway", "c", "python") and rest[0] != "--lib"
        home = HERE.tree / (homes[kind] if rest[:1] != ["--lib"] else f"crates/{kind}/src")
        paths = [path for suffix in ("rs", "py") for path in home.rglob(f"*.{suffix}")]
        if within:
            # The program, and what is within it.
            paths = [path for path in paths if rest[0] in (path.relative_to(home).parts[0], path.stem)]
            rest = rest[1:]
        text = "\n".join(f"{path}\n{path.read_text()}" for path in paths)
        words = {part for word in rest if word != "--lib" for part in word.split("::") if word not in ("or", "and", "not")}
        if not paths or any(word not in text for word in words):
            yield f"there is no such suite: {suite}"


def rounds(chosen):
    """The defects in as few rounds as are needed for no two of a round to touch the same text."""
    found = []
    for defect in chosen:
        begin = (HERE.tree / defect["file"]).read_text().index(defect["old"])
        span = (defect["file"], begin, begin + len(defect["old"]))
        free = lambda taken: all(f != span[0] or span[2] <= b or e <= span[1] for f, b, e in taken)
        for members, taken in found:
            if free(taken):
                break
        else:
            members, taken = [], []
            found.append((members, taken))
        members.append(defect)
        taken.append(span)
    return [members for members, _ in found]


def builds(defect):
    """The kinds of build that a defect must go through: that of each suite it dies in, or the library's."""
    kinds = {suite.split()[0] for suite in defect.get("dies", ["lib"])}
    return {"models" if kind in MODELS else kind if kind in ("fuzz", "python", *PACKAGES) else "lib" for kind in kinds}


def compiles(planted):
    """Whether the tree compiles with all of these defects in it, for every kind of build that one of them needs."""
    originals = {defect["file"]: (HERE.tree / defect["file"]).read_text() for defect in planted}
    texts = dict(originals)
    for defect in planted:
        texts[defect["file"]] = texts[defect["file"]].replace(defect["old"], defect["new"])
    try:
        for file, text in texts.items():
            (HERE.tree / file).write_text(text)
        for kind in sorted(set().union(*map(builds, planted))):
            if kind == "python":
                code, output = run([sys.executable, "-m", "compileall", "-q", "crates/python/python"], ".", {})
                if code != 0:
                    return output
                continue
            arguments, flags = {
                "lib": (["--package", "tollgate", "--lib"], ""),
                "models": (["--manifest-path", "loom-tests/Cargo.toml"], "--cfg tollgate_model"),
                "fuzz": (["--manifest-path", "fuzz/Cargo.toml", "--all-features"], ""),
                **{kind: (["--package", *package], "") for kind, package in PACKAGES.items()},
            }[kind]
            # Directories that ci/check.sh has filled with what these builds depend on.
            target = ROOT / "target" / {"models": "check-models", "fuzz": "check-fuzz"}.get(kind, ".")
            env = {"CARGO_TARGET_DIR": str(target)} | ({"RUSTFLAGS": flags} if flags else {})
            code, output = run(["cargo", "check", "--quiet", "--locked", *arguments], ".", env, BUILD_TIMEOUT)
            if code != 0:
                return output
        return None
    finally:
        for file, text in originals.items():
            (HERE.tree / file).write_text(text)


def broken(planted):
    """One line for each defect that does not compile. All at once; if that fails, by halves."""
    output = compiles(planted)
    if output is None:
        return
    if len(planted) == 1:
        error = next((line for line in output.splitlines() if line.startswith("error")), output[-200:])
        yield f"{planted[0]['name']}: does not compile: {error}"
        return
    middle = len(planted) // 2
    yield from broken(planted[:middle])
    yield from broken(planted[middle:])


def check_only(chosen):
    """Whether every defect still has its place, and compiles there; nothing is run."""
    problems = [*lost(chosen), *nowhere(chosen)]
    if not problems:
        problems = [problem for members in rounds(chosen) for problem in broken(members)]
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        fail(f"{len(problems)} of {len(chosen)} planted defects cannot be planted")
    print(f"mutants: all {len(chosen)} planted defects have their place and compile")


def plant(group, chosen, is_mine, deadline):
    """Runs the suites of a group, in a tree of its own: those of a list first without a defect, then with each. What survived, and what was not run."""
    copy_tree(group)
    mine = [defect for defect in chosen if any(map(is_mine, defect.get("dies", [])))]
    number, passed, survived = 0, set(), []
    for name, defects_of_list in itertools.groupby(mine, key=lambda defect: defect["list"]):
        defects_of_list = list(defects_of_list)
        suites = {suite for defect in defects_of_list for suite in defect["dies"] if is_mine(suite)} - passed
        for suite in sorted(suites):
            if time.monotonic() > deadline:
                return survived, mine[number:]
            print(f"[{group}, {name}] without a defect: {suite}", flush=True)
            if why := check(suite, "the tree as it is", planted=False):
                fail(f"{suite} fails without a defect: {why}")
        passed |= suites
        for defect in defects_of_list:
            if time.monotonic() > deadline:
                return survived, mine[number:]
            number += 1
            path, started = HERE.tree / defect["file"], time.monotonic()
            original = path.read_text()
            head = f"[{group} {number}/{len(mine)}] {defect['name']}"
            path.write_text(original.replace(defect["old"], defect["new"]))
            try:
                for suite in filter(is_mine, defect["dies"]):
                    why = check(suite, defect["name"])
                    if why is None:
                        survived.append(f"{defect['name']} ({suite})")
                    seconds = time.monotonic() - started
                    print(f"{head}: {'SURVIVED' if why is None else 'died in'} {suite}, {seconds:.0f} s: {why}", flush=True)
            finally:
                path.write_text(original)
    return survived, []


def main():
    arguments = sys.argv[1:]
    only_check = arguments[:1] == ["--check"]
    deadline = float("inf")
    if arguments[:1] == ["--minutes"]:
        if not arguments[1:] or not arguments[1].isdecimal():
            fail("--minutes needs a whole number of minutes")
        deadline = time.monotonic() + 60 * int(arguments[1])
        arguments = arguments[2:]
    chosen = defects(arguments[only_check:])
    copy_tree("tree")
    if only_check:
        check_only(chosen)
        return
    if problems := [*lost(chosen), *nowhere(chosen)]:
        fail("\n".join(problems))
    if deadline < float("inf"):
        # The lists in another order for each commit, so that what one has no time for is the turn of another.
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
        lists = sorted({defect["list"] for defect in chosen})
        random.Random(commit).shuffle(lists)
        chosen.sort(key=lambda defect: lists.index(defect["list"]))
    argued = [defect for defect in chosen if "argued" in defect]
    for defect in argued:
        print(f"{defect['name']}: not run. {defect['argued']}", flush=True)
    # Models are built elsewhere than the rest, so both go on at once.
    is_model = lambda suite: suite.split()[0] in MODELS
    with ThreadPoolExecutor(2) as groups:
        models = groups.submit(plant, "models", chosen, is_model, deadline)
        others = groups.submit(plant, "others", chosen, lambda suite: not is_model(suite), deadline)
        results = [models.result(), others.result()]
    survived = [line for survivors, _ in results for line in survivors]
    left = {defect["name"] for _, unplanted in results for defect in unplanted}
    killed = len(chosen) - len(argued) - len(left | {name.split()[0] for name in survived})
    print(f"mutants: {killed} of {len(chosen)} died, {len(argued)} argued ({', '.join(d['name'] for d in argued) or 'none'})")
    if left:
        print(f"mutants: no time for {len(left)}: {', '.join(sorted(left))}")
    if killed == 0:
        fail("there was no time for any")
    if survived:
        fail(f"survived: {', '.join(survived)}")


main()
