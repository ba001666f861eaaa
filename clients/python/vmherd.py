"""A client of the metrics of a vmherd server.

    from vmherd import Client

    with Client("127.0.0.1", 8888, timeout=15) as client:
        client.put("palm.cpu", 0.5, timestamp=1150864247)
        client.put("eardrum.memory", 4200000)  # now
        print(client.get("*"))  # {'palm.cpu': [(1150864247, 0.5)], 'eardrum.memory': [(…, 4200000.0)]}

The module is this file, and needs the standard library of Python 3.9 or newer only.
"""

import math
import operator
import re
import socket
import time

__all__ = [
    "BadReply",
    "Client",
    "ClientError",
    "ConnectError",
    "ConnectionClosed",
    "InvalidArgument",
    "NoReply",
    "ServerError",
]


class ClientError(Exception):
    """The reason a call failed; the subclasses say more.

    After `NoReply`, `ConnectionClosed` and `BadReply` the client is closed, and whether the server has stored the
    value is unknown. After `ServerError` and `InvalidArgument` nothing is stored and the client works as before.
    """


class ConnectError(ClientError):
    """No connection could be made."""


class NoReply(ClientError):
    """The reply was not complete within the timeout."""


class ConnectionClosed(ClientError):
    """The server has closed the connection, or it is closed since an earlier error or `Client.close`."""


class BadReply(ClientError):
    """The reply is not one of the protocol, or too large."""


class ServerError(ClientError):
    """The server answered with an error; the text is its message."""


class InvalidArgument(ClientError):
    """The server would not accept the argument. Nothing was sent."""


class Client:
    """One connection to a server.

    `timeout`, in seconds, is for connecting and for each call, which it may exceed by one wait for the network; None:
    no timeout. Not for use by several threads at the same time.
    """

    def __init__(self, host, port, timeout=None):
        self._timeout = timeout
        self._socket = None
        try:
            self._socket = socket.create_connection((host, port), timeout)
        except (OSError, OverflowError, ValueError) as error:
            raise ConnectError(f"cannot connect to {host}:{port}: {error}") from error

    def put(self, name, value, timestamp=None):
        """Stores a value under `name`, at `timestamp` in whole seconds since 1970; None: now.

        A value of the same name and second is replaced.
        """
        _check_name(name)
        value = _number(value)
        timestamp = str(int(time.time())) if timestamp is None else _seconds(timestamp)
        if self._call(f"put {name} {value} {timestamp}\n"):
            raise self._bad_reply("points in the reply to put")

    def get(self, name):
        """The points of `name`, or of all names for "*": a dict of lists of (timestamp, value), by timestamp.

        Empty if there are none.
        """
        _check_name(name)
        points = {}
        for line in self._call(f"get {name}\n"):
            match = _POINT.fullmatch(line)
            value = float(match[2]) if match else math.inf
            if not math.isfinite(value):
                raise self._bad_reply("a line that is not a point")
            points.setdefault(match[1], []).append((int(match[3]), value))
        for of_name in points.values():
            of_name.sort(key=operator.itemgetter(0))
        return points

    def close(self):
        """Closes the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _call(self, line):
        """Sends a line and returns the lines of its reply after `ok`."""
        if self._socket is None:
            raise ConnectionClosed("the connection is closed")
        try:
            self._socket.sendall(line.encode())
            reply = self._receive()
        except BaseException as error:
            # Whatever it is, an interrupt included: the next reply may be this one's.
            self.close()
            if isinstance(error, socket.timeout):
                raise NoReply("no reply in time") from error
            if isinstance(error, OSError):
                raise ConnectionClosed(f"the connection is closed: {error}") from error
            raise
        status, *lines = reply.split("\n")
        if status == "ok":
            return lines
        if status == "error" and len(lines) == 1 and lines[0]:
            raise ServerError(lines[0])
        raise self._bad_reply("neither ok nor an error")

    def _receive(self):
        """One reply without its blank line, in whatever parts it arrives."""
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        reply = bytearray()
        while True:
            received = self._socket.recv(_RECEIVED_BYTES)
            if not received:
                raise ConnectionClosed("the server has closed the connection")
            searched = max(0, len(reply) - 1)
            reply += received
            end = reply.find(b"\n\n", searched)
            if end >= 0:
                break
            if len(reply) > _REPLY_BYTES_MAX:
                raise BadReply("the reply is too large")
            if deadline is not None and time.monotonic() > deadline:
                raise NoReply("no whole reply in time")
        if len(reply) > end + 2:
            raise BadReply("more than one reply")
        try:
            return reply[:end].decode()
        except UnicodeDecodeError as error:
            raise BadReply("the reply is not UTF-8") from error

    def _bad_reply(self, why):
        self.close()
        return BadReply(f"bad reply: {why}")


def _check_name(name):
    """A name is one word of a line."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidArgument(f"{name!r} is not a name: a text without white space and control characters")
    try:
        length = len(name.encode())
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"{name!r} is not a text") from error
    if length > _NAME_BYTES_MAX:
        raise InvalidArgument(f"the name has {length} bytes; at most {_NAME_BYTES_MAX} are allowed")


def _number(value):
    """A finite number as text; an integer stays one."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidArgument(f"{value!r} is not a number") from error
    if not math.isfinite(number):
        raise InvalidArgument(f"{value!r} is not a finite number")
    return str(int(value)) if isinstance(value, int) else repr(number)


def _seconds(timestamp):
    """A whole number of seconds as text."""
    try:
        return str(operator.index(timestamp))
    except TypeError as error:
        raise InvalidArgument(f"the timestamp {timestamp!r} is not an integer") from error


# Python's `\s` is what the server takes as white space, but for some control characters.
_NAME = re.compile(r"[^\s\x00-\x1f\x7f-\x9f]+")
_NAME_BYTES_MAX = 200
_POINT = re.compile(r"(\S+) ([-+]?[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?) (-?[0-9]{1,20})")
_RECEIVED_BYTES = 65536
# Some ten million points: a server that sends more is not one, or should be asked for less.
_REPLY_BYTES_MAX = 400 << 20
