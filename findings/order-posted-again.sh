#!/usr/bin/env bash
# httplib2 0.32.1 posts an order a second time if no answer comes; libcurl 8.23.0 too, if the connection was used before.
#
# A shop posts orders. The server takes one, and its answer is lost: its process ended, or a proxy closed the connection.
# Guess: a POST is sent once, and the caller is told that nothing is known of it; a client sends again only what is idempotent
#        (RFC 9110, 9.2.2), or what it has been told to.
# Seen:  httplib2, at its defaults, connects anew and posts the same order again, with no sign of it in an answer that then comes
#        (200). libcurl, here through pycurl, does so on a connection that has served one request already, which a short test does not
#        do. aiohttp-retry 2.9.1 is there to retry, but does not leave out POST: after a 504 it is sent again. requests and
#        aiohttp send once and raise.
# So: an idempotency key in every POST. Without one: FRESH_CONNECT for libcurl, methods={"GET"} for ExponentialRetry, no httplib2.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    'httplib2==0.32.1' 'pycurl==7.49.0' 'aiohttp==3.14.5' 'aiohttp-retry==2.9.1' 'requests==2.34.2' 2>/dev/null

cat > "$work/seen.py" <<'PY'
import asyncio
import socketserver
import threading

import aiohttp
import aiohttp_retry
import httplib2
import pycurl
import requests

taken = []
unanswered = set()


class Shop(socketserver.StreamRequestHandler):
    """Take each order; lose the first answer to those in ``unanswered``, or make it a 504 if the order says so."""

    def handle(self):
        while self.rfile.readline().strip():
            length = 0
            while line := self.rfile.readline().strip():
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            order = self.rfile.read(length).decode()
            taken.append(order)
            if order in unanswered:
                unanswered.remove(order)
                if order != "timeout":
                    return
                self.wfile.write(b"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n")
            else:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


server = Server(("127.0.0.1", 0), Shop)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = "http://127.0.0.1:{}/orders".format(server.server_address[1])


def post_by_httplib2(orders):
    client = httplib2.Http()
    return [client.request(url, "POST", body=order)[0].status for order in orders][-1]


def post_by_pycurl(orders):
    client = pycurl.Curl()
    client.setopt(client.URL, url)
    client.setopt(client.WRITEFUNCTION, lambda _: None)
    for order in orders:
        client.setopt(client.POSTFIELDS, order)
        client.perform()
    return client.getinfo(client.RESPONSE_CODE)


def post_by_requests(orders):
    with requests.Session() as session:
        session.trust_env = False
        return [session.post(url, data=order).status_code for order in orders][-1]


def post_by_aiohttp(orders, retry=False):
    async def post():
        async with aiohttp.ClientSession() as session:
            options = aiohttp_retry.ExponentialRetry(start_timeout=0.01)
            client = aiohttp_retry.RetryClient(session, retry_options=options) if retry else session
            for order in orders:
                async with client.post(url, data=order) as response:
                    await response.read()
            return response.status

    return asyncio.run(post())


def post_by_aiohttp_retry(orders):
    return post_by_aiohttp(orders, retry=True)


for post in (post_by_httplib2, post_by_pycurl, post_by_aiohttp_retry, post_by_aiohttp, post_by_requests):
    for orders in (["lost"], ["first", "lost"], ["timeout"]):
        taken.clear()
        unanswered.update({"lost", "timeout"})
        try:
            end = post(orders)
        except Exception as error:
            end = "an error"
        print(f"{post.__name__.removeprefix('post_by_')}: {' then '.join(orders)}: taken {', '.join(taken)}; the caller sees {end}")
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
expected='httplib2: lost: taken lost, lost; the caller sees 200
httplib2: first then lost: taken first, lost, lost; the caller sees 200
httplib2: timeout: taken timeout; the caller sees 504
pycurl: lost: taken lost; the caller sees an error
pycurl: first then lost: taken first, lost, lost; the caller sees 200
pycurl: timeout: taken timeout; the caller sees 504
aiohttp_retry: lost: taken lost; the caller sees an error
aiohttp_retry: first then lost: taken first, lost; the caller sees an error
aiohttp_retry: timeout: taken timeout, timeout; the caller sees 200
aiohttp: lost: taken lost; the caller sees an error
aiohttp: first then lost: taken first, lost; the caller sees an error
aiohttp: timeout: taken timeout; the caller sees 504
requests: lost: taken lost; the caller sees an error
requests: first then lost: taken first, lost; the caller sees an error
requests: timeout: taken timeout; the caller sees 504'
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'one of the clients no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
