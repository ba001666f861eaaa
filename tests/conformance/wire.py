"""A WebSocket client that says whatever it is told to, right or wrong, and the starting of servers."""

import base64
import os
import socket
import struct
import subprocess

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

# Longer than anything takes on a slow machine: who waits so long has found a server that does not answer.
DEADLINE_S = 20


def frame(opcode, payload=b"", fin=True, reserved=0, masked=True, length=None, form=None):
    """One frame. `length` is what it announces, if that is not what it has; `form` is how many bits the
    length takes (7, 16 or 64), if that is not the fewest."""
    if isinstance(payload, str):
        payload = payload.encode()
    if length is None:
        length = len(payload)
    if form is None:
        form = 7 if length < 126 else 16 if length < 1 << 16 else 64
    mark = 0x80 if masked else 0
    head = bytes([fin << 7 | reserved << 4 | opcode])
    if form == 7:
        head += bytes([mark | length])
    elif form == 16:
        head += bytes([mark | 126]) + struct.pack("!H", length)
    else:
        head += bytes([mark | 127]) + struct.pack("!Q", length)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    hidden = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return head + mask + hidden.to_bytes(len(payload), "big")


def close(code=None, reason=b""):
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


class Client:
    """A connection whose handshake is done."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, DEADLINE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = b""
        self.is_over = False
        self.replies = []
        key = base64.b64encode(os.urandom(16)).decode()
        self.send(
            f"GET / HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self.input:
            assert self.receive(), "the server ended the connection instead of answering the handshake"
        head, self.input = self.input.split(b"\r\n\r\n", 1)
        assert head.startswith(b"HTTP/1.1 101 "), head

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # The server has ended it; what it said is still to be read.

    def receive(self):
        try:
            chunk = self.socket.recv(1 << 16)
        except ConnectionResetError:
            self.replies.append("reset")
            chunk = b""
        self.input += chunk
        self.is_over = not chunk
        return bool(chunk)

    def wait_for(self, count):
        """Reads until there are so many replies, or no more come: (opcode, payload) each; of a close frame
        only its code, if any."""
        while len(self.replies) < count and not self.is_over:
            if not self.take_frame():
                self.receive()
        while self.take_frame():
            pass
        return self.replies

    def the_rest(self):
        """All replies, once the server has ended the connection."""
        with self.socket:
            self.wait_for(float("inf"))
        assert not self.input, f"a part of a frame at the end: {self.input[:20]!r}"
        return self.replies

    def take_frame(self):
        data = self.input
        if len(data) < 2:
            return False
        length, head = data[1], 2
        if length == 126:
            length, head = int.from_bytes(data[2:4], "big"), 4
        elif length == 127:
            length, head = int.from_bytes(data[2:10], "big"), 10
        assert length < 1 << 30, f"a masked frame or a strange length: {data[:14]!r}"
        if len(data) < head + length:
            return False
        payload = data[head : head + length]
        self.input = data[head + length :]
        assert data[0] & 0xF0 == 0x80, f"a reply in fragments or with reserved bits: {data[0]:x}"
        opcode = data[0] & 0xF
        if opcode == CLOSE:
            payload = struct.unpack("!H", payload[:2])[0] if payload else None
        self.replies.append((opcode, payload))
        return True


class Server:
    """A process that says `listening on HOST:PORT` when it can be talked to; killed at the end."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert line.startswith("listening on "), f"{command[0]} said {line!r}"
        host, port = line.split()[-1].rsplit(":", 1)
        self.address = (host, int(port))

    def __enter__(self):
        return self.address

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
