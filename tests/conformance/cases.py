"""What a server of WebSocket must do, case by case, after the sections 1 to 7 and 10 of the Autobahn suite.

A case is what is sent, in which pieces, and every reply up to the end of the connection. Where nothing ends it
the case itself does: it closes with 1000 and must get 1000. What is expected never depends on the pieces."""

import struct

from wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Client, close, frame

PROTOCOL, INVALID_TEXT = 1002, 1007


def run(address):
    """Runs all; gives how many there are and what failed."""
    failures, count = [], 0
    for name, sent, expected in table():
        for how, pieces in chopped(sent):
            count += 1
            try:
                replies = outcome(address, pieces)
            except (AssertionError, OSError) as error:
                replies = error
            if replies != expected:
                failures.append(f"{name}, {how}: expected {short(expected)}, got {short(replies)}")
    return count, failures


def outcome(address, pieces):
    client = Client(address)
    for piece in pieces:
        client.send(piece)
    return client.the_rest()


def chopped(sent):
    """The same bytes as a packet, frame by frame, and, unless they are very many, byte by byte."""
    whole = b"".join(sent)
    yield "in one piece", [whole]
    if len(sent) > 1:
        yield "frame by frame", sent
    if len(whole) <= 600:
        yield "byte by byte", [whole[at : at + 1] for at in range(len(whole))]
    else:
        yield "in pieces of 997 bytes", [whole[at : at + 997] for at in range(0, len(whole), 997)]


def goes_on(name, sent, replies):
    """The connection is as good as before."""
    return name, [*sent, close(1000)], [*replies, (CLOSE, 1000)]


def fails(name, sent, code, replies=()):
    """The server closes with `code`, whatever comes behind."""
    behind = [frame(PING, "behind"), frame(TEXT, "behind"), close(1000)]
    return name, [*sent, *behind], [*replies, (CLOSE, code)]


def echo(text):
    return TEXT, text.encode() if isinstance(text, str) else text


def table():
    yield from messages()
    yield from pings()
    yield from reserved()
    yield from fragments()
    yield from texts()
    yield from closes()
    long = b"*" * 65536
    parts = [long[at : at + 1300] for at in range(0, len(long), 1300)]
    yield goes_on("10 a long message in many fragments", fragmented(TEXT, parts), [echo(long)])


def fragmented(opcode, parts):
    last = len(parts) - 1
    return [frame(opcode if at == 0 else CONTINUATION, part, fin=at == last) for at, part in enumerate(parts)]


def messages():
    for size in (0, 125, 126, 127, 128, 65535, 65536):
        for opcode, payload in ((TEXT, b"*" * size), (BINARY, b"\xfe" * size)):
            yield goes_on(f"1 a message of {size} bytes", [frame(opcode, payload)], [(opcode, payload)])


def pings():
    for payload in (b"", b"Hello, world!", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", b"\xfe" * 125):
        yield goes_on(f"2 a ping of {len(payload)} bytes", [frame(PING, payload)], [(PONG, payload)])
    yield fails("2 a ping of 126 bytes", [frame(PING, b"\xfe" * 126)], PROTOCOL)
    yield goes_on("2 a pong that nobody asked for", [frame(PONG)], [])
    yield goes_on("2 one with a payload", [frame(PONG, "x")], [])
    yield goes_on("2 one before a ping", [frame(PONG, "x"), frame(PING, "y")], [(PONG, b"y")])
    many = [b"payload-%d" % number for number in range(10)]
    yield goes_on("2 ten pings", [frame(PING, each) for each in many], [(PONG, each) for each in many])


def reserved():
    for bits in range(1, 8):
        for opcode in (TEXT, BINARY, PING, PONG, CLOSE):
            bad = frame(opcode, b"" if opcode == CLOSE else b"x", reserved=bits)
            yield fails(f"3 reserved bits {bits} in {opcode}", [frame(TEXT, "a"), bad], PROTOCOL, [echo("a")])
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        for payload in ("", "reserved"):
            bad = frame(opcode, payload)
            yield fails(f"4 reserved opcode {opcode}", [bad], PROTOCOL)
            yield fails(f"4 {opcode} after a message", [frame(TEXT, "a"), bad], PROTOCOL, [echo("a")])
    yield fails("4 no mask", [frame(TEXT, "a", masked=False)], PROTOCOL)
    for length, form in ((0, 16), (125, 16), (125, 64), (126, 64), (65535, 64)):
        bad = frame(TEXT, b"*" * length, form=form)
        yield fails(f"4 a length of {length} in {form} bits", [bad], PROTOCOL)
    for length in (1 << 63, (1 << 64) - 1):
        yield fails(f"4 a length of {length}", [frame(TEXT, length=length)], PROTOCOL)
    yield fails("4 a message of 2^40 bytes", [frame(TEXT, length=1 << 40)], 1009)


def fragments():
    first, last = frame(TEXT, "one, ", fin=False), frame(CONTINUATION, "two")
    ping, pong = frame(PING, "x"), (PONG, b"x")
    both = echo("one, two")
    yield fails("5 a ping in fragments", [frame(PING, "a", fin=False), frame(CONTINUATION, "b")], PROTOCOL)
    yield fails("5 a pong in fragments", [frame(PONG, "a", fin=False), frame(CONTINUATION, "b")], PROTOCOL)
    yield goes_on("5 two fragments", [first, last], [both])
    yield goes_on("5 a ping between", [first, ping, last], [pong, both])
    yield goes_on("5 a pong between", [first, frame(PONG, "x"), last], [both])
    middle = [frame(CONTINUATION, "", fin=False), ping, frame(CONTINUATION, "and ", fin=False), ping]
    yield goes_on("5 five fragments and pings", [first, *middle, ping, last], [pong] * 3 + [echo("one, and two")])
    yield goes_on("5 empty fragments", fragmented(TEXT, [b"", b"", b""]), [echo("")])
    yield goes_on("5 one that is not", fragmented(TEXT, [b"", b"middle", b""]), [echo("middle")])
    yield goes_on("5 binary ones", fragmented(BINARY, [b"\xff", b"\xfe"]), [(BINARY, b"\xff\xfe")])
    for is_last in (False, True):
        stray = frame(CONTINUATION, "stray", fin=is_last)
        yield fails("5 a fragment of nothing", [stray], PROTOCOL)
        yield fails("5 one after a message", [frame(TEXT, "a"), stray], PROTOCOL, [echo("a")])
        yield fails("5 one after fragments", [first, last, stray], PROTOCOL, [both])
        yield fails("5 one after a ping", [ping, stray], PROTOCOL, [pong])
    for opcode in (TEXT, BINARY):
        for is_last in (False, True):
            yield fails("5 a message in a message", [first, frame(opcode, "a", fin=is_last)], PROTOCOL)


# Beginnings, ends and neighbours of what each length of UTF-8 encodes, surrogates, forms that are too long,
# and bytes that it never has.
SEQUENCES = [
    "Hello-µ@ßöäüàá-UTF-8!!".encode(),
    "κόσμε".encode(),
    *[chr(point).encode() for point in (0, 0x7F, 0x80, 0x7FF, 0x800, 0xFFF, 0x1000, 0xD7FF, 0xE000)],
    *[chr(point).encode() for point in (0xFDD0, 0xFFFD, 0xFFFE, 0xFFFF, 0x10000, 0x1FFFE, 0x3FFFF, 0x10FFFF)],
    b"\xf4\x90\x80\x80", b"\xf7\xbf\xbf\xbf", b"\xf8\x88\x80\x80\x80", b"\xfb\xbf\xbf\xbf\xbf",
    b"\xfc\x84\x80\x80\x80\x80", b"\xfd\xbf\xbf\xbf\xbf\xbf",
    b"\x80", b"\xbf", b"\x80\xbf", b"\x80\xbf\x80\xbf\x80", bytes(range(0x80, 0xC0)),
    *[bytes([first]) + b" " for first in (0xC0, 0xC2, 0xDF, 0xE0, 0xEF, 0xF0, 0xF4, 0xF7, 0xF8, 0xFC)],
    b"\xc0", b"\xc2", b"\xe0\x80", b"\xe0\xa0", b"\xf0\x80\x80", b"\xf0\x90\x80", b"\xf8\x80\x80\x80",
    b"\xdf", b"\xef\xbf", b"\xf7\xbf\xbf", b"\xfb\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf",
    b"\xfe", b"\xff", b"\xfe\xfe\xff\xff",
    b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf", b"\xfc\x80\x80\x80\x80\xaf",
    b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xf8\x87\xbf\xbf\xbf", b"\xfc\x83\xbf\xbf\xbf\xbf",
    b"\xc0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80",
    b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xaf\xbf", b"\xed\xb0\x80", b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80", b"\xed\xaf\xbf\xed\xbf\xbf",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80\x65\x64\x69\x74\x65\x64",
]  # fmt: skip


def texts():
    for sequence in SEQUENCES:
        name = f"6 {sequence[:12].hex()}"
        single = [sequence[at : at + 1] for at in range(len(sequence))]
        for sent in ([frame(TEXT, sequence)], fragmented(TEXT, single), fragmented(TEXT, [b"", *single, b""])):
            if is_utf8(sequence):
                yield goes_on(name, sent, [echo(sequence)])
            else:
                yield fails(name, sent, INVALID_TEXT)
    # The rest of the message never comes: what can't become valid is refused without it.
    good = "κόσμε".encode()
    for bad in (b"\xf4\x90", b"\xff", b"\xed\xa0", b"\xc0"):
        rest = [frame(TEXT, good + bad, length=1000)]
        yield "6 at once, within a frame", rest, [(CLOSE, INVALID_TEXT)]
        parts = [frame(TEXT, good, fin=False), frame(CONTINUATION, bad, fin=False)]
        yield "6 at once, between frames", parts, [(CLOSE, INVALID_TEXT)]


def is_utf8(data):
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def closes():
    yield goes_on("7 after a message", [frame(TEXT, "a")], [echo("a")])
    yield "7 twice", [close(1000), close(1000)], [(CLOSE, 1000)]
    yield "7 a ping behind it", [close(1000), frame(PING, "x")], [(CLOSE, 1000)]
    yield "7 a message behind it", [close(1000), frame(TEXT, "x")], [(CLOSE, 1000)]
    begun = frame(TEXT, "fragment", fin=False)
    yield "7 within a message", [begun, close(1000), frame(CONTINUATION, "rest")], [(CLOSE, 1000)]
    long = b"*" * 262144
    yield "7 after a long message", [frame(TEXT, long), close(1000), frame(PING)], [echo(long), (CLOSE, 1000)]
    yield "7 empty", [close()], [(CLOSE, None)]
    yield fails("7 half a code", [frame(CLOSE, b"a")], PROTOCOL)
    for reason in (b"", b"Hello", "Hällo".encode(), b"*" * 123):
        yield "7 with a reason", [close(1000, reason)], [(CLOSE, 1000)]
    yield fails("7 with a reason that is too long", [close(1000, b"*" * 124)], PROTOCOL)
    bad = b"\xce\xba\xe1\xbd\xb9\xed\xa0\x80edited"
    yield fails("7 with one that is no text", [close(1000, bad)], INVALID_TEXT)
    for code in (*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999):
        yield f"7 code {code}", [close(code)], [(CLOSE, code)]
    for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
        yield fails(f"7 code {code}", [close(code)], PROTOCOL)
        yield fails(f"7 code {code}", [frame(CLOSE, struct.pack("!H", code) + b"reason")], PROTOCOL)


def short(replies):
    text = repr(replies)
    return text if len(text) < 200 else text[:200] + "…"
