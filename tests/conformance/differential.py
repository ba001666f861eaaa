"""The same seeded sequences of frames, right ones and wrong ones, to two servers: their replies compared.

Where both are right about a sequence and still differ there is a reason, and it stands in KNOWN."""

import random

from wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Client, close, frame

# What a sequence ends with, the codes with which this server and the other close then, and why.
KNOWN = {
    "a length that is not minimal": (
        1002,
        1000,
        "RFC 6455, 5.2: the minimal number of bytes MUST be used; websockets takes any",
    ),
    "a close frame within a message": (
        1000,
        1002,
        "RFC 6455, 5.4: control frames MAY be injected in the middle; websockets wants the message first",
    ),
}


def run(ours, theirs, seeds):
    """Runs the seeds; gives how often what ended them, and what differed without a known reason."""
    failures, endings = [], {}
    for seed in range(seeds):
        steps, ending = sequence(random.Random(seed))
        endings[ending] = endings.get(ending, 0) + 1
        our, their = [outcome(address, steps, random.Random(seed)) for address in (ours, theirs)]
        if not is_fine(ending, our, their):
            failures.append(f"seed {seed}, {ending}: {our[-2:]!r:.200} here, {their[-2:]!r:.200} there")
    return endings, failures


def is_fine(ending, our, their):
    if ending not in KNOWN:
        return our == their
    our_code, their_code, _ = KNOWN[ending]
    is_as_known = our[-1] == (CLOSE, our_code) and their[-1] == (CLOSE, their_code)
    return is_as_known and our[:-1] == their[: len(our) - 1]


def outcome(address, steps, random):
    """All replies. Each step is answered before the next is sent: when one server has answered all before a
    wrong frame and the other none, both are right."""
    client = Client(address)
    due = 0
    try:
        for data, replies in steps:
            for piece in chopped(data, random):
                client.send(piece)
            due += replies
            client.wait_for(due)
        return client.the_rest()
    except (AssertionError, OSError) as error:
        return [*client.replies, repr(error)]


def chopped(data, random):
    if random.random() < 0.5:
        return [data]
    cuts = sorted(random.randrange(len(data) + 1) for _ in range(random.randrange(1, 6)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)])]


def sequence(random):
    """Steps, each with how many replies are due to it, and what the last of them is."""
    steps = []
    for _ in range(random.randrange(6)):
        steps.extend(random.choice((message, message, pings))(random))
    ending = random.choice(list(ENDINGS))
    steps.extend((data, 0) for data in ENDINGS[ending](random))
    # That a text is none websockets notices only when the application asks for it, which is when it likes.
    if ending != "text that is not UTF-8" and random.random() < 0.5:
        steps.append((frame(PING, "behind") + frame(TEXT, "behind") + close(1000), 0))
    return steps, ending


def message(random):
    """One in any number of fragments, with control frames between."""
    opcode = random.choice((TEXT, BINARY))
    payload = text(random) if opcode == TEXT else random.randbytes(size(random))
    cuts = sorted(random.randrange(len(payload) + 1) for _ in range(random.choice((0, 0, 1, 2, 5))))
    for start, end in zip([0, *cuts], [*cuts, None]):
        is_last = end is None
        yield frame(opcode, payload[start:end], fin=is_last), int(is_last)
        opcode = CONTINUATION
        if not is_last and random.random() < 0.3:
            yield from pings(random)


def pings(random):
    payload = random.randbytes(random.choice((0, 1, 20, 125)))
    if random.random() < 0.3:
        return [(frame(PONG, payload), 0)]
    return [(frame(PING, payload), 1)]


def size(random):
    return random.choice((0, 1, 10, 125, 126, 127, 1000, 65535, 65536, 100_000))


def text(random):
    alphabet = random.choice(("abc", "aé€\U0001d11e", "\0\x7f\x80\u07ff\u0800\uffff\U0010ffff"))
    return "".join(random.choices(alphabet, k=min(size(random), 20_000))).encode()


def good_close(random):
    code = random.choice((1000, 1001, 1002, 1003, *range(1007, 1015), 3000, random.randrange(3000, 5000)))
    return [close(code, text(random)[: random.choice((0, 10))].decode(errors="ignore").encode())]


def bad_close(random):
    code = random.choice((0, 1004, 1005, 1006, 1015, random.randrange(1000), random.randrange(1016, 3000), 5000))
    return [close(code, b"reason")]


def not_text(random):
    bad = random.choice((b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\xc3x"))
    payload = text(random)[:100].decode(errors="ignore").encode() + bad
    cut = random.randrange(len(payload) + 1)
    return random.choice(
        (
            [frame(TEXT, payload)],
            [frame(TEXT, payload[:cut], fin=False) + frame(CONTINUATION, payload[cut:])],
        )
    )


def any_opcode(random):
    return random.choice((TEXT, BINARY, PING, PONG, CLOSE))


def begun(random):
    return [frame(TEXT, "begun", fin=False)]


def not_minimal(random):
    opcode = random.choice((TEXT, BINARY, PING))
    if random.random() < 0.5 or opcode == PING:
        return [frame(opcode, b"x" * random.randrange(126), form=16), close(1000)]
    return [frame(opcode, b"x" * random.choice((0, 125, 126, 65535)), form=64), close(1000)]


ENDINGS = {
    "a close frame": good_close,
    "an empty close frame": lambda random: [close()],
    "a close frame within a message": lambda random: begun(random) + [close(1000)],
    "a code that must not be sent": bad_close,
    "half a code": lambda random: [frame(CLOSE, b"\x03")],
    "a reason that is no text": lambda random: [close(1000, b"\xff")],
    "text that is not UTF-8": not_text,
    "no mask": lambda random: [frame(any_opcode(random), masked=False)],
    "reserved bits": lambda random: [frame(any_opcode(random), b"", reserved=random.randrange(1, 8))],
    "a reserved opcode": lambda random: [frame(random.choice((3, 4, 5, 6, 7, 11, 12, 13, 14, 15)), "x")],
    "a control frame in fragments": lambda random: [frame(random.choice((PING, PONG, CLOSE)), fin=False)],
    "a long control frame": lambda random: [frame(random.choice((PING, PONG, CLOSE)), b"\x03\xe8" + b"x" * 124)],
    "a fragment of nothing": lambda random: [frame(CONTINUATION, "x", fin=random.random() < 0.5)],
    "a message in a message": lambda random: begun(random) + [frame(random.choice((TEXT, BINARY)), "x")],
    "a message that is too large": lambda random: [frame(TEXT, length=random.choice(((32 << 20) + 1, 1 << 40)))],
    "one in two fragments": lambda random: begun(random) + [frame(CONTINUATION, length=32 << 20)],
    "a length that is not minimal": not_minimal,
}
