"""ICMP errors whose quoted packets scapy saw on the wire."""

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP, IPOption_Router_Alert
from scapy.packet import Raw
from scapy.utils import checksum

from wire import same, with_fields

CLIENT = "10.1.0.70"
REMOTE = "203.0.113.7"
ROUTER = "203.0.113.201"
EXTERNAL = "192.0.2.10"

KINDS = {
    "a network that is not reached": {"type": 3, "code": 0},
    "a host that is not reached": {"type": 3, "code": 1},
    "a port where nobody is": {"type": 3, "code": 3},
    "a path of 1300 bytes": {"type": 3, "code": 4, "nexthopmtu": 1300},
    "a prohibition": {"type": 3, "code": 13},
    "a TTL that ran out": {"type": 11, "code": 0},
    "fragments that did not come": {"type": 11, "code": 1},
    "a wrong byte": {"type": 12, "code": 0, "ptr": 20},
}


def flows():
    """What a client sends, with a name each: with IP options too."""
    options = [IPOption_Router_Alert(), IPOption_NOP(), IPOption_NOP(), IPOption_NOP(), IPOption_NOP()]
    ip = IP(src=CLIENT, dst=REMOTE, id=77, ttl=50)
    by_options = IP(src=CLIENT, dst=REMOTE, id=78, ttl=50, options=options)
    data = bytes(range(200))
    yield "a datagram", ip / UDP(sport=8001, dport=53) / data
    yield "a datagram with IP options", by_options / UDP(sport=8001, dport=53) / data
    yield "a datagram without a checksum", ip / UDP(sport=8001, dport=53, chksum=0) / data
    yield "a SYN", ip / TCP(sport=8002, dport=80, seq=0x12345678) / data
    yield "a SYN with IP options", by_options / TCP(sport=8002, dport=80, seq=0x12345678) / data
    yield "an echo request", ip / ICMP(id=8003, seq=3) / data


def quotations(packet):
    """What of a packet errors quote: a name, the bytes, and what stands in the header and behind."""
    raw = bytes(packet)
    header = packet.ihl * 4
    yield "its headers (RFC 792)", raw[: header + 8], {}, b""
    yield "half of it (RFC 1812)", raw[: len(raw) // 2], {}, b""
    yield "all of it", raw, {}, b""
    # RFC 4884: 128 bytes of it, said in words, and behind them an object of labels (RFC 4950).
    labels = bytes.fromhex("00080101000641ff")
    summed = checksum(b"\x20\0\0\0" + labels)
    behind = b"\x20\0" + summed.to_bytes(2, "big") + labels
    yield "128 bytes of it and an extension (RFC 4884)", raw[:128], {"length": 32}, behind


def error(kind, source, target, quoted, header, behind):
    """An error as a router sends it."""
    icmp = ICMP(**KINDS[kind], **header)
    return IP(src=source, dst=target, tos=0xC0, id=5) / icmp / Raw(quoted + behind)


def is_error(packet):
    return ICMP in packet and packet[ICMP].type in (3, 11, 12)


def errors_from_outside_tell_the_client_of_what_it_sent_itself(inside, outside):
    for name, packet in flows():
        sent = inside.send(packet)
        left = outside.next(name, lambda packet: packet.dst == REMOTE)
        # What the client sent, as it would be at the router: one hop less, and nothing else.
        known = with_fields(sent, hops=sent.ttl - 1)
        for what, quoted, header, behind in quotations(left):
            for kind in KINDS:
                told = outside.send(error(kind, ROUTER, EXTERNAL, quoted, header, behind))
                came = inside.next(f"{kind} about {name}", is_error)
                expected = error(kind, ROUTER, CLIENT, bytes(known)[: len(quoted)], header, behind)
                expected.ttl = told.ttl - 1
                same(f"{kind} about {name}, quoting {what}", came, IP(bytes(expected)))
        print(f"{name}: {len(KINDS)} errors, quoting {[it[0] for it in quotations(left)]}")


def errors_from_inside_show_the_remote_what_it_sent_and_nobody_else(inside, outside):
    for name, packet in flows():
        inside.send(packet)
        left = outside.next(name, lambda packet: packet.dst == REMOTE)
        answer = IP(bytes(left))
        answer.src, answer.dst = REMOTE, EXTERNAL
        if ICMP in answer:
            answer[ICMP].type = 0
        else:
            inner = answer.payload
            inner.sport, inner.dport = left.payload.dport, left.payload.sport
        if TCP in answer:
            answer[TCP].flags = "SA"
        sent = outside.send(with_fields(answer, hops=60))
        came = inside.next(f"the answer to {name}", lambda packet: packet.src == REMOTE)
        known = with_fields(sent, hops=59)
        for what, quoted, header, behind in quotations(came):
            kind = "a port where nobody is"
            told = inside.send(error(kind, CLIENT, REMOTE, quoted, header, behind))
            left = outside.next(f"{kind} about {name}", is_error)
            expected = error(kind, EXTERNAL, REMOTE, bytes(known)[: len(quoted)], header, behind)
            expected.ttl = told.ttl - 1
            same(f"{kind} about the answer to {name}, quoting {what}", left, IP(bytes(expected)))
        print(f"the answer to {name}: the remote knows what it sent")


def errors_that_are_damaged_or_about_nothing_do_not_come_in(inside, outside):
    inside.send(IP(src=CLIENT, dst=REMOTE) / UDP(sport=8100, dport=53) / b"?")
    left = outside.next("a datagram", lambda packet: packet.dst == REMOTE)

    def about(quoted, chksum=None):
        icmp = ICMP(type=3, code=3, chksum=chksum)
        return IP(src=ROUTER, dst=EXTERNAL) / icmp / Raw(bytes(quoted))

    damaged = IP(bytes(left))
    damaged.chksum ^= 1
    nested = about(about(left))
    wrong = {
        "a wrong ICMP checksum": about(left, chksum=1),
        "a quoted header with a wrong checksum": about(damaged),
        "another port": about(with_fields(left, sport=left.sport ^ 1)),
        "another remote": about(with_fields(left, dst="203.0.113.8")),
        "another remote's port": about(with_fields(left, dport=54)),
        "an error": nested,
        "half a header": about(bytes(left)[:12]),
        "a header without ports": about(bytes(left)[:20]),
    }
    for name, packet in wrong.items():
        outside.send(packet)
        came = [packet.summary() for packet in inside.left_since(outside)]
        assert not came, f"{name}: {came}"
        print(f"an error about {name}: silence")
    outside.send(about(left))
    inside.next("the right error", is_error)
