"""A client of the sealed framing, from the description of the protocol, with the package `cryptography`.

    sealed.py ask HOST:PORT GENERATION REQUEST…     sends each request on a connection of its own, prints the answers
    sealed.py CHECK HOST:PORT [ARGUMENT…]           one of the checks below
"""

import hashlib
import json
import os
import random
import socket
import sys
import threading
import time

from cryptography.hazmat.primitives import hashes, padding as block_padding, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

# Bytes that one segment over loopback surely holds.
SEGMENT = 16 << 10
OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
GENERATIONS = [1, 2, 3]
STAT = '{"verb": "STAT", "parameters": {}}'
CREATE = '{"verb": "CREATE", "parameters": {}}'
REQUEST_BYTES_MAX = 64 << 10
PATIENCE_S = 30
# What a client sends, in order.
STEPS = [
    "key length", "key", "length acknowledged", "key acknowledged", "block", "keys acknowledged", "request length",
    "request", "answer length acknowledged",
]


def main():
    _, check, address, *arguments = sys.argv
    CHECKS[check](address, *arguments)


def length_field(length):
    return str(length).encode().ljust(8, b"=")


def to_pem(public_key):
    return public_key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


class Refused(Exception):
    """The server has refused a step."""


class Client:
    """A client, which takes one step after the other; `until` says how far."""

    own_key = None

    def __init__(self, address, generation=3, request=STAT, key=None):
        if key is None:
            Client.own_key = Client.own_key or rsa.generate_private_key(65537, 2048)
            key = Client.own_key
        self.generation, self.request, self.private_key = generation, request, key
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # What was sent, and what was received.
        self.trace = []
        self.steps = self.session()

    def until(self, step):
        """Takes the steps before `step`."""
        assert step in STEPS, step
        while next(self.steps) != step:
            pass
        return self

    def ask(self):
        """Takes all steps; returns the answer."""
        for _ in self.steps:
            pass
        return self.answer

    def session(self):
        pem = to_pem(self.private_key.public_key())
        yield "key length"
        self.send(length_field(len(pem)))
        self.acknowledged()
        yield "key"
        self.send(pem)
        self.acknowledged()
        length = int(self.receive(8).rstrip(b"="))
        yield "length acknowledged"
        self.send(b"1")
        self.server_pem = self.receive(length)
        self.server_key = serialization.load_pem_public_key(self.server_pem)
        yield "key acknowledged"
        self.send(b"1")
        yield "block"
        self.send(self.server_key.encrypt(os.urandom(48), OAEP))
        self.acknowledged()
        keys = self.private_key.decrypt(self.receive(self.private_key.key_size // 8), OAEP)
        self.key, self.iv = keys[:32], keys[32:]
        yield "keys acknowledged"
        self.send(b"1")
        length, body = self.seal(self.request.encode())
        yield "request length"
        self.send(length)
        self.acknowledged()
        yield "request"
        self.send(body)
        if self.generation > 1:
            self.iv = body[-16:]
        is_third = self.generation == 3
        length = self.receive(16 if is_third else 8)
        length = int(self.decrypt(length) if is_third else length.rstrip(b"="))
        yield "answer length acknowledged"
        self.send(b"1")
        body = self.receive(length)
        self.answer = self.decrypt(body if self.generation == 1 else body[:-16]).decode()
        self.expect_end(b"")

    def send(self, data):
        self.trace.append((True, data))
        self.socket.sendall(data)

    def receive(self, length):
        """A message, which comes in one piece: the clients that are out there call `recv` once for each. The system may
        deliver one that is longer than a segment in several, however it was written."""
        data = self.socket.recv(length)
        while length > SEGMENT and 0 < len(data) < length and (more := self.socket.recv(length - len(data))):
            data += more
        self.trace.append((False, data))
        if len(data) != length:
            raise Refused(f"{len(data)} of {length} bytes came: {data!r}")
        return data

    def acknowledged(self):
        if self.receive(1) != b"1":
            raise Refused("a step")

    def expect_end(self, wanted):
        """`wanted` comes, and the end of the connection, in order."""
        rest = self.rest()
        assert rest == wanted, rest
        self.socket.close()

    def rest(self):
        rest = b""
        while piece := self.socket.recv(1 << 16):
            rest += piece
        return rest

    def encrypt(self, text):
        padder = block_padding.PKCS7(128).padder()
        return self.encrypt_padded(padder.update(text) + padder.finalize())

    def encrypt_padded(self, text):
        encryptor = Cipher(algorithms.AES(self.key), modes.CBC(self.iv)).encryptor()
        return encryptor.update(text) + encryptor.finalize()

    def decrypt(self, data):
        decryptor = Cipher(algorithms.AES(self.key), modes.CBC(self.iv)).decryptor()
        unpadder = block_padding.PKCS7(128).unpadder()
        return unpadder.update(decryptor.update(data) + decryptor.finalize()) + unpadder.finalize()

    def seal(self, text, body=None):
        """A request as it is sent: its length and its body, or that of `text` instead of `body`."""
        body = self.encrypt(text) if body is None else body
        if self.generation > 1:
            body += os.urandom(16)
        return self.seal_length(str(len(body))), body

    def seal_length(self, digits):
        return self.encrypt(digits.encode()) if self.generation == 3 else digits.encode().ljust(8, b"=")


def ask(address, generation, *requests):
    for request in requests:
        print(Client(address, int(generation), request).ask(), flush=True)


def refused(address, generation):
    """A server that does not take this generation refuses its request."""
    client = Client(address, int(generation)).until("request")
    client.send(client.seal(STAT.encode())[1])
    client.expect_end(b"0")


def fingerprint(address):
    """The fingerprint of the server's key."""
    digits = hashlib.sha256(Client(address).until("key acknowledged").server_pem).hexdigest().upper()
    print(" ".join(digits[at : at + 4] for at in range(0, len(digits), 4)))


def key_sizes(address):
    """Keys of 2048 to 8192 bits are accepted."""
    for bits in [2048, 3072, 4096]:
        answer = Client(address, key=rsa.generate_private_key(65537, bits)).ask()
        assert json.loads(answer)["message"] == "OK", answer
    # Keys of 8192 bits take long to make. Nothing is known of this modulus, so what the server sends stays secret.
    modulus = random.Random(8192).getrandbits(8192) | 1 << 8191 | 1
    client = Client(address)
    offer_key(client, to_pem(rsa.RSAPublicNumbers(65537, modulus).public_key()))
    assert int(client.receive(8).rstrip(b"=")) == 800
    client.send(b"1")
    server_key = serialization.load_pem_public_key(client.receive(800))
    client.send(b"1" + server_key.encrypt(os.urandom(48), OAEP))
    client.acknowledged()
    client.receive(1024)
    refused_key = to_pem(rsa.RSAPublicNumbers(65537, modulus >> 7168 | 1 << 1023 | 1).public_key())
    client = Client(address)
    client.send(length_field(len(refused_key)))
    client.acknowledged()
    client.send(refused_key)
    client.expect_end(b"0")


def offer_key(client, pem):
    client.send(length_field(len(pem)))
    client.acknowledged()
    client.send(pem)
    client.acknowledged()


def bad_steps(address):
    """Each bad step is answered with `0` and the end."""
    for field in [b"0=======", b"-800====", b"+800====", b"800 ====", b"800.0===", b"eight===", b"========", b"2049===="]:
        refuse(Client(address), "key length", field)
    for field in [b"99999999", b"\0" * 8, b"800=8===", b"\xff" * 8]:
        refuse(Client(address), "key length", field)
    for name, change in BAD_KEYS.items():
        client = Client(address).until("key length")
        pem = change(to_pem(client.private_key.public_key()))
        client.send(length_field(len(pem)))
        client.acknowledged()
        client.send(pem)
        client.expect_end(b"0")
    for block in [
        lambda key: os.urandom(key.key_size // 8),
        lambda key: b"\0" * (key.key_size // 8),
        lambda key: b"\xff" * (key.key_size // 8),
        lambda key: key.encrypt(os.urandom(47), OAEP),
        lambda key: key.encrypt(os.urandom(49), OAEP),
        lambda key: key.encrypt(b"", OAEP),
        lambda key: key.encrypt(os.urandom(48), padding.PKCS1v15()),
    ]:
        client = Client(address).until("block")
        client.send(block(client.server_key))
        client.expect_end(b"0")
    for generation in GENERATIONS:
        for digits in ["0", "-16", "sixteen", "1.5", "17", "40", "", str(REQUEST_BYTES_MAX + 16), "99999999"]:
            client = Client(address, generation).until("request length")
            client.send(client.seal_length(digits))
            client.expect_end(b"0")
        for name, (text, body) in BAD_REQUESTS.items():
            client = Client(address, generation).until("request length")
            length, body = client.seal(text, body and body(client))
            client.send(length)
            client.acknowledged()
            client.send(body)
            client.expect_end(b"0")
        if generation == 3:
            for block in [os.urandom(16), b"\0" * 16]:
                refuse(Client(address, generation), "request length", block)
        longest = STAT.ljust(REQUEST_BYTES_MAX - (17 if generation > 1 else 1)).encode()
        answer = Client(address, generation, longest.decode()).ask()
        assert json.loads(answer)["message"] == "OK", answer


def refuse(client, step, data):
    client.until(step)
    client.send(data)
    client.expect_end(b"0")


BAD_KEYS = {
    "a private key's label": lambda pem: pem.replace(b"PUBLIC", b"PRIVATE"),
    "other bytes": lambda pem: os.urandom(len(pem)),
    "a wrong character": lambda pem: pem[:100] + b"!" + pem[101:],
    "a part": lambda pem: pem[:200],
    "one of another kind": lambda pem: pem.replace(b"MIIB", b"AAAA"),
    "one byte": lambda pem: b"x",
}
BAD_REQUESTS = {
    "no JSON": (STAT[1:].encode(), None),
    "an empty text": (b"", None),
    "more than JSON": ((STAT + "x").encode(), None),
    "not UTF-8": (b'{"verb": "\xff\xfe", "parameters": {}}', None),
    "no padding": (None, lambda client: client.encrypt_padded(STAT.encode().ljust(64))),
    "a padding of zero bytes": (None, lambda client: client.encrypt_padded(STAT.encode().ljust(64, b"\0"))),
    "a padding of 17 bytes": (None, lambda client: client.encrypt_padded(STAT.encode().ljust(64, b"\x11"))),
    "an uneven padding": (None, lambda client: client.encrypt_padded(STAT.encode().ljust(47) + b"\2")),
    "random bytes": (None, lambda client: os.urandom(64)),
    "a block": (None, lambda client: os.urandom(16)),
}


def refusals(address):
    """A client may refuse each step of the server, or end its output; then nothing more comes."""
    for generation in GENERATIONS:
        for step in [step for step in STEPS if step.endswith("acknowledged")]:
            for word in [b"0", b"\0", b"x"]:
                client = Client(address, generation).until(step)
                client.send(word)
                client.expect_end(b"")
        for step in STEPS:
            for part in [b"", b"4"]:
                client = Client(address, generation).until(step)
                if not step.endswith("acknowledged"):
                    client.send(part)
                client.socket.shutdown(socket.SHUT_WR)
                client.expect_end(b"")


def stalls(address):
    """Clients that do not go on are refused, at each step, whether a part of it has come or nothing."""
    clients = [(step, part, Client(address).until(step)) for step in STEPS for part in [b"", b"4"]]
    for step, part, client in clients:
        if not step.endswith("acknowledged"):
            client.send(part)
    for step, _, client in clients:
        # A client that waits for an answer would take the refusal for it.
        client.expect_end(b"" if step == "answer length acknowledged" else b"0")


def replays(address, request):
    """What a client has sent is refused when it is sent again, and has no effect."""
    for generation in GENERATIONS:
        recorded = Client(address, generation, request)
        print(recorded.ask(), flush=True)
        sent = b"".join(data for is_sent, data in recorded.trace if is_sent)
        received = [data for is_sent, data in recorded.trace if not is_sent]
        # The length is sealed in the third generation; in the others the server finds out with the request.
        before = received[:6] if generation == 3 else received[:7]
        client = Client(address)
        client.send(sent)
        answer = client.rest()
        block_at = sum(map(len, before[:5]))
        block = answer[block_at:][: len(before[5])]
        assert block != before[5], "the same keys"
        before_and_after = answer[:block_at], answer[block_at + len(block) :]
        assert before_and_after == (b"".join(before[:5]), b"".join(before[6:]) + b"0"), answer
        # Once more, and each message after the server's before it.
        client = Client(address)
        replay = iter(recorded.trace)
        for is_sent, data in replay:
            if is_sent:
                client.send(data)
            elif len(before) > 0:
                assert len(client.receive(len(before.pop(0)))) == len(data)
            else:
                break
        client.expect_end(b"0")


def leaves(address, generation, what):
    """A client that asks for a container and leaves before it has the answer. Says when it does `what`."""
    client = Client(address, int(generation), CREATE).until("answer length acknowledged")
    print("the length has come", flush=True)
    if what == "stall":
        client.expect_end(b"")
        return
    # The test says when to go on.
    sys.stdin.readline()
    if what == "refuse":
        client.send(b"0")
        client.expect_end(b"")
    if what == "acknowledge":
        client.send(b"1")
        client.socket.shutdown(socket.SHUT_WR)
        print("acknowledged", flush=True)
        sys.stdin.readline()
    # The process ends, and the connection with it.


def crowd(address, finishing, stalling, seed):
    """Many clients at once, some of which stop at random steps. Says how long the others took, and how many stay."""
    choices = random.Random(int(seed))
    keys = [rsa.generate_private_key(65537, 2048) for _ in range(4)]
    plans = [None] * int(finishing) + [choices.choice(STEPS[:-1]) for _ in range(int(stalling))]
    choices.shuffle(plans)
    clients, begin, finished = [], threading.Barrier(len(plans) + 1), []

    def run(number, step):
        client = Client(address, GENERATIONS[number % 3], key=keys[number % len(keys)])
        begin.wait()
        if step:
            clients.append(client.until(step))
        else:
            answer = json.loads(client.ask())
            finished.append(answer["message"] == "OK")

    threads = [threading.Thread(target=run, args=[*plan]) for plan in enumerate(plans)]
    for thread in threads:
        thread.start()
    begin.wait()
    since = time.monotonic()
    for thread, step in zip(threads, plans):
        if step is None:
            thread.join()
    took = time.monotonic() - since
    for thread in threads:
        thread.join()
    assert finished == [True] * int(finishing), len(finished)
    print(f"{took:.3f} {len(clients)}", flush=True)
    sys.stdin.readline()


CHECKS = {
    function.__name__: function
    for function in [
        ask, refused, fingerprint, key_sizes, bad_steps, refusals, stalls, replays, leaves, crowd,
    ]
}

main()
