"""Tries the Pingora example, given as argument, before an upstream of its own: of the requests of 64 clients at once
exactly the quota gets through, the others get 429 and are told when to come back. Ends within a minute either way."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CLIENTS, REQUESTS_EACH, QUOTA = 64, 10, 100
REFILL = 86_400 // QUOTA  # seconds until a token is back: no test lasts that long


class Upstream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served = 0
    lock = threading.Lock()

    def do_GET(self):
        with Upstream.lock:
            Upstream.served += 1
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_):
        pass


class UpstreamServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 2 * CLIENTS  # of five, the default, a crowd's connections are dropped and time out


def check(condition, what):
    if not condition:
        sys.exit(f"ci/pingora.py: {what}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_up(port, proxy):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        check(proxy.poll() is None, f"the example ended with {proxy.poll()}")
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
    sys.exit("ci/pingora.py: the example does not listen")


def connect(port, source="127.0.0.1"):
    return http.client.HTTPConnection("127.0.0.1", port, timeout=20, source_address=(source, 0))


def ask(connection, method="GET", body=None):
    """One request: status, header fields, body."""
    connection.request(method, "/", body)
    answer = connection.getresponse()
    content = answer.read()
    closes = answer.getheader("Connection", "").lower() == "close"
    # What is refused before its body was read ends the connection: the next request could begin inside the body.
    check(closes == bool(body), f"after a {method} answered by {answer.status} the connection {'closes' if closes else 'stays open'}")
    return answer.status, answer.headers, content


def crowd(port):
    """All clients at once; the answers in no order."""
    answers, start = [], threading.Barrier(CLIENTS)

    def client():
        connection = connect(port)
        start.wait(20)
        for _ in range(REQUESTS_EACH):
            answers.append(ask(connection))
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def balance(fields):
    """What `RateLimit` says is left, and for how many seconds; `RateLimit-Policy` must be that of the quota."""
    check(fields["RateLimit-Policy"] == f'"default";q={QUOTA};w=86400', f"RateLimit-Policy: {fields['RateLimit-Policy']}")
    match = re.fullmatch(r'"default";r=(\d+);t=(\d+)', fields["RateLimit"] or "")
    check(match, f"RateLimit: {fields['RateLimit']}")
    return int(match[1]), int(match[2])


def check_passed(answers):
    check(all(body == b"hello" for _, _, body in answers), "a body that is not the upstream's")
    left = sorted(balance(fields)[0] for _, fields, _ in answers)
    # A request that read the clock before a rival, and was decided after it, may be told one less.
    check(all(n - 1 <= told <= n for n, told in enumerate(left)), f"the admitted were told these balances: {left}")
    check(all("Retry-After" not in fields for _, fields, _ in answers), "Retry-After on a 200")


def check_refused(fields, body):
    left, seconds = balance(fields)
    check(left == 0 and 1 <= seconds <= REFILL, f"RateLimit of a refusal: {fields['RateLimit']}")
    check(fields["Retry-After"] == str(seconds), f"Retry-After: {fields['Retry-After']}, RateLimit: {fields['RateLimit']}")
    check(fields["Content-Type"] == "application/problem+json", f"Content-Type: {fields['Content-Type']}")
    check(json.loads(body)["status"] == 429 and len(body) < 300, f"body: {body}")


def try_it(port):
    answers = crowd(port)
    total = CLIENTS * REQUESTS_EACH
    check(len(answers) == total, f"{len(answers)} answers to {total} requests")
    passed = [answer for answer in answers if answer[0] == 200]
    refused = [answer for answer in answers if answer[0] == 429]
    check(len(passed) == QUOTA and len(refused) == total - QUOTA, f"{len(passed)} passed, {len(refused)} refused, of {total}")
    check(Upstream.served == QUOTA, f"the upstream served {Upstream.served} requests")
    check_passed(passed)
    for _, fields, body in refused:
        check_refused(fields, body)

    status, fields, body = ask(connect(port), "POST", b"x" * 1000)
    check(status == 429, f"status {status} after the quota was used up")
    check_refused(fields, body)

    status, fields, _ = ask(connect(port, source="127.0.0.2"))
    check(status == 200 and balance(fields)[0] == QUOTA - 1, f"another client's first request: {status}, {fields['RateLimit']}")
    check(Upstream.served == QUOTA + 1, "the upstream saw a request that was refused")
    print(f"pingora: of {total} requests by {CLIENTS} clients at once {QUOTA} passed, {total - QUOTA} got 429; another address passed")


def main():
    signal.signal(signal.SIGALRM, lambda *_: sys.exit("ci/pingora.py: not done after a minute"))
    signal.alarm(60)
    upstream = UpstreamServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    port = free_port()
    proxy = subprocess.Popen([sys.argv[1], f"127.0.0.1:{port}", f"127.0.0.1:{upstream.server_port}", f"{QUOTA}/day"])
    try:
        wait_until_up(port, proxy)
        try_it(port)
    finally:
        proxy.kill()
        proxy.wait()


main()
