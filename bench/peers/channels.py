"""Ways of carrying a message from one process to another, each behind the same five verbs.

    made, before the fork --> open_receiver --> both are there --> open_sender --> both are there --> send, receive

A message is `size` bytes. `send` waits for room and `receive` for a message; each hands over and takes `bytes`.
`side` 0 sends on lane 0 and receives on lane 1; side 1 the other way round. How each is configured, and after
which page of its own documentation, is said at its class.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable, Sequence
from multiprocessing import get_context, shared_memory
from typing import Any, ClassVar, cast

CAPACITY = 1024  # messages that wait, where a channel lets one choose
WINDOW = 512  # messages without an answer, on channels that lose what nobody reads in time
PARK_NS = 1_000_000_000


class Channel:
    """Two lanes between side 0 and side 1."""

    package: ClassVar[str] = "Python"
    threads: ClassVar[bool] = False  # both sides in one process
    lossy: ClassVar[bool] = False  # overwrites what was not read in time

    def __init__(self, name: str, size: int) -> None:
        """Make what the fork must inherit. `name` is unique on this machine."""
        self.name = name
        self.size = size

    def open_receiver(self, side: int) -> None:
        """The end of lane `1 - side` on which this side receives."""

    def open_sender(self, side: int) -> None:
        """The end of lane `side` on which this side sends."""

    def send(self, message: bytes) -> None:
        """One message."""
        raise NotImplementedError

    def receive(self) -> bytes:
        """One message."""
        raise NotImplementedError

    def send_many(self, messages: Sequence[bytes]) -> None:
        """All of them, in one call where the channel has one."""
        for message in messages:
            self.send(message)

    def receive_many(self, count_max: int) -> Sequence[bytes]:
        """At least one, at most `count_max`, in one call where the channel has one."""
        return [self.receive()]

    def close(self, side: int) -> None:
        """Let go; side 0 also removes what was made."""


# ---- hotpath -------------------------------------------------------------------------------------------------------


class HotpathSpin(Channel):
    """hotpath's ring, as its own co-processes use it: one cffi call a message on buffers made beforehand, spinning."""

    package = "hotpath"

    def __init__(self, name: str, size: int) -> None:
        super().__init__(name, size)
        from hotpath.rings import create_ring

        self.made = [
            segment
            for lane in (0, 1)
            for segment in create_ring(name, f"lane{lane}", capacity=CAPACITY, readers=["peer"], run_epoch=1)
        ]

    def open_receiver(self, side: int) -> None:
        from ffi import ffi, lib
        from hotpath.rings import RingReader

        self.reader = RingReader(self.name, f"lane{1 - side}", "peer", gating=True)
        self.lib, self.lost = lib, ffi.new("uint64_t *")
        self.taken = ffi.new("uint8_t[]", CAPACITY * 128)
        self.view = ffi.buffer(self.taken)  # a slice of it is `bytes`
        self.message = slice(8, 8 + self.size)

    def open_sender(self, side: int) -> None:
        from ffi import ffi
        from hotpath.rings import RingWriter

        self.writer = RingWriter(self.name, f"lane{side}", gates=["peer"])
        self.event = ffi.new("uint8_t[]", 128)  # the stamp, then the message
        self.body = memoryview(ffi.buffer(self.event))

    def send(self, message: bytes) -> None:
        self.body[self.message] = message
        publish, writer, event, size = self.lib.ring_publish, self.writer.c, self.event, self.size + 8
        while publish(writer, event, size):
            pass

    def receive(self) -> bytes:
        copy, reader, taken, lost = self.lib.ring_copy, self.reader.c, self.taken, self.lost
        while not copy(reader, taken, 1, lost):
            pass
        message: bytes = self.view[self.message]
        return message

    def receive_many(self, count_max: int) -> Sequence[bytes]:
        copy, reader, taken, lost = self.lib.ring_copy, self.reader.c, self.taken, self.lost
        while not (count := copy(reader, taken, count_max, lost)):
            pass
        view, size = self.view, self.size
        return [view[at : at + size] for at in range(8, count * 128, 128)]

    def close(self, side: int) -> None:
        if side == 0:
            from hotpath.segments import unlink_all

            unlink_all(segment.info for segment in self.made)


class HotpathPark(HotpathSpin):
    """The same, sleeping on a doorbell until there is a message: arm, look again, park."""

    def __init__(self, name: str, size: int) -> None:
        super().__init__(name, size)
        from hotpath.rings import Doorbell

        self.made += [Doorbell.create(name, f"bell{lane}", run_epoch=1) for lane in (0, 1)]

    def open_receiver(self, side: int) -> None:
        from hotpath.rings import Doorbell

        super().open_receiver(side)
        self.bell = Doorbell(self.name, f"bell{1 - side}")

    def open_sender(self, side: int) -> None:
        from hotpath.rings import RingWriter

        super().open_sender(side)
        self.writer = RingWriter(self.name, f"lane{side}", gates=["peer"], bells=[f"bell{side}"])

    def receive(self) -> bytes:
        copy, reader, taken, lost = self.lib.ring_copy, self.reader.c, self.taken, self.lost
        while not copy(reader, taken, 1, lost):
            self.bell.arm()
            if copy(reader, taken, 1, lost):
                self.bell.disarm()
                break
            self.bell.park(timeout_ns=PARK_NS)
        message: bytes = self.view[self.message]
        return message


# ---- the standard library ------------------------------------------------------------------------------------------


class Pipe(Channel):
    """multiprocessing.Pipe with send_bytes and recv_bytes, which pickle nothing; blocking."""

    def __init__(self, name: str, size: int) -> None:
        super().__init__(name, size)
        self.lanes = [get_context("fork").Pipe(duplex=False) for _ in (0, 1)]

    def open_receiver(self, side: int) -> None:
        self.incoming = self.lanes[1 - side][0]

    def open_sender(self, side: int) -> None:
        self.outgoing = self.lanes[side][1]

    def send(self, message: bytes) -> None:
        self.outgoing.send_bytes(message)

    def receive(self) -> bytes:
        return self.incoming.recv_bytes()


class Queue(Channel):
    """multiprocessing.Queue: any object, pickled, by a feeder thread; blocking."""

    def __init__(self, name: str, size: int) -> None:
        super().__init__(name, size)
        self.lanes: list[Any] = [get_context("fork").Queue(CAPACITY) for _ in (0, 1)]

    def open_receiver(self, side: int) -> None:
        self.incoming = self.lanes[1 - side]

    def open_sender(self, side: int) -> None:
        self.outgoing = self.lanes[side]

    def send(self, message: bytes) -> None:
        self.outgoing.put(message)

    def receive(self) -> bytes:
        message: bytes = self.incoming.get()
        return message


class SharedMemory(Channel):
    """multiprocessing.shared_memory: no queue comes with it, so a ring of head and tail words by hand; spinning.

    Words are stored through a memoryview of 8 bytes: whole on x86-64, whose stores keep their order.
    """

    HEAD, TAIL, SLOTS = 0, 8, 16  # words of 8 bytes: each counter on a cache line of its own

    def __init__(self, name: str, size: int) -> None:
        super().__init__(name, size)
        self.lanes = [shared_memory.SharedMemory(create=True, size=self.SLOTS * 8 + CAPACITY * size) for _ in (0, 1)]

    def open_receiver(self, side: int) -> None:
        self.in_bytes = memoryview(cast(bytes, self.lanes[1 - side].buf))
        self.in_words = self.in_bytes.cast("Q")
        self.next_in = 0

    def open_sender(self, side: int) -> None:
        self.out_bytes = memoryview(cast(bytes, self.lanes[side].buf))
        self.out_words = self.out_bytes.cast("Q")
        self.next_out = 0

    def send(self, message: bytes) -> None:
        words, number = self.out_words, self.next_out
        while number - words[self.TAIL] >= CAPACITY:
            pass
        at = self.SLOTS * 8 + number % CAPACITY * self.size
        self.out_bytes[at : at + self.size] = message
        self.next_out = words[self.HEAD] = number + 1

    def receive(self) -> bytes:
        words, number = self.in_words, self.next_in
        while words[self.HEAD] == number:
            pass
        at = self.SLOTS * 8 + number % CAPACITY * self.size
        message = bytes(self.in_bytes[at : at + self.size])
        self.next_in = words[self.TAIL] = number + 1
        return message

    def close(self, side: int) -> None:
        for view in (self.in_words, self.in_bytes, self.out_words, self.out_bytes):
            view.release()
        for lane in self.lanes:
            lane.close()
            if side == 0:
                lane.unlink()


# ---- packages ------------------------------------------------------------------------------------------------------


class ZmqIpc(Channel):
    """pyzmq, ipc://, PAIR; blocking. Copying, as both guides advise for short messages."""

    package = "pyzmq"

    def open_receiver(self, side: int) -> None:
        import zmq

        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.PAIR)
        address = f"ipc:///tmp/{self.name}.zmq"
        (self.socket.connect if side else self.socket.bind)(address)

    def send(self, message: bytes) -> None:
        self.socket.send(message)

    def receive(self) -> bytes:
        message: bytes = self.socket.recv()
        return message

    def close(self, side: int) -> None:
        self.socket.close()
        self.context.term()
        if side == 0:
            os.unlink(f"/tmp/{self.name}.zmq")


class ZmqEnd(Channel):
    """One thread's socket."""

    def __init__(self, name: str, size: int, socket: Any) -> None:
        super().__init__(name, size)
        self.socket = socket

    def send(self, message: bytes) -> None:
        self.socket.send(message)

    def receive(self) -> bytes:
        message: bytes = self.socket.recv()
        return message


class ZmqInproc(Channel):
    """pyzmq, inproc://, PAIR, between two threads of one process: there is no other way; blocking."""

    package = "pyzmq"
    threads = True

    def __init__(self, name: str, size: int) -> None:
        super().__init__(name, size)
        import zmq

        self.context = zmq.Context(0)  # inproc needs no I/O thread
        self.sockets: list[Any] = [self.context.socket(zmq.PAIR) for _ in (0, 1)]
        self.sockets[0].bind(f"inproc://{name}")
        self.sockets[1].connect(f"inproc://{name}")

    def side(self, side: int) -> Channel:
        """The channel as one thread sees it."""
        return ZmqEnd(self.name, self.size, self.sockets[side])

    def close(self, side: int) -> None:
        for each in self.sockets:
            each.close()
        self.context.term()


class PosixQueue(Channel):
    """posix_ipc.MessageQueue of ten messages, the system's own limit; blocking."""

    package = "posix-ipc"
    DEPTH = 10

    def __init__(self, name: str, size: int) -> None:
        super().__init__(name, size)
        import posix_ipc

        self.lanes = [
            posix_ipc.MessageQueue(f"/{name}.{lane}", posix_ipc.O_CREX, max_messages=self.DEPTH, max_message_size=size)
            for lane in (0, 1)
        ]

    def open_receiver(self, side: int) -> None:
        self.incoming = self.lanes[1 - side]

    def open_sender(self, side: int) -> None:
        self.outgoing = self.lanes[side]

    def send(self, message: bytes) -> None:
        self.outgoing.send(message)

    def receive(self) -> bytes:
        message: bytes = self.incoming.receive()[0]
        return message

    def close(self, side: int) -> None:
        for lane in self.lanes:
            lane.close()
            if side == 0:
                lane.unlink()


class Iceoryx2(Channel):
    """iceoryx2, publish and subscribe of a fixed struct, without overflow, so that a sender waits; spinning."""

    package = "iceoryx2"

    def _service(self, lane: int) -> Any:
        import iceoryx2

        iceoryx2.set_log_level(iceoryx2.LogLevel.Error)
        self.struct: Any = type("Message", (ctypes.Structure,), {"_fields_": [("bytes", ctypes.c_uint8 * self.size)]})
        self.node = iceoryx2.NodeBuilder.new().create(iceoryx2.ServiceType.Ipc)
        builder = self.node.service_builder(iceoryx2.ServiceName.new(f"{self.name}/{lane}"))
        service = builder.publish_subscribe(self.struct).max_publishers(1).max_subscribers(1)
        return service.enable_safe_overflow(False).subscriber_max_buffer_size(CAPACITY).open_or_create()

    def open_receiver(self, side: int) -> None:
        self.incoming = self._service(1 - side)
        self.subscriber = self.incoming.subscriber_builder().create()

    def open_sender(self, side: int) -> None:
        self.outgoing = self._service(side)
        self.publisher = self.outgoing.publisher_builder().create()

    def send(self, message: bytes) -> None:
        self.publisher.loan_uninit().write_payload(self.struct.from_buffer_copy(message)).send()

    def receive(self) -> bytes:
        take = self.subscriber.receive
        while (sample := take()) is None:
            pass
        return bytes(sample.payload().contents.bytes)


class Kickmsg(Channel):
    """kickmsg, publish and subscribe; spinning with try_receive. Loses what is not read in time."""

    package = "kickmsg"
    lossy = True

    def __init__(self, name: str, size: int) -> None:
        super().__init__(name, size)
        import kickmsg

        config = kickmsg.Config()
        config.max_subscribers, config.sub_ring_capacity = 2, CAPACITY
        config.pool_size, config.max_payload_size = 4 * CAPACITY, size
        self.regions = [
            kickmsg.SharedRegion.create(f"/{name}.{lane}", kickmsg.ChannelType.PubSub, config) for lane in (0, 1)
        ]

    def open_receiver(self, side: int) -> None:
        import kickmsg

        self.subscriber = kickmsg.Subscriber(kickmsg.SharedRegion.open(f"/{self.name}.{1 - side}"))

    def open_sender(self, side: int) -> None:
        import kickmsg

        self.publisher = kickmsg.Publisher(kickmsg.SharedRegion.open(f"/{self.name}.{side}"))

    def send(self, message: bytes) -> None:
        self.publisher.send(message)

    def receive(self) -> bytes:
        take: Callable[[], Any] = self.subscriber.try_receive
        while (message := take()) is None:
            pass
        found: bytes = message
        return found

    def close(self, side: int) -> None:
        if side == 0:
            for region in self.regions:
                region.unlink()


class Cloudtoid(Channel):
    """cloudtoid-interprocess, one queue a lane; spinning with try_receive."""

    package = "cloudtoid-interprocess"

    def open_receiver(self, side: int) -> None:
        import cloudtoid_interprocess

        self.subscriber = cloudtoid_interprocess.Subscriber(f"{self.name}.{1 - side}", CAPACITY * 128)

    def open_sender(self, side: int) -> None:
        import cloudtoid_interprocess

        self.publisher = cloudtoid_interprocess.Publisher(f"{self.name}.{side}", CAPACITY * 128)

    def send(self, message: bytes) -> None:
        put = self.publisher.try_send
        while not put(message):
            pass

    def receive(self) -> bytes:
        take: Callable[[], bytes | None] = self.subscriber.try_receive
        while (message := take()) is None:
            pass
        return message

    def send_many(self, messages: Sequence[bytes]) -> None:
        sent = 0
        while sent < len(messages):
            sent += self.publisher.try_send_batch(messages[sent:] if sent else messages)

    def close(self, side: int) -> None:
        self.publisher.close()
        self.subscriber.close()


class SlickQueue(Channel):
    """slick-queue-py, without loss detection, as it says for maximum throughput; spinning. Overwrites the unread."""

    package = "slick-queue-py"
    lossy = True

    def __init__(self, name: str, size: int) -> None:
        super().__init__(name, size)
        import slick_queue_py

        traits = type("Fast", (slick_queue_py.QueueTraits,), {"enable_loss_detection": False})
        self.lanes = [
            slick_queue_py.SlickQueue(name=f"{name}.{lane}", size=CAPACITY, element_size=size, traits=traits)
            for lane in (0, 1)
        ]

    def open_receiver(self, side: int) -> None:
        self.incoming, self.index = self.lanes[1 - side], 0

    def open_sender(self, side: int) -> None:
        self.outgoing = self.lanes[side]

    def send(self, message: bytes) -> None:
        queue = self.outgoing
        index = queue.reserve()
        queue[index][: self.size] = message
        queue.publish(index)

    def receive(self) -> bytes:
        take, index = self.incoming.read, self.index
        message, _, after = take(index)
        while message is None:
            message, _, after = take(index)
        self.index = after
        return bytes(message)

    def close(self, side: int) -> None:
        for lane in self.lanes:
            lane.close()
            if side == 0:
                lane.unlink()


class Subetha(Channel):
    """subetha-ipc, SpscRing on a file in shared memory; spinning."""

    package = "subetha-ipc"

    def __init__(self, name: str, size: int) -> None:
        super().__init__(name, size)
        import subetha

        self.paths = [f"/dev/shm/{name}.{lane}" for lane in (0, 1)]
        self.lanes = [subetha.SpscRing(path, CAPACITY) for path in self.paths]

    def open_receiver(self, side: int) -> None:
        import subetha

        self.incoming = subetha.SpscRing.open(self.paths[1 - side], CAPACITY)

    def open_sender(self, side: int) -> None:
        import subetha

        self.outgoing = subetha.SpscRing.open(self.paths[side], CAPACITY)

    def send(self, message: bytes) -> None:
        push = self.outgoing.push
        while not push(message):
            pass

    def receive(self) -> bytes:
        pop: Callable[[], bytes | None] = self.incoming.pop
        while (message := pop()) is None:
            pass
        return message

    def send_many(self, messages: Sequence[bytes]) -> None:
        sent = 0
        while sent < len(messages):
            sent += self.outgoing.push_many(messages[sent:] if sent else messages)

    def receive_many(self, count_max: int) -> Sequence[bytes]:
        pop: Callable[[int], list[bytes]] = self.incoming.pop_many
        while not (messages := pop(count_max)):
            pass
        return messages

    def close(self, side: int) -> None:
        if side == 0:
            for path in self.paths:
                os.unlink(path)


CHANNELS: dict[str, type[Channel]] = {
    "hotpath_spin": HotpathSpin,
    "hotpath_park": HotpathPark,
    "pipe": Pipe,
    "queue": Queue,
    "shared_memory": SharedMemory,
    "zmq_ipc": ZmqIpc,
    "zmq_inproc": ZmqInproc,
    "posix_queue": PosixQueue,
    "iceoryx2": Iceoryx2,
    "kickmsg": Kickmsg,
    "cloudtoid": Cloudtoid,
    "slick_queue": SlickQueue,
    "subetha": Subetha,
}


def message_of(number: int, size: int) -> bytes:
    """A message that says its number in each word, so that a torn one shows."""
    return struct.pack("<Q", number) * (size // 8)
