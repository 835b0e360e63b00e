// Asks `/live` once a second and shows what it says. Whatever comes from there is put into the page as text, never as
// markup: keys are chosen by clients.

const SECONDS = 600;
const MINUTES = 24 * 60;
const PATIENCE = 5000;
const SERIES = [["allowed", "allowed"], ["refused", "refused"], ["shadow", "would be refused"]];

const number = new Intl.NumberFormat("en");
const grouped = (n) => number.format(n);
const byId = (id) => document.getElementById(id);

// ---- small tools -----------------------------------------------------------------------------------------------

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function drawn(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// What stays the same is left alone, so that nothing flickers and a selection survives.
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function set(node, name, value) {
  if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

function clock(second, withSeconds) {
  return new Date(second * 1000).toISOString().slice(11, withSeconds ? 19 : 16);
}

function duration(seconds) {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  if (seconds < 3600) return `${Math.ceil(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.ceil(seconds / 3600)} h`;
  return `${Math.ceil(seconds / 86400)} d`;
}

// ---- the past ----------------------------------------------------------------------------------------------------

// Points by second and by minute, of one policy or of all.
class Past {
  seconds = new Map();
  minutes = new Map();

  learn(past, second) {
    this.#merge(this.seconds, past.seconds, second - SECONDS);
    this.#merge(this.minutes, past.minutes, Math.floor(second / 60) - MINUTES);
  }

  #merge(points, series, oldest) {
    series.allowed.forEach((allowed, i) => points.set(series.from + i, [allowed, series.refused[i], series.shadow[i]]));
    for (const step of points.keys()) if (step <= oldest) points.delete(step);
  }
}

const add = (a, b) => a.map((n, i) => n + b[i]);
const sum = (point) => point.reduce((a, b) => a + b, 0);

// `count` bins of `width` steps up to `last`; `join` makes one point of two.
function bins(points, last, width, count, join) {
  const end = Math.floor(last / width) * width;
  return Array.from({ length: count }, (_, i) => {
    const from = end - (count - 1 - i) * width;
    let point = [0, 0, 0];
    for (let step = from; step < from + width; step++) point = join(point, points.get(step) ?? [0, 0, 0]);
    return { from, point };
  });
}

// ---- plots -------------------------------------------------------------------------------------------------------

// A step of 1, 2 or 5 times a power of ten that reaches `peak` in `most` steps.
function roundStep(peak, most) {
  for (let unit = 1; ; unit *= 10) {
    for (const factor of [1, 2, 5]) if (unit * factor * most >= peak) return unit * factor;
  }
}

// Stacked bars over time. The bars are made once and then moved.
class Plot {
  #host; #svg; #back = drawn("g"); #bars = drawn("g"); #front = drawn("g"); #known = "";
  #left = 44; #top; #bottom = 22; #hasLegend;

  constructor(host, hasLegend) {
    this.#host = host;
    this.#hasLegend = hasLegend;
    this.#top = hasLegend ? 22 : 8;
    this.#svg = drawn("svg", { role: "img" }, this.#back, this.#bars, this.#front);
    host.append(this.#svg);
  }

  get width() { return Math.max(200, this.#host.clientWidth); }
  get room() { return this.width - this.#left; }

  // `data`: bins; `ticks`: [place in bins, text]; `shown`: which series; `spell`: the words for one bin.
  draw({ data, ticks, shown, label, hint, spell }) {
    const height = this.#host.clientHeight;
    const bottom = height - this.#bottom;
    const peak = Math.max(1, ...data.map(({ point }) => sum(shown.map((i) => point[i]))));
    const step = roundStep(peak, height > 150 ? 4 : 2);
    const top = step * Math.ceil(peak / step);
    const y = (value) => bottom - (value / top) * (bottom - this.#top);
    const slot = this.room / data.length;
    set(this.#svg, "aria-label", label);

    const frame = JSON.stringify([this.width, height, step, top, ticks, shown, hint]);
    if (frame !== this.#known) {
      this.#known = frame;
      this.#frame(ticks, shown, hint, step, top, y, slot, bottom);
    }
    data.forEach((bin, i) => this.#bar(i, bin, shown, this.#left + i * slot, slot, y, spell));
    while (this.#bars.children.length > data.length) this.#bars.lastChild.remove();
  }

  #frame(ticks, shown, hint, step, top, y, slot, bottom) {
    this.#back.replaceChildren();
    this.#front.replaceChildren();
    for (let value = 0; value <= top; value += step) {
      const at = y(value);
      this.#back.append(
        drawn("line", { class: value ? "grid" : "axis", x1: this.#left, x2: this.width, y1: at, y2: at }),
        drawn("text", { x: this.#left - 8, y: at + 4, "text-anchor": "end" }, grouped(value)),
      );
    }
    for (const [place, text] of ticks) {
      const x = this.#left + place * slot;
      this.#back.append(drawn("line", { class: "axis", x1: x, x2: x, y1: bottom, y2: bottom + 4 }));
      const anchor = x > this.width - 24 ? "end" : x < this.#left + 12 ? "start" : "middle";
      this.#back.append(drawn("text", { x, y: bottom + 18, "text-anchor": anchor }, text));
    }
    let right = this.width;
    for (const i of this.#hasLegend ? [...shown].reverse() : []) {
      const [name, words] = SERIES[i];
      this.#front.append(drawn("text", { x: right, y: 10, "text-anchor": "end" }, words));
      right -= words.length * 6.6 + 16;
      this.#front.append(drawn("rect", { class: name, x: right, y: 0.5, width: 10, height: 10, rx: 2 }));
      right -= 16;
    }
    if (hint) {
      const x = this.#left + this.room / 2;
      this.#front.append(drawn("text", { class: "hint", x, y: (this.#top + bottom) / 2, "text-anchor": "middle" }, hint));
    }
  }

  #bar(i, { from, point }, shown, x, slot, y, spell) {
    let bar = this.#bars.children[i];
    if (!bar) {
      bar = drawn("g", { class: "bar" }, drawn("title"), ...SERIES.map(([name]) => drawn("rect", { class: name })));
      this.#bars.append(bar);
    }
    say(bar.firstChild, spell(from, point));
    const air = Math.min(2, slot / 6);
    let below = 0;
    SERIES.forEach((_, series) => {
      const rect = bar.children[series + 1];
      const count = shown.includes(series) ? point[series] : 0;
      const [low, high] = [y(below), y(below + count)];
      // One refusal among thousands is still a line that can be seen.
      const tall = count ? Math.max(1, low - high) : 0;
      set(rect, "x", (x + air / 2).toFixed(2));
      set(rect, "y", (low - tall).toFixed(2));
      set(rect, "width", Math.max(0.5, slot - air).toFixed(2));
      set(rect, "height", tall.toFixed(2));
      set(rect, "visibility", count ? "visible" : "hidden");
      below += count;
    });
  }
}

const spelled = (point, shown) => shown.map((i) => `${grouped(point[i])} ${SERIES[i][1]}`).join(", ");

function firstAtLeast(steps, least) {
  return steps.find((step) => step >= least) ?? steps[steps.length - 1];
}

// Bars at least five pixels wide, a mark about every ninety.
function drawSeconds(plot, past, second, shown, name) {
  const width = firstAtLeast([1, 2, 5, 10, 20, 30], (SECONDS * 5) / plot.room);
  const count = SECONDS / width;
  const data = bins(past.seconds, second, width, count, add);
  const apart = firstAtLeast([60, 120, 300], (SECONDS * 90) / plot.room);
  const ticks = data.flatMap(({ from }, i) => (from % apart === 0 ? [[i, clock(from)]] : []));
  const total = data.reduce((all, { point }) => add(all, point), [0, 0, 0]);
  plot.draw({
    data, ticks, shown,
    label: `${name}, last ten minutes: ${spelled(total, shown)}.`,
    hint: sum(total) ? "" : "no request in the last ten minutes",
    spell: (from, point) => `${clock(from, true)}, ${width} s: ${spelled(point, shown)}`,
  });
  return width;
}

function drawMinutes(plot, past, second) {
  const shown = [0, 1];
  const last = Math.floor(second / 60);
  const known = last - Math.min(last, ...past.minutes.keys()) + 1;
  const span = firstAtLeast([30, 60, 180, 360, 720, MINUTES], known);
  const width = firstAtLeast([1, 2, 5, 10, 15, 20, 30], (span * 5) / plot.room);
  const busier = (a, b) => (a[0] + a[1] >= b[0] + b[1] ? a : b);
  const data = bins(past.minutes, last, width, Math.ceil(span / width), busier);
  const apart = firstAtLeast([5, 10, 15, 30, 60, 120, 180, 240, 360], (span * 70) / plot.room);
  const ticks = data.flatMap(({ from }, i) => (from % apart === 0 ? [[i, clock(from * 60)]] : []));
  const busiest = data.reduce((a, b) => (busier(a.point, b.point) === a.point ? a : b));
  const words = sum(busiest.point.slice(0, 2)) ? `The busiest: ${spelled(busiest.point, shown)}.` : "None yet.";
  plot.draw({
    data, ticks, shown,
    label: `Busiest minutes. ${words}`,
    hint: sum(busiest.point) ? "" : "no request yet",
    spell: (from, point) => `${clock(from * 60)}${width > 1 ? `, busiest of ${width} minutes` : ""}: ${spelled(point, shown)}`,
  });
  return width;
}

// ---- the parts of the page ---------------------------------------------------------------------------------------

const tiles = new Map();

function tile(name, value, note, kind = "") {
  if (!tiles.has(name)) {
    const parts = { value: element("dd"), note: element("dd", { class: "note" }) };
    byId("tiles").append(element("div", {}, element("dt", {}, name), parts.value, parts.note));
    tiles.set(name, parts);
  }
  const parts = tiles.get(name);
  set(parts.value, "class", `value ${kind}`);
  say(parts.value, value);
  say(parts.note, note);
}

// What was counted in each second of the last minute, so that the times shown are those of now.
const spans = [];

function span(seconds) {
  if (seconds < 1) return `${+(seconds * 1000).toPrecision(3)} ms`;
  return `${seconds} s`;
}

// The bound that so many of all (a share) did not exceed; "over" the last one if they did.
function within(bounds, counts, share) {
  const all = counts[counts.length - 1];
  const at = counts.findIndex((count) => count >= share * all);
  return at < bounds.length ? `≤ ${span(bounds[at])}` : `> ${span(bounds[bounds.length - 1])}`;
}

function showTimes(live) {
  const { bounds } = live.times;
  if (spans.length && (live.second < spans[spans.length - 1].second)) spans.length = 0;
  if (!spans.length) spans.push({ second: live.second, requests: live.times.requests.map(() => 0), upstreams: live.times.upstreams.map(() => 0) });
  spans.push({ second: live.second, ...live.times });
  while (spans.length > 2 && spans[1].second <= live.second - 60) spans.shift();
  const since = (of) => live.times[of].map((count, i) => count - spans[0][of][i]);
  const [requests, upstreams] = [since("requests"), since("upstreams")];
  const has = (counts) => counts[counts.length - 1] > 0;
  const said = (counts) => (has(counts) ? `99 % ${within(bounds, counts, 0.99)}` : "");
  const behind = has(upstreams) ? `; upstreams ${within(bounds, upstreams, 0.5)}, ${said(upstreams)}` : "";
  const note = has(requests) ? `last minute; ${said(requests)}${behind}` : "no request in the last minute";
  tile("Time, median", has(requests) ? within(bounds, requests, 0.5) : "–", note);
}

function showTiles(live, past) {
  const [allowed, refused] = past.seconds.get(live.second) ?? [0, 0];
  const refusals = live.policies.reduce((all, policy) => all + policy.refused, 0);
  const failures = Object.entries(live.own).filter(([, count]) => count);
  const own = failures.reduce((all, [, count]) => all + count, 0);
  const { table } = live;
  const since = table.shared ? "since this process started" : "since the start";
  tile("Allowed, last second", grouped(allowed), `${grouped(live.passed)} ${since}`);
  tile("Refused, last second", grouped(refused), `${grouped(refusals)} ${since}`, refused ? "refused" : "");
  const unreadable = Object.values(live.unreadable).reduce((all, count) => all + count, 0);
  const odd = `${grouped(live.turned_away)} turned away, ${grouped(unreadable)} unreadable`;
  tile("Connections", grouped(live.connections), odd);
  // What a shared table counts is the machine's; all other tiles are this process's.
  const whose = !table.shared ? "" : table.shared.detached ? "; its path is gone: start this process anew" : "; of all processes here";
  const room = `room for ${grouped(table.capacity)}, ${grouped(table.evictions)} forgotten${whose}`;
  tile("Busy keys, about", grouped(table.busy), room, table.shared?.detached ? "refused" : "");
  if (live.redis) {
    const { servers, connected, calls, misses, outages, leased } = live.redis;
    const down = connected < servers;
    const trips = `${grouped(calls)} round trips, ${grouped(leased)} by leases, ${grouped(misses)} late, ${grouped(outages)} in outages`;
    tile("Redis", down ? `${grouped(connected)} of ${grouped(servers)}` : "connected", trips, down ? "refused" : "");
  }
  showTimes(live);
  const statuses = failures.map(([status, count]) => `${grouped(count)} × ${status}`).join(", ");
  tile("Not answered upstream", grouped(own), statuses || "none so far", own ? "refused" : "");
}

const policies = new Map();

function policyCard(name) {
  const parts = {
    past: new Past(),
    badge: element("span", { class: "badge" }, "shadow: refuses nobody"),
    limits: element("span", { class: "limits" }),
    about: element("p", { class: "quiet" }),
    plot: element("div", { class: "plot" }),
    counts: {},
  };
  const counts = [...SERIES, ["exempt", "exempt"]].map(([kind, words]) => {
    parts.counts[kind] = element("dd");
    return element("div", { class: kind }, element("dt", {}, words), parts.counts[kind]);
  });
  parts.card = element("article", { class: "card", "data-policy": name },
    element("div", { class: "head" }, element("h3", {}, name), parts.badge, parts.limits),
    parts.about, element("dl", { class: "counts" }, ...counts), parts.plot);
  parts.drawing = new Plot(parts.plot, false);
  return parts;
}

function showPolicies(live) {
  const names = new Set(live.policies.map((policy) => policy.name));
  for (const [name, parts] of policies) {
    if (names.has(name)) continue;
    parts.card.remove();
    policies.delete(name);
  }
  live.policies.forEach((policy, place) => {
    if (!policies.has(policy.name)) policies.set(policy.name, policyCard(policy.name));
    const parts = policies.get(policy.name);
    const host = byId("policies");
    if (host.children[place] !== parts.card) host.insertBefore(parts.card, host.children[place] ?? null);
    if (policy.past) parts.past.learn(policy.past, live.second);
    parts.badge.hidden = !policy.shadow;
    const bounds = policy.limits.map((limit) => limit.replace(" per 1 ", " per "));
    if (policy.concurrency !== null) bounds.push(`${grouped(policy.concurrency)} in flight`);
    say(parts.limits, bounds.join(", "));
    // By path only where there is more than one: otherwise it is the count below.
    const paths = Object.entries(policy.paths).filter(([, count]) => count);
    const byPath = Object.keys(policy.paths).length > 1 && paths.length
      ? `; refused ${paths.map(([path, count]) => `${grouped(count)} of ${path}`).join(", ")}` : "";
    const store = policy.redis ? `; on Redis${policy.redis.leased ? " with leases" : ""}, ${policy.redis.on_outage} in outages` : "";
    say(parts.about, `for ${policy.route}, by ${policy.key}${store}${byPath}`);
    const values = { allowed: policy.allowed, refused: policy.refused, shadow: policy.shadow_refused, exempt: policy.exempt };
    for (const [kind, value] of Object.entries(values)) {
      say(parts.counts[kind], grouped(value));
      // What cannot happen or never did needs no place.
      const needless = (kind === "shadow" && !policy.shadow && !value) || (kind === "refused" && policy.shadow && !value);
      parts.counts[kind].parentNode.hidden = needless || (kind === "exempt" && !value);
    }
    const shown = policy.shadow || policy.shadow_refused ? [0, 1, 2] : [0, 1];
    drawSeconds(parts.drawing, parts.past, live.second, policy.shadow && !policy.refused ? [0, 2] : shown, policy.name);
  });
}

// As many rows as `count`, each with the cells that `make` gives.
function rows(body, count, make) {
  while (body.children.length < count) body.append(element("tr", {}, ...make()));
  while (body.children.length > count) body.lastChild.remove();
  return [...body.children];
}

// Who has the most requests that passed. A policy by another key counts the same requests again, so each row names its policy.
function showUsed(live) {
  const used = live.policies.flatMap((policy) => policy.used.map((row) => ({ ...row, policy })));
  used.sort((a, b) => b.requests - a.requests);
  used.length = Math.min(used.length, 20);
  byId("used-empty").hidden = used.length > 0;
  byId("used-scroll").hidden = used.length === 0;
  const cells = () => [
    element("th", { scope: "row" }), element("td"), element("td", { class: "number" }),
    element("td", { class: "share" }, element("span")), ...Array.from({ length: 2 }, () => element("td", { class: "number" })),
  ];
  rows(byId("used").tBodies[0], used.length, cells).forEach((row, i) => {
    const [key, policy, requests, share, left, free] = row.children;
    const at = used[i];
    say(key, at.key);
    say(policy, at.policy.name + (at.policy.shadow ? " (shadow)" : ""));
    say(requests, grouped(at.requests));
    set(requests, "title", at.error ? `may be up to ${grouped(at.error)} too high` : "exact");
    share.firstChild.style.width = `${(100 * at.requests) / used[0].requests}%`;
    set(share.firstChild, "class", "allowed");
    say(left, at.remaining === null ? "–" : grouped(at.remaining));
    say(free, at.retry_after === null ? "–" : at.retry_after > 0 ? `in ${duration(at.retry_after)}` : "now");
  });
}

function showKeys(live) {
  const keys = live.policies.flatMap((policy) => policy.keys.map((key) => ({ ...key, policy })));
  keys.sort((a, b) => b.refused - a.refused);
  keys.length = Math.min(keys.length, 20);
  byId("keys-empty").hidden = keys.length > 0;
  byId("keys-scroll").hidden = keys.length === 0;
  const cells = () => [
    element("th", { scope: "row" }), element("td"), element("td", { class: "number" }),
    element("td", { class: "share" }, element("span")), ...Array.from({ length: 3 }, () => element("td", { class: "number" })),
  ];
  rows(byId("keys").tBodies[0], keys.length, cells).forEach((row, i) => {
    const [key, policy, refused, share, left, free, last] = row.children;
    const at = keys[i];
    say(key, at.key);
    say(policy, at.policy.name + (at.policy.shadow ? " (shadow)" : ""));
    say(refused, grouped(at.refused));
    set(refused, "title", at.error ? `may be up to ${grouped(at.error)} too high` : "exact");
    share.firstChild.style.width = `${(100 * at.refused) / keys[0].refused}%`;
    set(share.firstChild, "class", at.policy.shadow ? "shadow" : "");
    say(left, at.remaining === null ? "–" : grouped(at.remaining));
    say(free, at.retry_after === null ? "–" : at.retry_after > 0 ? `in ${duration(at.retry_after)}` : "now");
    const ago = Math.max(0, live.second - Math.floor(Date.parse(at.last) / 1000));
    say(last, ago ? `${duration(ago)} ago` : "just now");
    set(last, "title", at.last);
  });
}

function showUpstreams(live) {
  const cells = () => [element("th", { scope: "row" }), element("td"), element("td"), ...Array.from({ length: 3 }, () => element("td", { class: "number" }))];
  rows(byId("upstreams").tBodies[0], live.upstreams.length, cells).forEach((row, i) => {
    const at = live.upstreams[i];
    const state = at.resting ? "resting after failures" : "in use";
    [at.url, at.routes.join(", ") || "all others", state, grouped(at.requests), grouped(at.failures), grouped(at.in_flight)].forEach((text, j) => say(row.children[j], text));
  });
}

// ---- once a second -----------------------------------------------------------------------------------------------

let past = new Past();
let requests = new Plot(byId("requests"), true);
let minutes = new Plot(byId("minutes"), true);
let seen = 0;
let latest = null;
let lostAt = null;

function show(live) {
  set(byId("status"), "data-status", live.status);
  say(byId("status"), live.status);
  say(byId("about"), `Version ${live.version}. Times are in UTC.`);
  showTiles(live, past);
  const width = drawSeconds(requests, past, live.second, [0, 1], "Requests");
  say(byId("requests-unit"), width === 1 ? "requests per second" : `requests per ${width} seconds`);
  const wide = drawMinutes(minutes, past, live.second);
  say(byId("minutes-unit"), wide === 1 ? "requests per minute" : `requests in the busiest minute of each ${wide}`);
  showPolicies(live);
  showUsed(live);
  showKeys(live);
  showUpstreams(live);
  byId("main").dataset.second = live.second;
}

async function ask() {
  const answer = await fetch(`/live?since=${seen}`, { signal: AbortSignal.timeout(PATIENCE) });
  if (!answer.ok) throw new Error(`the answer was ${answer.status}`);
  return answer.json();
}

async function refresh() {
  let live;
  try {
    live = await ask();
  } catch {
    lostAt ??= Math.floor(Date.now() / 1000);
    set(byId("status"), "data-status", "unreachable");
    say(byId("status"), "not reachable");
    say(byId("trouble"), `The gateway cannot be reached since ${clock(lostAt, true)}. ` +
      (latest ? "What is shown is from before. " : "") + "Trying again every second.");
    byId("trouble").hidden = false;
    byId("main").classList.add("stale");
    return;
  }
  lostAt = null;
  byId("trouble").hidden = true;
  byId("main").classList.remove("stale");
  if (live.second < seen) {
    // Another clock, so most likely another process: its past is the one that counts.
    [seen, past] = [0, new Past()];
    policies.forEach((parts) => (parts.past = new Past()));
    return;
  }
  past.learn(live.past, live.second);
  [seen, latest] = [live.second, live];
  show(live);
}

async function run() {
  for (;;) {
    await refresh();
    // A little after the full second, when the gateway has taken its sample.
    await new Promise((done) => setTimeout(done, 1100 - (Date.now() % 1000)));
  }
}

new ResizeObserver(() => latest && show(latest)).observe(byId("main"));
run();
