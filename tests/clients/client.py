"""The client of the conversion service as its document describes it: sends requests over one connection without
waiting in between, then takes the answers as they come. Prints each with the seconds since the requests went out.

    client.py ws://HOST:PORT COUNT
"""

import asyncio
import json
import sys
import time

import websockets

REQ = {
    "request_id": "01",
    "data": "Hub&&name&&qwe&&id&&123&&%%Device&&name&&wqe&&id&&234&&",
}
RESP = {
    "request_id": "01",
    "data": {
        "Hub": {"name": "qwe", "id": "123"},
        "Device": {"name": "wqe", "id": "234"},
    },
}


async def main(address, count):
    async with websockets.connect(address, proxy=None) as websocket:
        begin = time.monotonic()
        requests = [{**REQ, "request_id": f"{number:02}"} for number in range(1, count + 1)]
        await asyncio.gather(*(websocket.send(json.dumps(request)) for request in requests))
        for _ in requests:
            response = json.loads(await websocket.recv())
            assert response == {**RESP, "request_id": response["request_id"]}, response
            print(response["request_id"], time.monotonic() - begin, flush=True)


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
