"""Prefixes that are translated one to one, without state."""

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6PacketTooBig, IPv6
from scapy.layers.l2 import GRE
from scapy.layers.sctp import SCTP, SCTPChunkInit
from scapy.packet import Raw

from wire import same, with_fields

HOST = "10.1.0.70"
OUTSIDE = "192.0.2.70"
REMOTE = "203.0.113.7"
# The example of RFC 6296 §3.1.
HOST6 = "fd01:203:405:1::1234"
OUTSIDE6 = "2001:db8:1:d550::1234"
REMOTE6 = "2001:db8::cb00:7107"
ROUTER6 = "2001:db8::cb00:71c9"


def bodies():
    """What both versions carry, with a name each."""
    yield "a datagram", UDP(sport=5300, dport=53) / b"question"
    yield "a SYN", TCP(sport=5301, dport=80, options=[("MSS", 1220)])
    yield "a segment of no connection", TCP(sport=5302, dport=80, flags="FPA", ack=9) / b"middle"
    yield "an association", SCTP(sport=5303, dport=3868) / SCTPChunkInit(init_tag=1)
    yield "a tunnel", GRE() / Raw(b"inside")


def a_host_is_its_external_address_in_whatever_it_sends_and_gets(inside, outside):
    for name, body in [*bodies(), ("an echo request", ICMP(id=5304) / b"odd")]:
        for ways in (({"src": HOST, "dst": REMOTE}, "out"), ({"src": REMOTE, "dst": OUTSIDE}, "in")):
            ends, way = ways
            entry, exit, to = (inside, outside, REMOTE) if way == "out" else (outside, inside, HOST)
            changed = {"src": OUTSIDE} if way == "out" else {"dst": HOST}
            sent = entry.send(IP(**ends) / body)
            left = exit.next(f"{name}, {way}", lambda packet: packet.dst == to)
            same(f"{name}, {way}", left, with_fields(sent, hops=sent.ttl - 1, **changed))
        print(f"{name}: as it was, both ways")


def prefixes_of_ipv6_make_up_for_each_other_so_that_no_checksum_changes(inside, outside):
    for name, body in [*bodies(), ("an echo request", ICMPv6EchoRequest(id=5304, data=b"odd"))]:
        sent = inside.send(IPv6(src=HOST6, dst=REMOTE6, hlim=64) / body)
        left = outside.next(name, lambda packet: packet.dst == REMOTE6)
        assert left.src == OUTSIDE6, left.src
        # Not one byte behind the header, and yet the checksums are those of the new addresses.
        assert bytes(left.payload) == bytes(sent.payload), f"{name}: {left!r}"
        same(name, left, with_fields(sent, src=OUTSIDE6, hops=63))

        sent = outside.send(IPv6(src=REMOTE6, dst=OUTSIDE6, hlim=64) / body)
        came = inside.next(f"{name} back", lambda packet: packet.src == REMOTE6)
        assert bytes(came.payload) == bytes(sent.payload), f"{name}: {came!r}"
        same(f"{name} back", came, with_fields(sent, dst=HOST6, hops=63))
        print(f"{name}: not one byte behind the header changed")


def errors_about_a_hosts_packets_quote_what_it_sent(inside, outside):
    sent = inside.send(IPv6(src=HOST6, dst=REMOTE6) / UDP(sport=5400, dport=53) / b"question")
    left = outside.next("a datagram", lambda packet: packet.dst == REMOTE6)
    known = with_fields(sent, hops=63)
    for said in (ICMPv6PacketTooBig(mtu=1300), ICMPv6DestUnreach(code=4)):
        outside.send(IPv6(src=ROUTER6, dst=OUTSIDE6, hlim=60) / said / Raw(bytes(left)))
        came = inside.next("an error", lambda packet: packet.src == ROUTER6)
        expected = IPv6(src=ROUTER6, dst=HOST6, hlim=59) / said / Raw(bytes(known))
        same("an error", came, IPv6(bytes(expected)))
        print(came.summary())
