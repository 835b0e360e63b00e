"""The admin page in a real browser; see ci/admin_page.sh.

The browser is driven by chromedriver over the HTTP of WebDriver, so the standard library is enough.
"""

import argparse
import base64
import http.client
import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

HOSTILE = '<img src=x onerror="window.taken=1"><script>window.taken=1</script>'
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --window-size=1280,1080 --hide-scrollbars""".split()

CONFIG = """
listen: 127.0.0.1:0
admin: 127.0.0.1:0
client: {from: x-forwarded-for, trusted: [127.0.0.0/8]}
limiter: {show_keys: true}
policies:
  - {name: everybody, limits: 60/minute burst 20}
  - {name: login, limits: 5/minute, match: {path: /login, method: POST}}
  - {name: keys, limits: "120/minute burst 40, 5000/hour", key: "header:x-api-key | ip", match: {path: "/api/*"}}
  - {name: search-trial, limits: 60/minute burst 5, shadow: true, match: {path: "/search"}}
"""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--into", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        gateway, driver = Gateway(Path(folder)), None
        try:
            driver = Driver(Path(folder))
            check(gateway, driver, options)
        finally:
            if driver:
                driver.stop()
            gateway.stop()
    print("the admin page shows what it should")


def check(gateway, driver, options):
    def picture(name):
        if options.into:
            options.into.mkdir(parents=True, exist_ok=True)
            driver.picture(options.into / f"{name}.png")

    driver.open(gateway.admin + "/")
    until("the page is empty and says so", lambda: shown(driver, "keys-empty") and shown(driver, "main", "second"))
    expect(driver.run("return document.querySelector('#keys-scroll').hidden"), True, "the table of keys is hidden")

    picture("empty")
    requests = Requests(gateway.addr, *(("k-2041", 620, 1) if options.keep else (HOSTILE, 8, 3)))
    before = int(shown(driver, "main", "second"))
    if options.keep:
        time.sleep(610)
        driver.picture(Path("docs/pictures/admin.png"))
    requests.wait()
    # The last requests belong to a second that has not ended when they are answered.
    until("the numbers agree with /limits", lambda: agrees(gateway, driver))
    if not int(shown(driver, "main", "second")) > before:
        fail("the page did not go on by itself")
    expect(requests.refused, sum(policy["refused"] for policy in gateway.limits()["policies"]), "refusals that clients saw")
    expect(requests.allowed, gateway.ask("/live")["passed"], "answers that clients saw")

    keys = driver.run("return [...document.querySelectorAll('#keys tbody tr')].map(row => row.cells[0].textContent)")
    if not options.keep and f"header:x-api-key:{HOSTILE}" not in keys:
        fail(f"the hostile key is not shown as text, but {keys}")
    if not options.keep and not any(HOSTILE in key for key in driver.run(
        "return [...document.querySelectorAll('#used tbody tr')].map(row => row.cells[0].textContent)")):
        fail("the hostile key is not among those that use most")
    tiles = driver.run("return document.getElementById('tiles').textContent")
    if not ("Time, median≤ " in tiles and "; upstreams ≤ " in tiles):
        fail(f"no times are shown, but {tiles}")
    markup = "return [document.scripts.length, document.querySelectorAll('tbody img, tbody script').length, typeof taken]"
    expect(driver.run(markup), [1, 0, "undefined"], "scripts of the page, markup of clients, code of clients")
    bars = "return [...document.querySelectorAll('#requests rect.refused')].filter(it => it.getAttribute('visibility') == 'visible').length"
    if not driver.run(bars):
        fail("no refusal is drawn")
    if not any(policy["shadow_refused"] for policy in gateway.limits()["policies"]):
        fail("the shadow policy has nothing to show")
    names = "return [...document.querySelectorAll('svg')].every(svg => /\\d+ allowed/.test(svg.getAttribute('aria-label')))"
    expect(driver.run(names), True, "every plot says in words what it shows")
    picture("light")

    driver.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    picture("dark")
    driver.devtools("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=2, mobile=True)
    until("a phone has room for the page", lambda: driver.run("return document.documentElement.scrollWidth") <= 390)
    picture("phone")
    driver.devtools("Emulation.clearDeviceMetricsOverride")

    expect(driver.log("browser"), [], "messages on the console")
    fetched = {urllib.parse.urlparse(url)._replace(path="", query="").geturl() for url in driver.fetched()}
    expect(fetched, {gateway.admin}, "who was asked for anything")

    gateway.stop()
    until("the page says that the gateway has gone", lambda: "cannot be reached" in (shown(driver, "trouble") or ""))
    picture("unreachable")


def agrees(gateway, driver):
    policies = gateway.limits()["policies"]
    counts = """const text = (card, kind) => card.querySelector(`.${kind} dd`).textContent.replaceAll(',', '');
        return [...document.querySelectorAll('#policies article')].map(card =>
            [card.dataset.policy, ...['allowed', 'refused', 'shadow', 'exempt'].map(kind => Number(text(card, kind)))])"""
    kinds = ["name", "allowed", "refused", "shadow_refused", "exempt"]
    if driver.run(counts) != [[policy[kind] for kind in kinds] for policy in policies]:
        return False
    rows = "return [...document.querySelectorAll('#keys tbody tr')].map(row => [0, 1, 2].map(i => row.cells[i].textContent))"
    listed = [
        (key["key"], policy["name"] + " (shadow)" * policy["shadow"], f"{key['refused']:,}")
        for policy in policies
        for key in policy["keys"]
    ]
    rows = [tuple(row) for row in driver.run(rows)]
    if not (len(rows) == min(20, len(listed)) and set(rows) <= set(listed)):
        return False
    used = [
        (row["key"], policy["name"] + " (shadow)" * policy["shadow"], f"{row['requests']:,}")
        for policy in policies
        for row in policy["used"]
    ]
    rows = "return [...document.querySelectorAll('#used tbody tr')].map(row => [0, 1, 2].map(i => row.cells[i].textContent))"
    rows = [tuple(row) for row in driver.run(rows)]
    return len(rows) == min(20, len(used)) > 0 and set(rows) <= set(used)


def shown(driver, name, data=None):
    """The text of an element that can be seen, or a value that it has."""
    what = f"it.dataset.{data}" if data else "it.checkVisibility() && it.textContent"
    return driver.run(f"const it = document.getElementById('{name}'); return {what} || null")


class Gateway:
    """`tollgate gateway` before its built-in upstream."""

    def __init__(self, folder):
        config = folder / "tollgate.yaml"
        config.write_text(CONFIG)
        command = [os.environ["TOLLGATE"], "gateway", "--config", str(config)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.addr = re.search(r"http://([0-9.:]+)", self.process.stdout.readline()).group(1)
        self.admin = re.search(r"(http://[0-9.:]+)/", self.process.stdout.readline()).group(1)

    def ask(self, path):
        with urllib.request.urlopen(self.admin + path, timeout=10) as answer:
            return json.load(answer)

    def limits(self):
        return self.ask("/limits")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=40)


class Requests:
    """Clients with different habits, and what they were answered."""

    def __init__(self, addr, key, seconds, pace):
        self.addr, self.pace, self.end = addr, pace, time.monotonic() + seconds
        self.allowed = self.refused = 0
        self.lock = threading.Lock()
        # Most requests come in waves, as they do in life.
        visitors = [(f"198.51.100.{n}", "GET", "/articles", {}, 0.4 + n % 3 / 2) for n in range(1, 7)]
        clients = visitors + [
            ("203.0.113.9", "POST", "/login", {}, 0.35),
            ("203.0.113.77", "GET", "/api/items", {"x-api-key": key}, 5),
            ("203.0.113.78", "GET", "/api/items", {"x-api-key": "k-7731"}, 1.2),
            ("2001:db8:1:2::7", "GET", "/articles", {}, 3),
            ("192.0.2.14", "GET", "/search", {}, 1.6),
        ]
        self.threads = [threading.Thread(target=self.client, args=(n, *client), daemon=True) for n, client in enumerate(clients)]
        for thread in self.threads:
            thread.start()

    def client(self, number, address, method, path, fields, rate):
        dice, start = random.Random(number), time.monotonic()
        host, port = self.addr.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=10)
        while time.monotonic() < self.end:
            connection.request(method, path, headers={"X-Forwarded-For": address, **fields})
            answer = connection.getresponse()
            answer.read()
            with self.lock:
                self.allowed += answer.status == 200
                self.refused += answer.status == 429
            since = time.monotonic() - start
            wave = 1.15 + math.sin(since / 37 + number) * math.sin(since / 11)
            time.sleep(dice.expovariate(self.pace * rate * max(0.15, wave)))

    def wait(self):
        for thread in self.threads:
            thread.join()


class Driver:
    """A browser, by way of chromedriver."""

    def start(self):
        """Starts it, and says what it said."""
        self.process = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        said = []
        for line in self.process.stdout:
            said.append(line.strip())
            if found := re.search(r"started successfully on port (\d+)", line):
                self.url = f"http://127.0.0.1:{found.group(1)}/session"
                break
        return " ".join(said)

    def __init__(self, folder):
        self.session = None
        self.url = None
        # The port that it finds free for IPv4 may be taken for IPv6; then it ends, and another try finds another.
        for _ in range(5):
            said = self.start()
            if self.url:
                break
        else:
            fail(f"chromedriver did not start: {said}")
        # What it says later must not fill the pipe.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()
        options = {
            "goog:chromeOptions": {"args": [*FLAGS, f"--user-data-dir={folder / 'browser'}"]},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        self.session = self.ask("POST", "", {"capabilities": {"alwaysMatch": options}})["sessionId"]
        self.url += f"/{self.session}"

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            fail(f"chromedriver: {json.load(error)['value']['message'].splitlines()[0]}")

    def open(self, url):
        # What the browser's own first page fetched is of no interest.
        self.ask("POST", "/url", {"url": "about:blank"})
        self.log("performance")
        self.ask("POST", "/url", {"url": url})

    def run(self, script):
        return self.ask("POST", "/execute/sync", {"script": script, "args": []})

    def log(self, kind):
        return self.ask("POST", "/se/log", {"type": kind})

    def fetched(self):
        events = (json.loads(entry["message"])["message"] for entry in self.log("performance"))
        return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]

    def devtools(self, command, **params):
        self.ask("POST", "/goog/cdp/execute", {"cmd": command, "params": params})

    def picture(self, path):
        self.devtools("Page.bringToFront")
        size = self.run("return [innerWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1}
        params = {"format": "png", "captureBeyondViewport": True, "clip": clip}
        shot = self.ask("POST", "/goog/cdp/execute", {"cmd": "Page.captureScreenshot", "params": params})
        path.write_bytes(base64.b64decode(shot["data"]))

    def stop(self):
        if self.session:
            self.ask("DELETE", "")
        self.process.terminate()
        self.process.wait(timeout=20)


def until(what, holds, seconds=15):
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            fail(f"not within {seconds} s: {what}")
        time.sleep(0.1)


def expect(actual, expected, what):
    if actual != expected:
        fail(f"{what}: expected {expected}, found {actual}")


def fail(why):
    sys.exit(f"ci/admin_page.sh: {why}")


if __name__ == "__main__":
    main()
