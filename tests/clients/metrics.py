"""The description's example with the module `clients/python/vmherd.py`, and what a server has to pass. The daemon must
have nothing kept yet.

    metrics.py client|server|asyncio PORT
"""

import asyncio
import os
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "clients", "python"))
from vmherd import Client, ClientError, ServerError  # noqa: E402

HOST = "127.0.0.1"
TIMEOUT = 10


def client(port):
    """What the description shows of its client, step by step."""
    client = Client(HOST, port, timeout=15)
    begin = int(time.time())
    assert client.get("*") == {}
    assert client.put("palm.cpu", 0.5, timestamp=1150864247) is None
    client.put("palm.cpu", 2.0, timestamp=1150864248)
    client.put("palm.cpu", 0.5, timestamp=1150864248)
    client.put("eardrum.cpu", 3, timestamp=1150864250)
    client.put("eardrum.cpu", 4, timestamp=1150864251)
    client.put("eardrum.memory", 4200000)
    palm = {"palm.cpu": [(1150864247, 0.5), (1150864248, 0.5)]}
    assert client.get("palm.cpu") == palm
    everything = client.get("*")
    (now, memory), = everything.pop("eardrum.memory")
    assert begin <= now <= time.time() and memory == 4200000.0, now
    assert everything == {**palm, "eardrum.cpu": [(1150864250, 3.0), (1150864251, 4.0)]}
    assert client.get("non_existing_key") == {}
    must_fail(lambda: client.put("palm.cpu", 1, 10 ** 12), ServerError)
    assert client.get("palm.cpu") == palm, "it goes on after errors"
    client.put("sums", 0.1 + 0.2, -5)
    assert client.get("sums") == {"sums": [(-5, 0.1 + 0.2)]}
    client.close()
    must_fail(lambda: client.get("*"), ClientError)


def must_fail(call, kind):
    try:
        call()
    except kind:
        pass
    else:
        raise AssertionError(f"it worked instead of failing: {kind}")


def server(port):
    """What a server has to do that is held to the description."""
    one, two, three = (Raw(port) for _ in range(3))
    for key in ["*", "k1", "non_existing_key"]:
        assert one.say(f"get {key}") == "ok\n\n", key
    assert one.say("put k1 0.25 1") == "ok\n\n"
    assert two.say("put k1 2.156 2") == "ok\n\n"
    assert three.say("put k1 0.35 3") == "ok\n\n"
    assert one.say("put k2 30 4") == "ok\n\n"
    assert two.say("put k2 40 5") == "ok\n\n"
    k1, k2 = "k1 0.25 1\nk1 2.156 2\nk1 0.35 3\n", "k2 30.0 4\nk2 40.0 5\n"
    for who in [one, two, three, Raw(port)]:
        assert who.say("get k1") == f"ok\n{k1}\n"
        assert who.say("get k2") == f"ok\n{k2}\n"
        assert who.say("get *") == f"ok\n{k1}{k2}\n"

    wrong = [
        "get_wrong_key", "wrong", "wrong command test", "get", "get k1 k2", "get * *", "put", "put x", "put x 1",
        "put a b c", "put k1 0.5 now", "put k1 0.5 1.5", "put k1 one 1", "put k1 1 1 1", "GET k1", "Put k1 1 1",
    ]
    for line in wrong:
        assert one.say(line) == "error\nwrong command\n\n", line
    # A blank line behind it is none of its own.
    one.send("get wrong command test\n\n")
    assert one.reply() == "error\nwrong command\n\n"
    assert one.say("get *") == f"ok\n{k1}{k2}\n", "wrong commands have changed nothing"

    # The last of two at the same second is kept, in the place of the first.
    assert two.say("put k1 2.157 2") == "ok\n\n"
    assert two.say("put k1 2.158 2") == "ok\n\n"
    k1 = k1.replace("2.156", "2.158")
    assert one.say("get *") == f"ok\n{k1}{k2}\n"

    # One that goes in the middle of a command, and one that goes before its reply.
    for last_words in ["put k1 99", "get *\nget *\nget", "nonsense"]:
        gone = Raw(port)
        gone.send(last_words)
        gone.connection.close()
    assert one.say("get k1") == f"ok\n{k1}\n"

    many_at_once(port)
    assert one.say("get k2") == f"ok\n{k2}\n"


def many_at_once(port, clients=10, rounds=20):
    failed = []

    def work(number):
        try:
            raw = Raw(port)
            for second in range(rounds):
                assert raw.say(f"put many.{number} {second * 1.5} {second}") == "ok\n\n"
                assert raw.say("get many.") == "ok\n\n"
            lines = "".join(f"many.{number} {second * 1.5} {second}\n" for second in range(rounds))
            assert raw.say(f"get many.{number}") == f"ok\n{lines}\n"
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=[number]) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed


class Raw:
    """A connection, and what goes over it as it is."""

    def __init__(self, port):
        self.connection = socket.create_connection((HOST, port), TIMEOUT)

    def say(self, line):
        self.send(line + "\n")
        return self.reply()

    def send(self, text):
        self.connection.sendall(text.encode())

    def reply(self):
        reply = b""
        while not reply.endswith(b"\n\n"):
            received = self.connection.recv(1024)
            assert received, f"closed after {reply}"
            reply += received
        assert reply.count(b"\n\n") == 1, f"more than one reply: {reply}"
        return reply.decode()


async def asynchronous(port):
    """Some clients of asyncio at the same time: all that each has to say goes out before it reads."""

    async def work(number):
        reader, writer = await asyncio.open_connection(HOST, port)
        for second in range(50):
            writer.write(f"put async.{number} {second} {second}\n".encode())
        writer.write(f"nonsense\nget async.{number}\n".encode())
        for _ in range(50):
            assert await reader.readuntil(b"\n\n") == b"ok\n\n"
        assert await reader.readuntil(b"\n\n") == b"error\nwrong command\n\n"
        points = (await reader.readuntil(b"\n\n")).decode().splitlines()[1:-1]
        assert points == [f"async.{number} {second}.0 {second}" for second in range(50)], points
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    await asyncio.wait_for(asyncio.gather(*map(work, range(20))), TIMEOUT)


if __name__ == "__main__":
    what, port = sys.argv[1], int(sys.argv[2])
    if what == "asyncio":
        asyncio.run(asynchronous(port))
    else:
        {"client": client, "server": server}[what](port)
