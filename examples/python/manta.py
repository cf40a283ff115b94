"""A Manta client in plain ZeroMQ and MessagePack: connects to a process that listens, finds actors by name, calls them.

The protocol is docs/protocol.md. This client does what is needed to call: it says hello, numbers its frames, acknowledges what comes and sends a sign of life while it waits.
It does not resume a broken connection: then calls raise MantaError.
"""
import random
import struct
import time

import msgpack
import zmq

DATA, HELLO, WELCOME, REFUSE, ACK, BYE = 1, 2, 3, 4, 5, 6
WIRE_NAMED, WIRE_REPLY = 3, 4


class MantaError(Exception):
    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


def frame(kind, sequence, expected, rest=b""):
    return struct.pack("<4sBBHQQ", b"MNTL", 1, kind, 0, sequence, expected) + rest


class Actor:
    def __init__(self, client, process, number):
        self.client, self.process, self.number = client, process, number

    def call(self, method, *arguments, timeout_s=10):
        return self.client.call(self.number, method, arguments, timeout_s)


class Client:
    def __init__(self, address, timeout_s=10):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(address)
        self.sent = self.calls = 0
        self.expected = 1
        self.answers = {}
        process = random.getrandbits(62) + 1
        self.socket.send(frame(HELLO, 0, 1, struct.pack("<QQQBBHI", process, time.time_ns(), 0, 1, 1, 0, 0)))
        self.process = None
        deadline = time.monotonic() + timeout_s
        while self.process is None:
            self.receive(deadline, "a welcome")

    def close(self):
        self.socket.send(frame(BYE, 0, self.expected))
        self.socket.close(linger=100)

    def lookup(self, name):
        """The actor that is registered under the name in that process."""
        process, number = self.call(0, "lookup", (name,))
        return Actor(self, process, number)

    def call(self, actor, method, arguments, timeout_s=10):
        self.calls += 1
        call = self.calls
        head = struct.pack("<B3xIQQQQQ", WIRE_NAMED, 0, actor, 0, call, 0, 0)
        message = head + msgpack.packb(method) + msgpack.packb(list(arguments))
        padded = message + b"\0" * (-len(message) % 8)
        self.sent += 1
        self.socket.send(frame(DATA, self.sent, self.expected, struct.pack("<II", 1, 0) + struct.pack("<II", len(message), 0) + padded))
        deadline = time.monotonic() + timeout_s
        while call not in self.answers:
            self.receive(deadline, f"the answer of {method}")
        status, data = self.answers.pop(call)
        if status:
            raise MantaError(status, data[1])
        return data

    def receive(self, deadline, what):
        if time.monotonic() > deadline:
            raise MantaError(3, f"timed out waiting for {what}")
        if not self.socket.poll(100):
            if self.process:
                self.socket.send(frame(ACK, 0, self.expected))  # a sign of life
            return
        data = self.socket.recv()
        _, _, kind, _, sequence, _ = struct.unpack_from("<4sBBHQQ", data)
        if kind == WELCOME:
            self.process = struct.unpack_from("<Q", data, 24)[0]
        elif kind == REFUSE:
            status, size = struct.unpack_from("<II", data, 24)
            raise MantaError(status, "refused: " + data[32:32 + size].decode())
        elif kind == BYE:
            raise MantaError(13, "the process said goodbye")
        elif kind == DATA and sequence == self.expected:
            self.expected += 1
            self.take(data)
            self.socket.send(frame(ACK, 0, self.expected))

    def take(self, data):
        at = 32
        while at < len(data):
            size = struct.unpack_from("<I", data, at)[0]
            message = data[at + 8:at + 8 + size]
            at += 8 + size + -size % 8
            kind, status, _, _, call = struct.unpack_from("<B3xIQQQ", message)
            if kind == WIRE_REPLY:
                self.answers[call] = (status, msgpack.unpackb(message[48:]) if size > 48 else None)
