"""IPv6 behind NAPT66, and IPv6 that becomes IPv4 and back (NAT64)."""

import random

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, IPOption_LSRR, defragment, fragment
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    PadN,
    defragment6,
    fragment6,
)
from scapy.packet import Raw

from wire import check, port_of, same, with_fields

CLIENT = "2001:db8::a01:46"
REMOTE = "2001:db8::cb00:7107"
ROUTER = "2001:db8::cb00:71c9"
EXTERNAL = "2001:db8::c000:20a"
REMOTE4 = "203.0.113.7"
ROUTER4 = "203.0.113.201"
EXTERNAL4 = "192.0.2.10"
# How the client calls them.
REMOTE64 = "64:ff9b::cb00:7107"
ROUTER64 = "64:ff9b::cb00:71c9"


def to(target):
    """An IPv6 header with every field of its own."""
    return IPv6(src=CLIENT, dst=target, hlim=64, tc=0xB9, fl=0xABCDE)


def bodies():
    """What is sent behind it, with a name each."""
    yield "an empty datagram", UDP(sport=9001, dport=53)
    yield "a datagram", UDP(sport=9001, dport=53) / b"question"
    yield "a SYN with options", TCP(sport=9002, dport=80, options=[("MSS", 1220), ("SAckOK", b"")])
    yield "a SYN with data", TCP(sport=9003, dport=80, flags="SEC", urgptr=3) / b"odd"


def turned(packet):
    """The same the other way."""
    back = packet.__class__(bytes(packet))
    back.src, back.dst = packet.dst, packet.src
    inner = back.lastlayer() if ICMPv6EchoRequest in back else None
    for layer in (UDP, TCP):
        if layer in back:
            inner = back[layer]
            inner.sport, inner.dport = inner.dport, inner.sport
    if TCP in back:
        back[TCP].flags = "SA"
    if ICMPv6EchoRequest in back:
        back[ICMPv6EchoRequest].type = 129
    if ICMP in back:
        back[ICMP].type = 0
    assert inner is not None or ICMP in back
    return with_fields(back, hops=60)


def is_to(address):
    return lambda packet: packet.dst == address


def is_from(address):
    return lambda packet: packet.src == address


def packets_with_extension_headers_are_translated_and_nothing_else_of_them_changes(inside, outside):
    hop = IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 12)])
    target = IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)])
    echo = ("an echo request", ICMPv6EchoRequest(id=9004, seq=1, data=b"odd"))
    for chain_name, chain in {
        "nothing": [],
        "destination options": [target],
        "hop by hop options": [hop],
        "both": [hop, target],
    }.items():
        for name, body in [*bodies(), echo]:
            name = f"{name} behind {chain_name}"
            packet = to(REMOTE)
            for header in chain:
                packet = packet / header.copy()
            sent = inside.send(packet / body)
            left = outside.next(name, is_to(REMOTE))
            port = {"id" if ICMPv6EchoRequest in left else "sport": port_of(left)}
            same(name, left, with_fields(sent, src=EXTERNAL, hops=63, **port))

            back = outside.send(turned(left))
            came = inside.next(f"the answer to {name}", is_from(REMOTE))
            side = "id" if ICMPv6EchoReply in came else "dport"
            port = {side: port_of(sent)}
            same(f"the answer to {name}", came, with_fields(back, dst=CLIENT, hops=59, **port))
        print(f"packets behind {chain_name}: there and back")


def fragments_of_ipv6_are_whole_again_in_whatever_order_they_come(inside, outside):
    for number, order in enumerate(["in order", "reversed", "shuffled"]):
        data = Raw(random.Random(number).randbytes(4000))
        body = UDP(sport=9100, dport=53) / data
        whole = IPv6(bytes(to(REMOTE) / body))
        header = IPv6ExtHdrFragment(id=0x1234567 + number)
        pieces = fragment6(to(REMOTE) / header / body, 1280)
        if order == "reversed":
            pieces.reverse()
        elif order == "shuffled":
            random.Random(8200).shuffle(pieces)
        inside.send(*pieces)
        left = [outside.next(f"a fragment, {order}", is_to(REMOTE)) for _ in pieces]
        again = IPv6(bytes(defragment6(sorted(left, key=lambda it: it[IPv6ExtHdrFragment].offset))))
        check(again)
        same(order, again, with_fields(whole, src=EXTERNAL, hops=63, sport=again[UDP].sport))
        print(f"{len(pieces)} fragments, {order}: whole")


def errors_of_ipv6_tell_the_client_of_what_it_sent_itself(inside, outside):
    kinds = {
        "a path of 1300 bytes": lambda: ICMPv6PacketTooBig(mtu=1300),
        "a port where nobody is": lambda: ICMPv6DestUnreach(code=4),
        "hops that ran out": lambda: ICMPv6TimeExceeded(code=0),
    }
    for name, body in bodies():
        sent = inside.send(to(REMOTE) / body / Raw(b"x" * 400))
        left = outside.next(name, is_to(REMOTE))
        known = with_fields(sent, hops=63)
        for kind, make in kinds.items():
            for length in (48, 120, len(left)):
                told = IPv6(src=ROUTER, dst=EXTERNAL, hlim=60) / make() / Raw(bytes(left)[:length])
                outside.send(told)
                came = inside.next(f"{kind} about {name}", is_from(ROUTER))
                expected = IPv6(src=ROUTER, dst=CLIENT, hlim=59) / make() / Raw(bytes(known)[:length])
                same(f"{kind} about {name}", came, IPv6(bytes(expected)))
        print(f"{name}: {list(kinds)}")


def four(body, port, identification):
    """The IPv4 packet that a packet becomes (RFC 7915 §5.1)."""
    packet = IP(src=EXTERNAL4, dst=REMOTE4, tos=0xB9, ttl=63, id=identification) / body
    return with_fields(IP(bytes(packet)), sport=port)


def packets_of_ipv6_become_ipv4_and_their_answers_ipv6(inside, outside):
    # What stands between the headers is left out (RFC 7915 §5.1).
    options = IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 12)]) / IPv6ExtHdrDestOpt()
    ways = [(name, to(REMOTE64), body) for name, body in bodies()]
    ways += [(f"{name} behind options", to(REMOTE64) / options, body) for name, body in bodies()]
    for name, header, body in ways:
        inside.send(header / body)
        left = outside.next(name, is_to(REMOTE4))
        assert isinstance(left, IP) and not left.flags.DF, left
        same(name, left, four(body, left.payload.sport, left.id))

        inner = turned(left).payload
        outside.send(IP(src=REMOTE4, dst=EXTERNAL4, tos=0x2E, ttl=60, id=7, flags="DF") / inner)
        came = inside.next(f"the answer to {name}", is_from(REMOTE64))
        expected = IPv6(src=REMOTE64, dst=CLIENT, tc=0x2E, hlim=59, fl=came.fl) / inner
        same(f"the answer to {name}", came, with_fields(IPv6(bytes(expected)), dport=body.sport))
        print(f"{name}: there and back")

    inside.send(to(REMOTE64) / ICMPv6EchoRequest(id=9004, seq=5, data=b"odd"))
    left = outside.next("an echo request", is_to(REMOTE4))
    request = ICMP(type=8, id=left[ICMP].id, seq=5) / b"odd"
    ip = IP(src=EXTERNAL4, dst=REMOTE4, tos=0xB9, ttl=63, id=left.id)
    same("an echo request", left, IP(bytes(ip / request)))
    outside.send(IP(src=REMOTE4, dst=EXTERNAL4) / ICMP(type=0, id=left[ICMP].id, seq=5) / b"odd")
    came = inside.next("an echo reply", is_from(REMOTE64))
    assert came[ICMPv6EchoReply].id == 9004 and came[ICMPv6EchoReply].data == b"odd", came
    print("an echo: there and back")


def opened(inside, outside, port):
    """A flow from a port; returns what it is outside."""
    inside.send(to(REMOTE64) / UDP(sport=port, dport=53) / b"?")
    return outside.next("a datagram", is_to(REMOTE4))


def datagrams_without_a_checksum_have_one_when_they_are_ipv6(inside, outside):
    external = opened(inside, outside, 9200).sport
    for number, length in enumerate([0, 1, 900]):
        data = random.Random(number).randbytes(length)
        answer = IP(src=REMOTE4, dst=EXTERNAL4, id=number) / UDP(sport=53, dport=external, chksum=0)
        outside.send(answer / data)
        came = inside.next(f"{length} bytes", is_from(REMOTE64))
        assert came[UDP].dport == 9200 and bytes(came[UDP].payload) == data, came
        print(f"{length} bytes without a checksum: {came[UDP].chksum:#x}")

    for order in ["in order", "reversed"]:
        data = random.Random(order).randbytes(2000)
        answer = IP(src=REMOTE4, dst=EXTERNAL4, id=hash(order) & 0xFFFF)
        answer = answer / UDP(sport=53, dport=external, chksum=0) / data
        pieces = fragment(IP(bytes(answer)), fragsize=800)
        outside.send(*(pieces if order == "in order" else pieces[::-1]))
        came = [inside.next(f"a fragment, {order}", is_from(REMOTE64)) for _ in pieces]
        came.sort(key=lambda it: it[IPv6ExtHdrFragment].offset)
        again = IPv6(bytes(defragment6(came)))
        check(again)
        assert again[UDP].chksum != 0 and bytes(again[UDP].payload) == data, again
        print(f"{len(pieces)} fragments without a checksum, {order}: {again[UDP].chksum:#x}")


def fragments_of_ipv4_become_fragments_of_ipv6_and_back(inside, outside):
    external = opened(inside, outside, 9300).sport
    data = random.Random(6145).randbytes(3000)
    body = UDP(sport=9300, dport=53) / data
    pieces = fragment6(to(REMOTE64) / IPv6ExtHdrFragment(id=0xABCD1234) / body, 1280)
    inside.send(*pieces[::-1])
    left = [outside.next("a fragment", is_to(REMOTE4)) for _ in pieces]
    # RFC 7915 §5.1.1: the lower half of the identification.
    assert all(piece.id == 0x1234 for piece in left), left
    again = IP(bytes(list(defragment(sorted(left, key=lambda it: it.frag)))[0]))
    check(again)
    assert bytes(again[UDP].payload) == data and again[UDP].sport == external, again

    answer = IP(src=REMOTE4, dst=EXTERNAL4, id=0x4321) / UDP(sport=53, dport=external) / data
    pieces = fragment(IP(bytes(answer)), fragsize=1000)
    outside.send(*pieces[::-1])
    came = [inside.next("a fragment", is_from(REMOTE64)) for _ in pieces]
    assert all(piece[IPv6ExtHdrFragment].id == 0x4321 for piece in came), came
    again = IPv6(bytes(defragment6(sorted(came, key=lambda it: it[IPv6ExtHdrFragment].offset))))
    check(again)
    assert bytes(again[UDP].payload) == data and again[UDP].dport == 9300, again
    print(f"{len(left)} fragments there, {len(came)} back")


def errors_of_ipv4_become_errors_of_ipv6_about_what_the_client_sent(inside, outside):
    sent = inside.send(to(REMOTE64) / UDP(sport=9400, dport=53) / bytes(range(100)))
    left = outside.next("a datagram", is_to(REMOTE4))
    # RFC 7915 §4.2: what each becomes; an MTU grows by the header.
    kinds = {
        "a host that is not reached": (ICMP(type=3, code=1), ICMPv6DestUnreach(code=0)),
        "a prohibition": (ICMP(type=3, code=13), ICMPv6DestUnreach(code=1)),
        "a port where nobody is": (ICMP(type=3, code=3), ICMPv6DestUnreach(code=4)),
        "a path of 1400 bytes": (ICMP(type=3, code=4, nexthopmtu=1400), ICMPv6PacketTooBig(mtu=1420)),
        "a TTL that ran out": (ICMP(type=11, code=0), ICMPv6TimeExceeded(code=0)),
    }
    for name, (said, heard) in kinds.items():
        outside.send(IP(src=ROUTER4, dst=EXTERNAL4, ttl=60) / said / Raw(bytes(left)))
        came = inside.next(name, is_from(ROUTER64))
        known = with_fields(sent, hops=63)
        # IPv4 had no place for the flow label.
        known.fl = 0
        expected = IPv6(src=ROUTER64, dst=CLIENT, hlim=59, tc=came.tc, fl=came.fl) / heard
        same(name, came, IPv6(bytes(expected / Raw(bytes(known)))))
        print(f"{name}: {came.summary()}")


def errors_of_ipv6_become_errors_of_ipv4_about_what_the_remote_sent(inside, outside):
    external = opened(inside, outside, 9600).sport
    datagram = UDP(sport=53, dport=external) / bytes(range(100))
    sent = outside.send(IP(src=REMOTE4, dst=EXTERNAL4, ttl=60) / datagram)
    came = inside.next("an answer", is_from(REMOTE64))
    # RFC 7915 §5.2: what each becomes; an MTU shrinks by the header.
    kinds = {
        "an address that is not reached": (ICMPv6DestUnreach(code=3), (3, 1, 0)),
        "a prohibition": (ICMPv6DestUnreach(code=1), (3, 10, 0)),
        "a port where nobody is": (ICMPv6DestUnreach(code=4), (3, 3, 0)),
        "a path of 1400 bytes": (ICMPv6PacketTooBig(mtu=1400), (3, 4, 1380)),
        "hops that ran out": (ICMPv6TimeExceeded(code=0), (11, 0, 0)),
    }
    for name, (said, heard) in kinds.items():
        inside.send(IPv6(src=CLIENT, dst=REMOTE64) / said / Raw(bytes(came)))
        left = outside.next(name, lambda packet: ICMP in packet)
        icmp, quoted = left[ICMP], left[IPerror]
        found = (icmp.type, icmp.code, icmp.nexthopmtu if heard[:2] == (3, 4) else 0)
        assert (left.src, left.dst, found) == (EXTERNAL4, REMOTE4, heard), left
        assert (quoted.src, quoted.dst, quoted.ttl) == (REMOTE4, EXTERNAL4, 59), left
        assert bytes(quoted.payload) == bytes(sent.payload), left
        print(f"{name}: {left.summary()}")


def a_source_route_leads_nobody_into_ipv6(inside, outside):
    external = opened(inside, outside, 9500).sport
    route = IPOption_LSRR(routers=["192.0.2.77"], pointer=4)
    outside.send(
        IP(src=REMOTE4, dst=EXTERNAL4, options=[route]) / UDP(sport=53, dport=external) / b"this way"
    )
    came = [packet.summary() for packet in inside.left_since(outside)]
    assert not came, came
    # Whoever is told something is told that the route failed (RFC 7915 §4.1).
    for told in outside.left_since(inside):
        assert (told.dst, told[ICMP].type, told[ICMP].code) == (REMOTE4, 3, 5), told
    print("a datagram with a source route: nobody")
