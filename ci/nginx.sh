#!/usr/bin/env bash
# Debian's nginx, unmodified, with its Lua module, asks libtollgate by LuaJIT's FFI before it answers: of 200 requests exactly the
# quota goes through.
#
#     ci/nginx.sh        two workers, which are processes, on one table (options.path)
#     ci/nginx.sh 1      one worker, on a table of its own
#
# nginx and its modules come from Debian's packages, unpacked under target/ and not installed, so that no service is started. Under a minute.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
workers=${1:-2}
[[ $workers =~ ^[1-9][0-9]?$ ]] || { echo "usage: ci/nginx.sh [WORKERS]" >&2; exit 2; }
[[ $(id -u) == 0 ]] && sudo="" || sudo=sudo
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")/nginx-lua
packages=(nginx libnginx-mod-http-lua libnginx-mod-http-ndk libluajit2-5.1-2 libluajit2-5.1-common lua-resty-core lua-resty-lrucache libpcre3)
root=$target/root
[[ -e $root/usr/lib/nginx/modules/ngx_http_lua_module.so ]] || {
    echo "ci/nginx.sh: unpacking nginx under $root" >&2
    mkdir -p "$target/packages" "$root"
    cd "$target/packages"
    apt-get download -qq "${packages[@]}" 2> /dev/null || { $sudo apt-get update -qq && apt-get download -qq "${packages[@]}"; }
    for package in *.deb; do dpkg-deb --extract "$package" "$root"; done
    cd - > /dev/null
}
crates/c/install.sh "$target/tollgate"
run=$(mktemp -d)
nginx=
shared=
trap '[ -z "$nginx" ] || { kill "$nginx" && wait "$nginx"; } 2> /dev/null || true; rm -rf "$run" ${shared:+"$shared"}' EXIT
chmod 755 "$run"
mkdir "$run/tmp"
# The header is what LuaJIT reads, without what is for a preprocessor.
sed -e '/^#/d' -e '/^extern "C"/d' -e '/^}  *\/\/ extern "C"/d' "$target/tollgate/include/tollgate.h" > "$run/tollgate.h"
table=
if [ "$workers" != 1 ]; then
    # On a tmpfs, of the user that the workers are.
    shared=$(mktemp -d -p /dev/shm)
    [ "$(id -u)" != 0 ] || chown nobody "$shared"
    table=$shared/table
fi
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat > "$run/limit.lua" <<LUA
local ffi = require "ffi"
ffi.cdef(assert(io.open("$run/tollgate.h")):read("*a"))
local lib = ffi.load("$target/tollgate/lib/libtollgate.so")
local err = ffi.new("struct tollgate_error")
err.size = ffi.sizeof(err)
local function ok(code) if code ~= 0 then error(ffi.string(err.text)) end end
local options, path = ffi.new("struct tollgate_options"), "$table"
options.size = ffi.sizeof(options)
if path ~= "" then options.path = path end
local table, limit = ffi.new("struct tollgate *[1]"), ffi.new("struct tollgate_limit *[1]")
ok(lib.tollgate_open(options, table, err))
ok(lib.tollgate_limit_new(table[0], "nginx", "50/hour", limit, err))
local decision = ffi.new("struct tollgate_decision")
local M = {}
function M.check(key)
    decision.size = ffi.sizeof(decision)
    -- Nothing was decided: refuse.
    if lib.tollgate_check(table[0], limit[0], key, #key, 1, decision) ~= 0 then return false, 0 end
    return decision.allowed == 1, tonumber(decision.retry_after_ns) / 1e9
end
return M
LUA
cat > "$run/nginx.conf" <<CONF
load_module $root/usr/lib/nginx/modules/ndk_http_module.so;
load_module $root/usr/lib/nginx/modules/ngx_http_lua_module.so;
worker_processes $workers;
daemon off;
pid $run/pid;
error_log $run/error.log notice;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path $run/tmp/body; proxy_temp_path $run/tmp/proxy; fastcgi_temp_path $run/tmp/fastcgi;
    uwsgi_temp_path $run/tmp/uwsgi; scgi_temp_path $run/tmp/scgi;
    lua_package_path "$run/?.lua;$root/usr/share/lua/5.1/?.lua;;";
    init_worker_by_lua_block { require "limit" }
    server {
        listen 127.0.0.1:$port reuseport;
        location / {
            content_by_lua_block {
                local allowed, wait = require("limit").check(ngx.var.arg_key or ngx.var.remote_addr)
                if not allowed then
                    ngx.status = 429
                    ngx.header["Retry-After"] = math.ceil(wait)
                end
                ngx.header["Worker"] = ngx.worker.id()
                ngx.say(allowed and "go" or "no")
            }
        }
    }
}
CONF
libraries=$(printf "%s:" "$root"/usr/lib/*-linux-gnu "$root"/lib/*-linux-gnu)
LD_LIBRARY_PATH=$libraries "$root/usr/sbin/nginx" -p "$run" -c "$run/nginx.conf" -e "$run/error.log" > /dev/null 2>&1 &
nginx=$!
python3 - "$port" "$workers" <<'PYTHON' || { tail -n 5 "$run/error.log" >&2; exit 1; }
import collections, http.client, sys, threading, time

port, workers = int(sys.argv[1]), int(sys.argv[2])
answers, seen, lock = collections.Counter(), set(), threading.Lock()


def ask(key):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", f"/?key={key}")
    response = connection.getresponse()
    with lock:
        answers[key, response.status] += 1
        seen.add(response.getheader("Worker"))
        wait = response.getheader("Retry-After")
        assert (wait is None) == (response.status != 429) and (wait is None or 0 < int(wait) <= 72), wait


for attempt in range(100):
    try:
        ask("warm")
        break
    except OSError:
        time.sleep(0.1)
threads = [threading.Thread(target=lambda: [ask(key) for _ in range(50) for key in ("grace", "ada")]) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
expected = {(key, status): count for key in ("grace", "ada") for status, count in ((200, 50), (429, 150))}
del answers["warm", 200]
if answers != expected or len(seen) != workers:
    sys.exit(f"ci/nginx.sh: {dict(answers)} by {len(seen)} workers, and {expected} were due by {workers}")
PYTHON
echo "ci/nginx.sh: nginx with $workers worker(s): of 200 requests of each of two keys exactly 50 went through"
