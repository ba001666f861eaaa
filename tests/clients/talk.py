"""Keeps a conversation over WebSocket: each line of the input is a JSON string, a message to be sent; each message
that comes is printed on a line. The end of the input ends the conversation, after what has come until then.

    talk.py [--token TOKEN] ws://HOST:PORT/ | unix:PATH
"""

import json
import sys
import threading

from websockets.sync.client import connect, unix_connect


def main():
    *options, place = sys.argv[1:]
    headers = {"Authorization": f"Bearer {options[1]}"} if options else {}
    with open_connection(place, additional_headers=headers) as connection:
        printer = threading.Thread(target=print_all, args=[connection])
        printer.start()
        for line in sys.stdin:
            connection.send(json.loads(line))
        connection.close()
        printer.join()
    if connection.close_code != 1000:
        sys.exit(f"the connection ended with {connection.close_code} {connection.close_reason}")


def open_connection(place, **options):
    # The client's own bound of a message is less than the longest lists.
    options["max_size"] = None
    if place.startswith("unix:"):
        return unix_connect(place.removeprefix("unix:"), **options)
    return connect(place, proxy=None, **options)


def print_all(connection):
    for message in connection:
        print(message, flush=True)


main()
