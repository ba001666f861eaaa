"""Tests of `vmherd.py` without a vmherd server: a fake socket, and a fake server that sends any bytes.

    python3 -m unittest
"""

import socket
import threading
import time
import unittest
from unittest import mock

import vmherd
from vmherd import Client, ClientError

OK = b"ok\n\n"


class FakeSocket:
    """What a client needs of a socket, and nothing else."""

    def __init__(self):
        self.sent = b""
        self.received = b""

    def sendall(self, data):
        self.sent += data

    def recv(self, size):
        part, self.received = self.received[:size], self.received[size:]
        return part

    def close(self):
        pass


class WithFakeSocket(unittest.TestCase):
    def setUp(self):
        self.socket = FakeSocket()
        with mock.patch.object(socket, "create_connection", return_value=self.socket) as connect:
            self.client = Client("127.0.0.1", 10000, timeout=2)
        connect.assert_called_once_with(("127.0.0.1", 10000), 2)

    def test_put_sends_a_line(self):
        for arguments, line in [
            (("palm.cpu", 10.6, 1501864247), b"put palm.cpu 10.6 1501864247\n"),
            (("test", 2.0, 2), b"put test 2.0 2\n"),
            (("test", 3, 0), b"put test 3 0\n"),
            (("ключ", -1e-7, -5), "put ключ -1e-07 -5\n".encode()),
            (("test", True, 1), b"put test 1 1\n"),
        ]:
            self.socket.sent, self.socket.received = b"", OK
            self.assertIsNone(self.client.put(*arguments))
            self.assertEqual(self.socket.sent, line)

    def test_the_time_is_now_by_default(self):
        self.socket.received = OK
        with mock.patch.object(time, "time", return_value=1503319740.9):
            self.client.put("load", 4)
        self.assertEqual(self.socket.sent, b"put load 4 1503319740\n")

    def test_get_returns_lists_by_name_and_time(self):
        self.socket.received = (
            b"ok\npalm.cpu 0.5 1150864248\neardrum.cpu 4.0 1150864251\npalm.cpu 10 1150864247\n"
            b"eardrum.cpu 3.0 1150864250\neardrum.memory 4200000.0 1503320872\n\n"
        )
        points = self.client.get("*")
        self.assertEqual(self.socket.sent, b"get *\n")
        self.assertEqual(points, {
            "palm.cpu": [(1150864247, 10.0), (1150864248, 0.5)],
            "eardrum.cpu": [(1150864250, 3.0), (1150864251, 4.0)],
            "eardrum.memory": [(1503320872, 4200000.0)],
        })
        self.assertIs(type(points["palm.cpu"][0][0]), int)
        self.assertIs(type(points["palm.cpu"][0][1]), float)
        self.socket.received = OK
        self.assertEqual(self.client.get("non_existing_key"), {})

    def test_an_error_of_the_server_leaves_the_client_usable(self):
        for call in [lambda: self.client.put("a", 1), lambda: self.client.get("a")]:
            self.socket.received = b"error\nwrong command\n\n"
            with self.assertRaisesRegex(vmherd.ServerError, "^wrong command$"):
                call()
        self.socket.received = OK
        self.assertEqual(self.client.get("a"), {})

    def test_wrong_arguments_are_not_sent(self):
        for name in ["", "a b", "a\nput b 1 1", "a\r", "\t", "a\u2028b", "a\x00", "x" * 201, "\ud800", b"a", None]:
            for call in [lambda: self.client.put(name, 1, 1), lambda: self.client.get(name)]:
                with self.assertRaises(vmherd.InvalidArgument, msg=repr(name)):
                    call()
        for value in [float("nan"), float("inf"), "much", None, 10 ** 400]:
            with self.assertRaises(vmherd.InvalidArgument, msg=repr(value)):
                self.client.put("a", value)
        for timestamp in [1.5, "now", "1"]:
            with self.assertRaises(vmherd.InvalidArgument, msg=repr(timestamp)):
                self.client.put("a", 1, timestamp)
        self.assertEqual(self.socket.sent, b"")

    def test_an_interrupted_call_closes_the_connection(self):
        self.socket.recv = mock.Mock(side_effect=KeyboardInterrupt)
        with self.assertRaises(KeyboardInterrupt):
            self.client.get("a")
        with self.assertRaises(vmherd.ConnectionClosed):
            self.client.get("a")


class WithFakeServer(unittest.TestCase):
    def serve(self, *parts, close=True, timeout=20):
        """A client of a server that answers the first line with these parts, each sent for itself."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def answer():
            connection, _ = listener.accept()
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                line = connection.makefile("rb").readline()
                self.assertTrue(line.endswith(b"\n"))
                for part in parts:
                    connection.sendall(part)
                if not close:
                    connection.recv(1)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        client = Client(*listener.getsockname(), timeout=timeout)
        # In this order, last first: the server ends when the client has.
        self.addCleanup(thread.join)
        self.addCleanup(client.close)
        return client

    def test_a_reply_arrives_in_any_parts(self):
        reply = "ok\nключ 10.5 1501864247\neardrum.cpu 15.3 1501864259\n\n".encode()
        for size in [1, 2, 3, 7, len(reply)]:
            parts = [reply[at:at + size] for at in range(0, len(reply), size)]
            points = self.serve(*parts).get("*")
            self.assertEqual(points, {"ключ": [(1501864247, 10.5)], "eardrum.cpu": [(1501864259, 15.3)]})

    def test_malformed_replies(self):
        for reply in [
            b"\n\n", b"okay\n\n", b"OK\n\n", b"error\n\n", b"error\na\nb\n\n", b"ok\nfoo bar fail\n\n", b"ok\na 1\n\n",
            b"ok\na 1 2 3\n\n", b"ok\na nan 1\n\n", b"ok\na 1e999 1\n\n", b"ok\na 1 1.5\n\n", b"ok\n\xff 1 1\n\n",
            b"ok\na 1_0 1\n\n", b"ok\n\nok\n\n", b"ok\na 1 " + b"1" * 5000 + b"\n\n",
        ]:
            client = self.serve(reply)
            with self.assertRaises(vmherd.BadReply, msg=reply[:40]):
                client.get("a")
            with self.assertRaises(vmherd.ConnectionClosed):
                client.get("a")
        with self.assertRaises(vmherd.BadReply):
            self.serve(b"ok\na 1 1\n\n").put("a", 1)

    def test_a_reply_larger_than_the_limit(self):
        with mock.patch.object(vmherd, "_REPLY_BYTES_MAX", 1000):
            with self.assertRaises(vmherd.BadReply):
                self.serve(b"ok\n" + b"a 1 1\n" * 1000, close=False).get("a")

    def test_a_connection_that_ends_before_the_reply_does(self):
        for part in [b"", b"ok", b"ok\na 1 1\n"]:
            client = self.serve(part)
            with self.assertRaises(vmherd.ConnectionClosed):
                client.get("a")
            with self.assertRaises(vmherd.ConnectionClosed):
                client.put("a", 1)

    def test_a_reply_that_does_not_come_in_time(self):
        for part in [b"", b"ok\na 1 1\n"]:
            client = self.serve(part, close=False, timeout=0.1)
            with self.assertRaises(vmherd.NoReply):
                client.get("a")
            with self.assertRaises(vmherd.ConnectionClosed):
                client.get("a")

    def test_a_reply_that_never_ends_is_not_read_for_ever(self):
        client = self.serve(*[b"a 1 1\n"] * 3, close=False)
        # Each part arrives in time; the whole does not.
        with mock.patch.object(time, "monotonic", side_effect=[0, 10, 19, 21]):
            with mock.patch.object(vmherd, "_RECEIVED_BYTES", 6):
                with self.assertRaises(vmherd.NoReply):
                    client.get("a")

    def test_no_server(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
        with self.assertRaises(vmherd.ConnectError):
            Client(*address)
        with self.assertRaises(vmherd.ConnectError):
            Client("127.0.0.1", 70000)

    def test_a_closed_client(self):
        with self.serve(OK) as client:
            client.put("a", 1)
        client.close()
        for call in [lambda: client.put("a", 1), lambda: client.get("a")]:
            with self.assertRaises(vmherd.ConnectionClosed):
                call()

    def test_every_error_is_a_client_error(self):
        errors = [vars(vmherd)[name] for name in vmherd.__all__ if name != "Client"]
        self.assertTrue(all(issubclass(error, ClientError) for error in errors))


if __name__ == "__main__":
    unittest.main()
