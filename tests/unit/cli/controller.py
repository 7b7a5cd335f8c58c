"""A policy controller that gives the answers it was told to."""

import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PODS = [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop", "labels": {"app": name}},
         "status": {"podIP": address}} for name, address in (("web", "10.32.0.9"), ("db", "10.40.0.1"))]


@contextmanager
def controller(path: Path, answers: Sequence[object]) -> Iterator[list[str]]:
    """Listen at a socket and give these answers, one after the other; what is asked is in the list."""
    asked: list[str] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        server = threading.Thread(target=_serve, args=(listener, answers, asked))
        server.start()
        yield asked
        server.join()


def _serve(listener: socket.socket, answers: Sequence[object], asked: list[str]) -> None:
    for answer in answers:
        connection, _ = listener.accept()
        with connection:
            asked.append(connection.recv(65536).split()[1].decode())
            body = json.dumps(answer).encode()
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
                               + str(len(body)).encode() + b"\r\nconnection: close\r\n\r\n" + body)
