#!/usr/bin/env python3
"""What ci/hour.sh runs: a gateway before its built-in upstream, honest load, and everything else beside it.

Each part ends by itself when the time is over. The run has failed if an honest request was not answered 2xx, if a question on the
control socket was not answered, if a reload was not what it should have been, if memory grew, or if the gateway did not end as told.
"""

import argparse
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

TOLLGATE = os.environ["TOLLGATE"]

# Seconds of one run of h2load, which begins its connections anew.
SLICE = 10

# How much the memory of the last quarter may be above that of the second: noise of allocators, and no leak.
GROWTH = 0.05
GROWTH_KIB = 4096

CONFIG = """
listen: 127.0.0.1:{port}
admin: 127.0.0.1:{admin}
control: control.sock
threads: 2
timeouts: {{head: 2s, idle: 5s}}
policies:
  - {{name: everybody, limits: {limit}/second, always: true}}
  - name: plans
    limits: 5/minute
    key: header:x-api-key
    missing_key: skip
    always: true
    tiers: {{by: header:x-api-key, file: plans.csv, limits: {{gold: {limit}/second, free: 9/minute}}}}
  - {{name: places, concurrency: 100000, always: true}}
"""

# Beginnings that are known to be read far, to be spoiled.
HEADS = [
    b"GET / HTTP/1.1\r\nHost: a\r\nX-Api-Key: k\r\n\r\n",
    b"POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.1, 10.0.0.2\r\nCookie: a=b; c=d\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    + b"\x00\x00\x06\x01\x05\x00\x00\x00\x01\x82\x84\x86\x41\x01a" + b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + b"\x00" * 8,
]


class Run:
    def __init__(self, folder, seconds, seed):
        self.folder, self.seconds, self.seed = folder, seconds, seed
        self.port, self.admin = free_port(), free_port()
        self.end = None
        self.problems = []
        self.honest = self.heads = self.asked = self.applied = self.refused = 0
        self.memory = []

    def fail(self, what):
        self.problems.append(what)

    def is_over(self):
        return time.monotonic() >= self.end or self.problems

    def write(self, name, text):
        """As a deployment should: beside it, then renamed."""
        beside = self.folder / f"{name}.new"
        beside.write_text(text)
        beside.rename(self.folder / name)

    def plans(self, number):
        rows = "".join(f"key-{i},{'gold' if (i + number) % 2 else 'free'}\n" for i in range(2_000))
        self.write("plans.csv", f"key,tier\nhonest,gold\n{rows}")

    def config(self, number):
        self.write("tollgate.yaml", CONFIG.format(port=self.port, admin=self.admin, limit=10_000_000 + number % 7))

    def start(self):
        self.plans(0)
        self.config(0)
        self.said = open(self.folder / "said", "w+b")
        command = [TOLLGATE, "gateway", "--config", str(self.folder / "tollgate.yaml")]
        self.gateway = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.said)
        if b"listening" not in self.gateway.stdout.readline():
            sys.exit("ci/hour: the gateway does not start")
        self.end = time.monotonic() + self.seconds

    def load(self):
        """Honest requests, over HTTP/2 and HTTP/1.1 by turns, on many connections."""
        number = 0
        while not self.is_over():
            left = max(1, min(SLICE, int(self.end - time.monotonic())))
            how = ["--h1"] if number % 2 else ["-m", "10"]
            number += 1
            command = ["h2load", "-c", "20", "-t", "1", "-D", str(left), *how, "-H", "x-api-key: honest"]
            done = subprocess.run([*command, f"http://127.0.0.1:{self.port}/"], capture_output=True, text=True, timeout=left + 60)
            counts = re.search(r"(\d+) failed, (\d+) errored, (\d+) timeout", done.stdout)
            status = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", done.stdout)
            if done.returncode or not counts or not status or int(status[1]) == 0:
                self.fail(f"h2load {how}: {done.stderr or done.stdout}")
                return
            self.honest += int(status[1])
            if any(map(int, counts.groups())) or any(map(int, status.groups()[1:])):
                self.fail(f"h2load {how}: an honest request failed: {counts[0]}; {status[0]}")

    def fuzz(self, number):
        """Heads that were spoiled; nothing is expected of their answers but that there is an end."""
        draw = random.Random(f"{self.seed} {number}")
        while not self.is_over():
            head = bytearray(draw.choice(HEADS))
            for _ in range(draw.randrange(6)):
                at = draw.randrange(len(head))
                match draw.randrange(5):
                    case 0:
                        head[at] = draw.randrange(256)
                    case 1:
                        del head[at : at + draw.randrange(1, 9)]
                    case 2:
                        head[at:at] = draw.randbytes(draw.randrange(1, 9))
                    case 3:
                        head[at:at] = head[draw.randrange(len(head)) :][: draw.randrange(1, 200)]
                    case 4:
                        del head[at:]
                if not head:
                    head = bytearray(b"\r\n")
            try:
                with socket.create_connection(("127.0.0.1", self.port), 5) as client:
                    client.settimeout(0.2)
                    client.sendall(head)
                    if draw.randrange(2):
                        client.shutdown(socket.SHUT_WR)
                    if draw.randrange(3):
                        client.recv(4096)
            except (TimeoutError, ConnectionError):
                pass
            self.heads += 1
            # Beside the load, not in its place.
            time.sleep(0.002)

    def reload(self):
        """Another configuration, another table, a bad one of each, by turns."""
        number = 0
        while not self.is_over():
            number += 1
            match number % 4:
                case 0:
                    self.config(number)
                case 1:
                    self.plans(number)
                case 2:
                    (self.folder / "plans.csv").write_text("key,tier\nhonest,go")
                case 3:
                    self.plans(number)
            if number % 3 == 0:
                self.gateway.send_signal(signal.SIGHUP)
            time.sleep(2.5)

    def ask(self):
        """The control socket, the metrics and memory, once a second."""
        while not self.is_over():
            keys = [TOLLGATE, "keys", "show", "--socket", str(self.folder / "control.sock")]
            done = subprocess.run([*keys, "127.0.0.1"], capture_output=True, text=True, timeout=30)
            if done.returncode:
                self.fail(f"keys show: {done.stderr}")
            self.metrics = urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=30).read().decode()
            status = Path(f"/proc/{self.gateway.pid}/status").read_text()
            self.memory.append(int(re.search(r"VmRSS:\s+(\d+)", status)[1]))
            self.asked += 1
            time.sleep(1)

    def metric(self, name):
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.metrics, re.MULTILINE)
        return int(float(found[1])) if found else 0

    def guarded(self, work, *args):
        try:
            work(*args)
        except Exception as error:
            self.fail(f"{work.__name__}: {error!r}")

    def all(self):
        self.start()
        works = [(self.load,), (self.fuzz, 1), (self.fuzz, 2), (self.reload,), (self.ask,)]
        threads = [threading.Thread(target=self.guarded, args=work) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.gateway.poll() is not None:
            self.fail(f"the gateway has ended by itself: {self.gateway.returncode}")
        self.gateway.terminate()
        try:
            if code := self.gateway.wait(60):
                self.fail(f"the gateway ended with {code}")
        except subprocess.TimeoutExpired:
            self.gateway.kill()
            self.gateway.wait()
            self.fail("the gateway did not end when it was told to")
        self.said.seek(0)
        said = self.said.read().decode(errors="replace")
        if "panicked" in said:
            self.fail(f"a panic: {said}")
        self.applied = self.metric('tollgate_config_reloads_total{outcome="applied"}')
        self.refused = self.metric('tollgate_config_reloads_total{outcome="refused"}')
        if self.seconds >= 30 and not (self.applied and self.refused):
            self.fail(f"reloads: {self.applied} applied, {self.refused} refused: {said}")
        return self.judge_memory()

    def judge_memory(self):
        quarter = len(self.memory) // 4
        if quarter < 5:
            return "too short a run to judge memory"
        second, last = (statistics.median(self.memory[from_ : from_ + quarter]) for from_ in (quarter, len(self.memory) - quarter))
        if last > second * (1 + GROWTH) + GROWTH_KIB:
            self.fail(f"memory has grown from {second} KiB in the second quarter to {last} KiB in the last")
        return f"resident: {second / 1024:.1f} MiB in the second quarter, {last / 1024:.1f} MiB in the last, {max(self.memory) / 1024:.1f} MiB at most"


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def main():
    parser = argparse.ArgumentParser(usage="ci/hour.sh [SECONDS] [--seed N]")
    parser.add_argument("seconds", nargs="?", type=int, default=3600)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args()
    if options.seconds < 1:
        parser.error("at least a second")
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), options.seconds, options.seed)
        memory = run.all()
    print(f"{options.seconds} s, seed {options.seed}: {run.honest:,} honest requests, {len(run.problems)} problems; {run.heads:,} fuzzed heads,")
    print(f"{run.applied} configurations and tables put in force and {run.refused} refused, {run.asked} questions; {memory}")
    for problem in run.problems:
        print(f"ci/hour: {problem}", file=sys.stderr)
    sys.exit(1 if run.problems else 0)


main()
