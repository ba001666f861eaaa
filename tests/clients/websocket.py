"""What the package `websockets` must meet: one check at a run.

    websocket.py CHECK HOST:PORT [ARGUMENT…]
"""

import json
import socket
import sys
from contextlib import contextmanager

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect as connect_anywhere

PING = '{"command": "ping"}'
REQUEST_BYTES_MAX = 1 << 20
REQUEST_BYTES_MAX_ANONYMOUS = 64 << 10
PATIENCE_S = 9


def main():
    _, check, address, *arguments = sys.argv
    CHECKS[check](address, *arguments)


def connect(address, path="/", **options):
    options.setdefault("max_size", None)
    return connect_anywhere(f"ws://{address}{path}", proxy=None, **options)


def ask(connection, request):
    connection.send(request if isinstance(request, str) else json.dumps(request))
    return json.loads(connection.recv(timeout=PATIENCE_S))


def expect_pong(connection, message=PING):
    reply = ask(connection, message)
    assert reply["message"] == "PONG", reply


@contextmanager
def closes_with(code):
    """What is done inside ends with the server's close frame and that code in it."""
    try:
        yield
    except ConnectionClosed as closed:
        assert closed.rcvd is not None and closed.rcvd.code == code, closed
    else:
        raise AssertionError(f"no close frame with {code}")


def handshakes(address):
    """Any path, without what the client offers; none for what a web page of another site would send."""
    for path in ["/", "/any/path", "/?query=1"]:
        with connect(address, path, subprotocols=["chat", "superchat"]) as connection:
            assert connection.protocol.extensions == [], "it has offered compression"
            assert connection.subprotocol is None
            expect_pong(connection)
    host, port = address.split(":")
    for options in [{"origin": f"http://{address}"}, {"additional_headers": {"Sec-Fetch-Site": "same-origin"}}]:
        with connect(address, **options) as connection:
            expect_pong(connection)
    for options in [
        {"origin": "http://evil.example.org"},
        {"origin": "null"},
        {"origin": f"http://{host}:1"},
        {"additional_headers": {"Sec-Fetch-Site": "cross-site"}},
    ]:
        expect_status(403, lambda: connect(address, **options))
    # A name that leads here, as one would that was made to.
    sock = socket.create_connection((host, int(port)))
    expect_status(403, lambda: connect(f"evil.example.org:{port}", sock=sock))


def expect_status(status, function):
    try:
        function()
    except InvalidStatus as refused:
        response = refused.response
        assert response.status_code == status, response
        assert json.loads(response.body)["status"] == "error", response
    else:
        raise AssertionError("let in")


def pings(address):
    """Each gets its pong, also while answers are due and between the fragments of a message."""
    with connect(address) as connection:
        for payload in [b"", b"x", bytes(range(125))]:
            assert connection.ping(payload).wait(PATIENCE_S)
        connection.pong(b"nobody asked")
        request = {"request_id": 1, "data": "a&&b&&c"}
        connection.send(json.dumps(request))
        assert connection.ping(b"meanwhile").wait(PATIENCE_S)
        assert json.loads(connection.recv(timeout=PATIENCE_S)) == {"request_id": 1, "data": {"a": {"b": "c"}}}
        waits = []

        def pieces():
            for number, character in enumerate(PING):
                yield character
                waits.append(connection.ping(f"ping {number}"))

        connection.send(pieces())
        assert all(wait.wait(PATIENCE_S) for wait in waits)
        assert json.loads(connection.recv(timeout=PATIENCE_S))["message"] == "PONG"


def fragments(address):
    """A message may come in pieces of any size, empty ones too, and cut inside of a character."""
    with connect(address) as connection:
        request = {"request_id": "Ёж 🦔", "data": "Ёж&&имя&&🦔"}
        text = json.dumps(request, ensure_ascii=False)
        reply = {"request_id": "Ёж 🦔", "data": {"Ёж": {"имя": "🦔"}}}
        for size in [1, 2, 3, 7, 1000]:
            cut = [text[start : start + size] for start in range(0, len(text), size)]
            assert ask_in_pieces(connection, cut) == reply
            data = text.encode()
            cut = [data[start : start + size] for start in range(0, len(data), size)]
            assert ask_in_pieces(connection, ["", *cut, ""], text=True) == reply
        padded = PING + " " * (REQUEST_BYTES_MAX - len(PING))
        cut = [padded[start : start + 100_000] for start in range(0, len(padded), 100_000)]
        assert ask_in_pieces(connection, cut)["message"] == "PONG"


def ask_in_pieces(connection, pieces, **options):
    as_bytes = (piece.encode() if isinstance(piece, str) and options else piece for piece in pieces)
    connection.send(as_bytes, **options)
    return json.loads(connection.recv(timeout=PATIENCE_S))


def closes(address):
    """The client's code comes back, and what is due before it is not lost in order."""
    for code in [1000, 1001, 1003, 1011, 3000, 4999]:
        connection = connect(address)
        expect_pong(connection)
        connection.close(code, "goodbye")
        assert connection.protocol.close_rcvd.code == code, connection.protocol.close_rcvd
        assert connection.protocol.close_rcvd_then_sent is False
    connection = connect(address)
    connection.send(PING)
    connection.close()
    assert json.loads(connection.recv(timeout=PATIENCE_S))["message"] == "PONG"


def faults(address):
    """What breaks a rule of the protocol ends the connection with the code for that."""
    with connect(address) as connection:
        expect_pong(connection, PING + " " * (REQUEST_BYTES_MAX - len(PING)))
        with closes_with(1009):
            connection.send(PING + " " * (REQUEST_BYTES_MAX + 1 - len(PING)))
            connection.recv(timeout=PATIENCE_S)
    with connect(address) as connection, closes_with(1009):
        connection.send(" " * 1000 for _ in range(2000))
        connection.recv(timeout=PATIENCE_S)
    for data, text, code in [(PING.encode(), False, 1003), (b'{"command": "\xff"}', True, 1007)]:
        with connect(address) as connection:
            expect_pong(connection)
            with closes_with(code):
                connection.send(data, text=text)
                connection.recv(timeout=PATIENCE_S)
        with connect(address) as connection, closes_with(code):
            connection.send([data[:14], data[14:]], text=text)
            connection.recv(timeout=PATIENCE_S)


def not_requests(address):
    """A message that is no request gets an error, and the connection goes on."""
    with connect(address) as connection:
        for message, begins in [
            ("", "Invalid JSON: "),
            ("no JSON", "Invalid JSON: "),
            (PING + PING, "Invalid JSON: "),
            (PING[:-1], "Invalid JSON: "),
            ("[1]", "a request must be an object"),
            ("{}", "missing field: command"),
            ('{"command": "fly"}', "Unknown command"),
        ]:
            reply = ask(connection, message)
            assert (reply["status"], reply["data"]) == ("error", {}), reply
            assert reply["message"].startswith(begins), (message, reply)
        expect_pong(connection, f"\n  {PING}\n")


def anonymous_sizes(address, name, password):
    """Where nothing is open to strangers they may not send much, until they say who they are."""
    with connect(address) as connection, closes_with(1009):
        connection.send(" " * (REQUEST_BYTES_MAX_ANONYMOUS + 1))
        connection.recv(timeout=PATIENCE_S)
    with connect(address) as connection:
        expect_pong(connection, PING + " " * (REQUEST_BYTES_MAX_ANONYMOUS - len(PING)))
        credentials = {"vm_id": name, "password": password}
        reply = ask(connection, {"command": "authenticate", "data": credentials})
        assert reply["status"] == "success", reply
        expect_pong(connection, PING + " " * (REQUEST_BYTES_MAX - len(PING)))


def deadlines(address):
    """Who begins a message and does not go on is told so; who says nothing for too long is let go."""
    with connect(address) as connection:

        def pieces():
            yield PING[:5]
            reply = json.loads(connection.recv(timeout=PATIENCE_S))
            assert reply["message"].startswith("Request timeout"), reply
            with closes_with(1008):
                connection.recv(timeout=PATIENCE_S)
            yield PING[5:]

        try:
            connection.send(pieces())
        except ConnectionClosed:
            pass
    with connect(address) as connection:
        expect_pong(connection)
        with closes_with(1001):
            connection.recv(timeout=PATIENCE_S)


def big_answers(address):
    """A list of many pages is one message in fragments; a short one has one frame."""
    with connect(address) as connection:
        connection.send('{"action": "list_all_vms"}')
        pieces = list(connection.recv_streaming())
        assert len(pieces) > 3, len(pieces)
        vms = json.loads("".join(pieces))["all_vms"]
        assert [(vm["id"], len(vm["disks"])) for vm in vms] == [(number, 500) for number in range(1, 11)]
        # What is asked meanwhile comes after it, in frames of its own.
        connection.send('{"request_id": 1, "action": "list_all_disks"}')
        connection.send('{"request_id": 2, "command": "ping"}')
        messages = [json.loads(connection.recv(timeout=PATIENCE_S)) for _ in range(2)]
        assert sorted(message["request_id"] for message in messages) == [1, 2]
        disks = next(message["all_disks"] for message in messages if message["request_id"] == 1)
        assert [disk["id"] for disk in disks] == list(range(1, 5001))
        connection.send('{"action": "list_connected_vms"}')
        assert list(connection.recv_streaming()) == ['{"connected_vms":[]}']


def stops(address):
    """A server that stops gives the answers that are due and then says that it goes."""
    idle = connect(address)
    expect_pong(idle)
    inside = connect(address)
    expect_pong(inside)
    with connect(address) as connection:
        for number in range(5):
            connection.send(json.dumps({"request_id": number, "data": "a&&b&&c"}))
        expect_pong(connection)

        def pieces():
            # The server is told to stop while this message has begun.
            yield "{"
            print("ready", flush=True)
            with closes_with(1001):
                inside.recv(timeout=PATIENCE_S)
            yield "}"

        try:
            inside.send(pieces())
        except ConnectionClosed:
            pass
        numbers = []
        with closes_with(1001):
            while True:
                reply = json.loads(connection.recv(timeout=PATIENCE_S))
                assert reply["data"] == {"a": {"b": "c"}}, reply
                numbers.append(reply["request_id"])
        assert sorted(numbers) == list(range(5)), numbers
    with closes_with(1001):
        idle.recv(timeout=PATIENCE_S)


CHECKS = {
    function.__name__: function
    for function in [
        handshakes,
        pings,
        fragments,
        closes,
        faults,
        not_requests,
        anonymous_sizes,
        deadlines,
        big_answers,
        stops,
    ]
}

main()
