#!/usr/bin/env python3
"""Stands in for QEMU: makes its sockets, speaks QMP, and greets at the forwarded port as a guest would.

An argument `fake=FAULT` or `fake=FAULT:VALUE` has it do what a real QEMU never does when a test wants it.
"""
import json
import os
import re
import selectors
import socket
import sys
import time

FAULTS = dict((argument[5:].split(":", 1) + [""])[:2] for argument in sys.argv if argument.startswith("fake="))
poll = selectors.DefaultSelector()


def listen(path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    return listener


def has(fault):
    return fault in FAULTS


class Monitor:
    """One client of the monitor."""

    def __init__(self, stream):
        self.stream, self.input = stream, b""
        if has("silence"):
            return
        if has("garbage"):
            stream.sendall(bytes(range(256)) * 300)
        elif has("half-line"):
            stream.sendall(b'{"QMP": {"version": ')
        elif has("long-line"):
            stream.sendall(b" " * 100_000)
        else:
            self.send({"QMP": {"version": {}, "capabilities": []}})

    def send(self, message):
        self.stream.sendall(json.dumps(message).encode() + b"\r\n")

    def read(self):
        data = self.stream.recv(4096)
        if not data:
            poll.unregister(self.stream)
            return
        self.input += data
        while b"\n" in self.input:
            line, self.input = self.input.split(b"\n", 1)
            self.take(json.loads(line))

    def take(self, command):
        name = command["execute"]
        if FAULTS.get("error") == name:
            self.send({"error": {"class": "GenericError", "desc": "it is not possible"}})
        elif FAULTS.get("die") == name:
            os._exit(3)
        elif FAULTS.get("hang") == name:
            return
        elif name == "quit":
            self.send({"return": {}})
            os._exit(0)
        elif name == "system_powerdown":
            self.send({"return": {}})
            shut_down(self, "guest-shutdown")
        elif name == "human-monitor-command":
            self.send({"return": human(command["arguments"]["command-line"])})
        else:
            self.send({"return": {}})


def shut_down(monitor, reason):
    monitor.send({"event": "SHUTDOWN", "data": {"guest": True, "reason": reason}})
    os._exit(0)


def human(line):
    if line == "info usernet":
        return "TCP[ESTABLISHED] 1 127.0.0.1 1 10.0.2.15 22 0 0\r\n" * len(clients)
    address, port = re.fullmatch(r"hostfwd_add n0 tcp:([0-9.]+):(\d+)-:22", line).groups()
    refused = f"Could not set up host forwarding rule 'tcp:{address}:{port}-:22'\r\n"
    if has("no-port"):
        return refused
    guest = socket.socket()
    guest.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        guest.bind((address, int(port)))
    except OSError:
        return refused
    guest.listen()
    poll.register(guest, selectors.EVENT_READ, lambda: greet(guest))
    return ""


clients = []


def greet(listener):
    stream, _ = listener.accept()
    clients.append(stream)
    poll.register(stream, selectors.EVENT_READ, lambda: forget(stream))
    if has("die-at-greeting"):
        os._exit(4)
    if not has("mute"):
        stream.sendall(FAULTS.get("greeting", "SSH-2.0-fake\r\n").encode())


def forget(stream):
    try:
        data = stream.recv(4096)
    except OSError:
        data = b""
    if not data:
        poll.unregister(stream)
        clients.remove(stream)
        stream.close()


def serve_monitor(listener):
    stream, _ = listener.accept()
    monitors.append(Monitor(stream))
    poll.register(stream, selectors.EVENT_READ, monitors[-1].read)


def serve_serial(listener):
    stream, _ = listener.accept()
    stream.sendall(b"fake guest\r\n")
    if has("flood"):
        stream.sendall(b"".join(b"line %7d\r\n" % number for number in range(200_000)))
    poll.register(stream, selectors.EVENT_READ, lambda: serial_input(stream))


def serial_input(stream):
    data = stream.recv(4096)
    if not data:
        poll.unregister(stream)
    # What the user of a guest can do: the words are commands.
    for word in data.split():
        if word in (b"guest-shutdown", b"guest-reset", b"guest-panic"):
            shut_down(monitors[-1], word.decode())
        stream.sendall(b"[" + word + b"]")


monitors = []


def main():
    if "-version" in sys.argv:
        print("a fake QEMU")
        return
    if has("exit"):
        print(f"fake: -drive x: {FAULTS['exit']}", file=sys.stderr)
        sys.exit(1)
    if has("no-sockets"):
        time.sleep(1000)
    # As QEMU does: the monitor's socket first.
    monitor, serial = listen("qmp"), listen("serial")
    poll.register(monitor, selectors.EVENT_READ, lambda: serve_monitor(monitor))
    poll.register(serial, selectors.EVENT_READ, lambda: serve_serial(serial))
    while True:
        for key, _ in poll.select():
            key.data()


main()
