"""Packets in fragments: cut up and put together again by scapy."""

import random

from scapy.layers.inet import IP, TCP, UDP, defragment, fragment
from scapy.packet import Raw

from wire import check, same, with_fields

CLIENT = "10.1.0.70"
REMOTE = "203.0.113.7"
EXTERNAL = "192.0.2.10"


def whole(edge, what, count):
    """What the next fragments become when they are put together, with right checksums."""
    pieces = [edge.next(what, lambda packet: packet.flags.MF or packet.frag) for _ in range(count)]
    # Scapy takes the last one as the end.
    packets = list(defragment(sorted(pieces, key=lambda piece: piece.frag)))
    assert len(packets) == 1, f"{what} is {[(piece.id, piece.frag) for piece in pieces]}"
    packet = IP(bytes(packets[0]))
    check(packet)
    return packet


def orders(pieces):
    """The fragments in some orders, with a name each."""
    shuffled = list(pieces)
    random.Random(4963).shuffle(shuffled)
    yield "in order", list(pieces)
    yield "reversed", pieces[::-1]
    yield "with the first one last", [*pieces[1:], pieces[0]]
    yield "shuffled", shuffled


def datagrams_in_fragments_of_any_size_are_whole_again_in_whatever_order_they_come(inside, outside):
    number = 0
    # The smallest that there can be, odd ones, and such as fill the link.
    for size, length in [(8, 60), (24, 200), (1480, 4000)]:
        order_names = [name for name, _ in orders(range(4))]
        for name in order_names:
            number += 1
            what = f"{length} bytes in fragments of {size}, {name}"
            data = Raw(random.Random(number).randbytes(length))
            sent = IP(src=CLIENT, dst=REMOTE, id=number, ttl=64) / UDP(sport=6000, dport=53) / data
            sent = IP(bytes(sent))
            pieces = dict(orders(fragment(sent, fragsize=size)))[name]
            inside.send(*pieces)
            left = whole(outside, what, len(pieces))
            assert left.src == EXTERNAL, left.src
            same(what, left, with_fields(sent, src=EXTERNAL, hops=63, sport=left.sport))

            back = IP(src=REMOTE, dst=EXTERNAL, id=number, ttl=64) / UDP(sport=53, dport=left.sport) / data
            back = IP(bytes(back))
            outside.send(*dict(orders(fragment(back, fragsize=size)))[name])
            came = whole(inside, f"the answer to {what}", len(pieces))
            same(what, came, with_fields(back, dst=CLIENT, hops=63, dport=6000))
            print(f"{what}: {len(pieces)} each way")


def of_fragments_that_overlap_only_what_came_first_passes(inside, outside):
    sent = IP(src=CLIENT, dst=REMOTE) / UDP(sport=6100, dport=53) / bytes(range(96))
    first, second, third, last = fragment(IP(bytes(sent)), fragsize=32)
    # Eight at once: one of them stands in many a checksum and port.
    other = b"\xee" * 8
    evil = second.copy()
    evil[Raw].load = other * 4
    shifted = evil.copy()
    shifted.frag = second.frag - 1
    longer = evil.copy()
    longer[Raw].load = other * 5
    all_but_second = [first, third, last]
    everything = [first, second, third, last]
    cases = [
        ("a fragment again with other data", [first, second, evil, third, last], everything),
        ("a fragment that begins in the one before", [first, shifted, third, last], all_but_second),
        ("a fragment that ends in the one behind", [first, third, longer, last], all_but_second),
    ]
    for number, (name, pieces, passing) in enumerate(cases):
        inside.send(*(numbered(piece, 100 + number) for piece in pieces))
        left = outside.left_since(inside)
        assert [packet.frag for packet in left] == [piece.frag for piece in passing], f"{name}: {left}"
        assert not any(other in bytes(packet.payload) for packet in left), f"{name}: {left}"
        print(f"{name}: {len(left)} of {len(pieces)} left")


def numbered(piece, number):
    """A fragment of the packet of that number."""
    piece = piece.copy()
    piece.id = number
    del piece.len, piece.chksum
    return piece


def a_first_fragment_without_a_whole_transport_header_is_dropped_with_all_others(inside, outside):
    for number, size in enumerate([8, 16]):
        segment = IP(src=CLIENT, dst=REMOTE, id=200 + number) / TCP(sport=6200, dport=80) / (b"x" * 80)
        inside.send(*fragment(IP(bytes(segment)), fragsize=size))
        left = [packet.summary() for packet in outside.left_since(inside)]
        assert not left, left
        print(f"a segment whose first fragment has {size} bytes: nothing left")
