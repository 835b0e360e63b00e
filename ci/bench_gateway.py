"""See ci/bench_gateway.sh, which starts this with NGINX and TOLLGATE in the environment.

What stands behind the figures: both proxies have two workers, keep connections to clients and to the upstream open, and
write no access log. Each slice is one wrk run against one server; a round is a slice of every one, in an order drawn
anew, and a ratio is the median of the ratios within rounds. Every answer is counted: a slice with an error, or with an
answer that the scene does not call for, ends the run. One client address asks, so that both limiters have one hot key.
"""

import argparse
import contextlib
import http.client
import os
import random
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORKERS, CONNECTIONS = 2, 64
BODY = "hello from upstream\n"
# What each scene is, and the status it answers.
SCENES = {
    "no limiter": 200,  # the proxy alone
    "none refused": 200,  # a limit that is never reached
    "all refused": 429,  # but for the first
}
# `done` gets all of wrk's figures; its usual report rounds them.
LUA = """
done = function(summary, latency)
    local e = summary.errors
    print("RESULT", summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        e.status, e.connect + e.read + e.write + e.timeout)
end
"""


def fail(what):
    sys.exit(f"ci/bench_gateway: {what}")


# Configurations and commands: what a contender is.


def nginx_config(server, http=""):
    user = "user root;" if os.getuid() == 0 else ""
    return f"""
{user} worker_processes {WORKERS}; daemon off; pid nginx.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
    access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    {http}
    server {{ {server} }}
}}"""


def nginx_command(directory, config):
    (directory / "nginx.conf").write_text(config)
    return [os.environ["NGINX"], "-p", str(directory), "-c", "nginx.conf", "-e", "stderr"]


def upstream(port):
    server = f"listen 127.0.0.1:{port} backlog=4096; default_type text/plain; location / {{ return 200 '{BODY}'; }}"
    return lambda directory: nginx_command(directory, nginx_config(server))


def nginx(scene, port, upstream_port):
    # The burst is for nginx's clock, which stands still for a millisecond at a time.
    zone = "limit_req_status 429; limit_req_zone $binary_remote_addr zone=clients:10m rate="
    http, limit = {
        "no limiter": ("", ""),
        "none refused": (zone + "1000000r/s;", "limit_req zone=clients burst=1000000 nodelay;"),
        "all refused": (zone + "1r/m;", "limit_req zone=clients;"),
    }[scene]
    http += f"upstream up {{ server 127.0.0.1:{upstream_port}; keepalive {CONNECTIONS}; keepalive_requests 1000000000; }}"
    # The upstream is told of the client as the gateway tells it.
    fields = {
        "Connection": "''", "Host": "$http_host", "Via": "'1.1 nginx'", "X-Forwarded-For": "$remote_addr",
        "X-Forwarded-Proto": "$scheme", "X-Forwarded-Host": "$http_host",
    }
    fields = " ".join(f"proxy_set_header {name} {value};" for name, value in fields.items())
    server = f"""listen 127.0.0.1:{port} backlog=4096; {limit}
        location / {{ proxy_pass http://up; proxy_http_version 1.1; {fields} }}"""
    return lambda directory: nginx_command(directory, nginx_config(server, http))


def gateway(scene, port, upstream_port):
    limits = {"no limiter": None, "none refused": "1000000000/second", "all refused": "1/hour"}[scene]
    config = f"listen: 127.0.0.1:{port}\nupstreams: [http://127.0.0.1:{upstream_port}]\nadmin: off\n"
    if limits is None:
        config += "policies: []\n"
    else:
        config += f"policies:\n  - name: default\n    limits: {limits}\n    key: ip\n"

    def command(directory):
        file = directory / "tollgate.yaml"
        file.write_text(config)
        return [os.environ["TOLLGATE"], "gateway", "--config", str(file)]

    return command


# Processes.


class Server:
    """A program that listens, with its children; its standard error is shown if it does not come up."""

    def __init__(self, name, port, command, directory):
        self.name, self.port = name, port
        directory.mkdir()
        self.log = directory / "log"
        with open(self.log, "w") as log:
            # The gateway has a thread for each core that it may use, so none of the servers gets more.
            cores = ",".join(map(str, sorted(os.sched_getaffinity(0))[:WORKERS]))
            command = ["taskset", "--cpu-list", cores, *command(directory)]
            self.process = subprocess.Popen(command, cwd=directory, stdout=log, stderr=log)

    def wait_until_up(self, status):
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError):
                return self.expect(200, status)
            time.sleep(0.05)
        fail(f"{self.name} does not come up:\n{self.log.read_text()}")

    def expect(self, *statuses):
        """Asks one time; the answer must have one of these, and the upstream's body if it is 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        connection.request("GET", "/")
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        if answer.status not in statuses or (answer.status == 200) != (body == BODY.encode()):
            fail(f"{self.name} answers {answer.status}, {body[:100]}, expected {' or '.join(map(str, statuses))}")

    def processor_time(self):
        """Seconds that its threads, and its children's, have run so far."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        tasks = [task for pid in [self.process.pid, *children] for task in Path(f"/proc/{pid}/task").iterdir()]
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def in_user_space(self):
        """The part of the processor time so far that was not the kernel's."""
        user, system = map(int, Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[11:13])
        return user / max(1, user + system)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def machine_busy():
    """Seconds that all processors together were busy so far."""
    user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


# Counting.


def instructions(scene, upstream_port, scratch, requests):
    """Instructions in user space that the gateway takes for so many requests on one connection, and to start and end."""
    port = free_port()
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    command = lambda directory: valgrind + gateway(scene, port, upstream_port)(directory)
    server = Server(f"callgrind {scene}", port, command, scratch / f"callgrind {scene} {requests}")
    try:
        server.wait_until_up(200)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        for _ in range(requests):
            connection.request("GET", "/")
            if (status := connection.getresponse()).read() != BODY.encode():
                fail(f"{server.name} answers {status.status}")
        connection.close()
    finally:
        server.stop()
    collected = [line.split(":")[1] for line in server.log.read_text().splitlines() if "Collected :" in line]
    return int(collected[0]) if collected else fail(f"no count:\n{server.log.read_text()}")


def report_instructions(upstream_port, scratch, user):
    """The limiter's instructions a request: what a request takes with it, less what it takes without."""
    # So many that the calibration of the clock, which takes more or fewer, does not count.
    calls = 10_000

    def a_request(scene):
        progress(f"counting instructions: {scene}", is_new=True)
        # Twice as many less once as many: whatever it takes to begin drops out.
        return (instructions(scene, upstream_port, scratch, 2 * calls) - instructions(scene, upstream_port, scratch, calls)) / calls

    alone, limited = a_request("no limiter"), a_request("none refused")
    progress("")
    part = 1 - alone / limited
    print(f"tollgate: {limited:,.0f} instructions a request in user space, {alone:,.0f} without the limiter: {100 * part:.2f} %;")
    print(f"of a request's processor time, {100 * user:.0f} % of which is in user space, the limiter is about {100 * part * user:.2f} %")


# Measuring.


class Slice:
    """What one run of wrk found: rates by second, times in microseconds."""

    def __init__(self, server, status, seconds, script, servers):
        def ours():
            children = resource.getrusage(resource.RUSAGE_CHILDREN)
            return sum(s.processor_time() for s in servers) + children.ru_utime + children.ru_stime

        before, ours_before, busy_before = server.processor_time(), ours(), machine_busy()
        command = ["wrk", f"-t{WORKERS}", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script)]
        run = subprocess.run([*command, f"http://127.0.0.1:{server.port}/"], capture_output=True, text=True, timeout=seconds + 30)
        used, used_by_us, busy = server.processor_time() - before, ours() - ours_before, machine_busy() - busy_before
        results = [line.split()[1:] for line in run.stdout.splitlines() if line.startswith("RESULT")]
        if run.returncode or not results:
            fail(f"wrk against {server.name}: {run.stderr or run.stdout}")
        requests, duration, self.p50, self.p99, refused, errors = map(float, results[0])
        if requests == 0 or errors:
            fail(f"{server.name}: {requests:.0f} answers, {errors:.0f} errors of connections:\n{run.stdout}")
        if (status == 200 and refused) or (status != 200 and refused < 0.999 * requests):
            fail(f"{server.name}: {refused:.0f} of {requests:.0f} answers are 400 or above, where {status} was expected")
        server.expect(status)
        self.rate = requests / duration * 1e6
        self.cpu = used / requests * 1e6
        self.others = max(0.0, busy - used_by_us) / (duration / 1e6 * os.cpu_count())


def progress(text, is_new=False):
    """One line that updates, or now and then a new one where there is no terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    elif is_new:
        print(text, file=sys.stderr, flush=True)


def median_of(slices, field):
    return statistics.median(getattr(s, field) for s in slices)


def ratio(ours, theirs, field):
    """Median of the ratios of what was measured in the same round, with the smallest and the largest."""
    ratios = [getattr(a, field) / getattr(b, field) for a, b in zip(ours, theirs)]
    return statistics.median(ratios), min(ratios), max(ratios)


def share(with_limiter, without):
    return statistics.median(1 - b.cpu / a.cpu for a, b in zip(with_limiter, without))


def report(slices, ours):
    print(f"{'scene':<14}{'server':<10}{'requests/s':>11}{'p50':>9}{'p99':>9}{'CPU/request':>13}")
    for (scene, who), found in slices.items():
        p50, p99, cpu = (median_of(found, field) for field in ("p50", "p99", "cpu"))
        print(f"{scene:<14}{who:<10}{median_of(found, 'rate'):>11,.0f}{p50 / 1000:>6.2f} ms{p99 / 1000:>6.2f} ms{cpu:>10.1f} us")
    print(f"\n{ours} / nginx  requests/s    of rounds       p99   CPU/request   goal: as many requests, at least")
    for scene in SCENES:
        if (scene, ours) not in slices:
            continue
        pair = slices[scene, ours], slices[scene, "nginx"]
        rate, low, high = ratio(*pair, "rate")
        p99, cpu = ratio(*pair, "p99")[0], ratio(*pair, "cpu")[0]
        print(f"{scene:<16}{rate:>10.2f}{low:>9.2f} to {high:.2f}{p99:>9.2f}{cpu:>14.2f}   {'met' if rate >= 1 else 'MISSED'}")
    for who in ("nginx", ours):
        if not {("none refused", who), ("no limiter", who)} <= slices.keys():
            continue
        part = share(slices["none refused", who], slices["no limiter", who])
        print(f"{who}: the limiter is {100 * part:+.1f} % of a proxied request's processor time")
    others = statistics.median(s.others for found in slices.values() for s in found)
    print(f"other programs and the kernel's own work took {100 * others:.0f} % of the machine meanwhile")


def report_tsv(slices):
    print("scene\tserver\tround\trequests_per_second\tp50_us\tp99_us\tcpu_us\tothers")
    for (scene, who), found in slices.items():
        for number, s in enumerate(found, 1):
            print(f"{scene}\t{who}\t{number}\t{s.rate:.1f}\t{s.p50:.0f}\t{s.p99:.0f}\t{s.cpu:.3f}\t{s.others:.3f}")


def measure(servers, everything, script, rounds, seconds):
    slices = {name: [] for name in servers}
    order = list(servers)
    # The first slice of a server opens its connections to the upstream and is not kept.
    for number in range(rounds + 1):
        random.shuffle(order)
        for place, (scene, who) in enumerate(order):
            label = f"round {number} of {rounds}" if number else "warming up"
            progress(f"{label}, {place + 1} of {len(order)}: {scene}, {who}", is_new=place == 0)
            found = Slice(servers[scene, who], SCENES.get(scene, 200), seconds if number else 1, script, everything)
            if number:
                slices[scene, who].append(found)
    progress("")
    return slices


def main():
    parser = argparse.ArgumentParser(prog="ci/bench_gateway.sh")
    parser.add_argument("--tsv", action="store_true", help="every slice as a line of tab-separated values")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of a slice")
    parser.add_argument("--scene", choices=SCENES, action="append", help="only this one; repeatable")
    parser.add_argument("--rehearse", action="store_true", help="nginx in the gateway's place")
    parser.add_argument("--instructions", action="store_true", help="the limiter's share by callgrind, too")
    options = parser.parse_args()
    if options.instructions and (options.rehearse or options.tsv or options.scene):
        parser.error("--instructions goes with the tables of all scenes")
    if options.rounds < 1 or options.seconds < 1:
        parser.error("at least one round of one second")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ci/bench_gateway: ended"))

    ours, our_command = ("nginx too", nginx) if options.rehearse else ("tollgate", gateway)
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as running:

        def start(name, status, command, *to):
            port = free_port()
            server = Server(name, port, command(port, *to), Path(scratch) / name.replace(" ", "-"))
            running.callback(server.stop)
            server.wait_until_up(status)
            return server

        script = Path(scratch) / "report.lua"
        script.write_text(LUA)
        origin = start("upstream", 200, upstream)
        servers = {("upstream alone", ""): origin}
        for scene, status in SCENES.items():
            if options.scene and scene not in options.scene:
                continue
            for who, command in (("nginx", nginx), (ours, our_command)):
                make = lambda port, to, command=command, scene=scene: command(scene, port, to)
                servers[scene, who] = start(f"{who} {scene}", status, make, origin.port)
        slices = measure(servers, list(servers.values()), script, options.rounds, options.seconds)
        report_tsv(slices) if options.tsv else report(slices, ours)
        if options.instructions:
            report_instructions(origin.port, Path(scratch), servers["none refused", ours].in_user_space())


main()
