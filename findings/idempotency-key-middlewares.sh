#!/usr/bin/env bash
# One Idempotency-Key, four middlewares for FastAPI: in three of them an order is taken twice, refused when sent again, or lost.
#
# A client that gets no answer sends its order again under the same key; the shop must take it once and give the same answer.
# Guess: the key decides, with the body compared: same key and body, the first answer again; another body, 422. No key, no filter.
# Seen:  fastapi-idempotency-key 0.1.1 does that. asgi-idempotency-header 0.2.0 keeps only answers whose type is application/json to
#        the letter: after a 201 without a body, or with a charset in its type, the order is taken a second time. It does not compare
#        bodies: another order under the key gets the first one's 201, and is lost. idemptx 0.2.2 compares all headers too, so a retry
#        with a traceparent of its own is refused; after an answer that is no JSONResponse it takes the order again.
#        fastapi-idempotency 0.1.1 also looks at requests without a key: of two equal orders from one address within ten seconds it
#        takes one, and says 201 to both; behind a proxy all customers have one address. Each README has a line about its own.
# So: send an order twice in a test: as it is, with another trace, with another body, and without a key; and count the orders.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'asgi-idempotency-header==0.2.0' 'idemptx==0.2.2' \
    'fastapi-idempotency==0.1.1' 'fastapi-idempotency-key==0.1.1' 'fastapi==0.165.0' 'starlette==1.10.0' 'httpx==0.28.1' 2>/dev/null

cat > "$work/seen.py" <<'PY'
import asyncio
import logging

import fastapi
import fastapi_idempotency
import fastapi_idempotency_key
import httpx
import idempotency_header_middleware
import idempotency_header_middleware.backends
import idemptx
import idemptx.backend

logging.disable(logging.CRITICAL)
ANSWERS = {
    "JSON": lambda: fastapi.responses.JSONResponse({"state": "taken"}, 201),
    "JSON with charset": lambda: fastapi.responses.JSONResponse({"state": "taken"}, 201, media_type="application/json; charset=utf-8"),
    "no body": lambda: fastapi.Response(status_code=201, headers={"Location": "/orders/1"}),
}


def asgi_idempotency_header(app):
    backend = idempotency_header_middleware.backends.MemoryBackend()
    app.add_middleware(idempotency_header_middleware.IdempotencyHeaderMiddleware, backend=backend)


def fastapi_idempotency_(app):
    app.add_middleware(fastapi_idempotency.IdempotencyMiddleware)


def fastapi_idempotency_key_(app):
    app.add_middleware(fastapi_idempotency_key.IdempotencyMiddleware, backend=fastapi_idempotency_key.MemoryBackend())


def idemptx_(app):
    @app.exception_handler(idemptx.IdempotencyException)
    async def refuse(request, error):
        return fastapi.responses.JSONResponse({"error": str(error)}, 409)

    return idemptx.idempotent(storage_backend=idemptx.backend.InMemoryBackend())


async def post_twice(install, answer="JSON", key="k-1", second="two chairs", **headers):
    """Return the orders that the shop took, and the two status codes."""
    taken, app = [], fastapi.FastAPI()
    decorate = install(app) or (lambda handler: handler)

    @app.post("/orders")
    @decorate
    async def take(request: fastapi.Request):
        taken.append((await request.json())["item"])
        return ANSWERS[answer]()

    codes = []
    keys = {"Idempotency-Key": key} if key else {}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://shop") as client:
        for item, more in (("two chairs", {}), (second, headers)):
            codes.append((await client.post("/orders", json={"item": item}, headers=keys | more)).status_code)
    return f"{' + '.join(taken)} ({codes[0]}, {codes[1]})"


for install in (fastapi_idempotency_key_, asgi_idempotency_header, idemptx_, fastapi_idempotency_):
    print(install.__name__.strip("_"))
    for answer in ANSWERS:
        print(f"  the same again, answered by {answer}:", asyncio.run(post_twice(install, answer)))
    print("  the same again, traced anew:", asyncio.run(post_twice(install, traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")))
    print("  another order, same key:", asyncio.run(post_twice(install, second="a table")))
    print("  two equal orders without a key:", asyncio.run(post_twice(install, key=None)))
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
expected='fastapi_idempotency_key
  the same again, answered by JSON: two chairs (201, 201)
  the same again, answered by JSON with charset: two chairs (201, 201)
  the same again, answered by no body: two chairs (201, 201)
  the same again, traced anew: two chairs (201, 201)
  another order, same key: two chairs (201, 422)
  two equal orders without a key: two chairs + two chairs (201, 201)
asgi_idempotency_header
  the same again, answered by JSON: two chairs (201, 201)
  the same again, answered by JSON with charset: two chairs + two chairs (201, 201)
  the same again, answered by no body: two chairs + two chairs (201, 201)
  the same again, traced anew: two chairs (201, 201)
  another order, same key: two chairs (201, 201)
  two equal orders without a key: two chairs + two chairs (201, 201)
idemptx
  the same again, answered by JSON: two chairs (201, 201)
  the same again, answered by JSON with charset: two chairs (201, 201)
  the same again, answered by no body: two chairs + two chairs (201, 201)
  the same again, traced anew: two chairs (201, 409)
  another order, same key: two chairs (201, 409)
  two equal orders without a key:  (409, 409)
fastapi_idempotency
  the same again, answered by JSON: two chairs (201, 201)
  the same again, answered by JSON with charset: two chairs (201, 201)
  the same again, answered by no body: two chairs (201, 201)
  the same again, traced anew: two chairs (201, 201)
  another order, same key: two chairs (201, 422)
  two equal orders without a key: two chairs (201, 201)'
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'one of the middlewares no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
