"""Single packets of odd but legal shapes, and of illegal ones."""

from scapy.layers.inet import (
    ICMP,
    IP,
    TCP,
    UDP,
    IPOption_NOP,
    IPOption_RR,
    IPOption_Router_Alert,
    IPOption_Timestamp,
)
from scapy.packet import Raw

from wire import port_of, rebuilt, same, with_fields

CLIENT = "10.1.0.70"
REMOTE = "203.0.113.7"
EXTERNAL = "192.0.2.10"


def odd():
    """Packets that may begin a flow, with a name each."""
    ip = IP(src=CLIENT, dst=REMOTE, id=4711)
    every_option = [
        IPOption_Router_Alert(),
        IPOption_RR(routers=["0.0.0.0", "0.0.0.0"]),
        IPOption_NOP(),
        IPOption_Timestamp(flg=0, timestamp=0),
    ]
    opened = [
        ("MSS", 1460),
        ("NOP", None),
        ("WScale", 7),
        ("SAckOK", b""),
        (253, b"\xf9\x89a?"),
        ("Timestamp", (1, 0)),
    ]
    yield "an empty datagram", ip / UDP(sport=5001, dport=53)
    yield "a datagram of one byte", ip / UDP(sport=5002, dport=53) / b"?"
    yield "a datagram without a checksum", ip / UDP(sport=5003, dport=53, chksum=0) / b"no sum"
    yield "a datagram whose sum is all ones", ip / UDP(sport=5004, dport=53) / zero_sum()
    with_options = IP(src=CLIENT, dst=REMOTE, options=every_option)
    yield "a datagram with IP options", with_options / UDP(sport=5005, dport=53) / b"by options"
    yield "a datagram of the highest class", IP(src=CLIENT, dst=REMOTE, tos=0xFF, flags="DF") / UDP(
        sport=5006, dport=53
    ) / Raw(b"x" * 1001)
    yield "a SYN with an option nobody knows", ip / TCP(sport=5007, dport=80, options=opened)
    yield "a SYN with data", with_options / TCP(sport=5008, dport=80, seq=0xFFFFFFFF) / b"early"
    yield "a SYN that offers ECN", IP(src=CLIENT, dst=REMOTE, tos=2) / TCP(
        sport=5009, dport=80, flags="SEC", reserved=5, urgptr=17
    )
    yield "an echo request of odd length", ip / ICMP(id=5010, seq=7) / b"odd"
    yield "a timestamp request", ip / ICMP(type=13, id=5011, seq=1, ts_ori=77)


def zero_sum():
    """Data with which the datagram's checksum would be zero, and is sent as all ones (RFC 768)."""
    for client in range(0x10000):
        data = client.to_bytes(2, "big")
        datagram = IP(src=CLIENT, dst=REMOTE) / UDP(sport=5004, dport=53) / data
        if IP(bytes(datagram))[UDP].chksum == 0xFFFF:
            return data
    raise AssertionError("no two bytes do it")


def answer(packet):
    """What the remote might answer: the same shape the other way."""
    back = IP(bytes(packet))
    back.src, back.dst = packet.dst, packet.src
    if ICMP in back:
        back[ICMP].type = {8: 0, 13: 14}[packet[ICMP].type]
    else:
        inner = back.payload
        inner.sport, inner.dport = packet.payload.dport, packet.payload.sport
    if TCP in back:
        back[TCP].flags, back[TCP].ack = "SA", packet[TCP].seq + 1 & 0xFFFFFFFF
    return with_fields(back, hops=60)


def odd_packets_are_translated_and_nothing_else_of_them_changes(inside, outside):
    # The kernel sends the first one on, as the next hops are not known yet, and would fill in options.
    inside.send(IP(src=CLIENT, dst=REMOTE) / UDP(sport=5000, dport=53))
    first = outside.next("the first packet", lambda packet: packet.dst == REMOTE)
    outside.send(answer(first))
    inside.next("the first answer", lambda packet: packet.src == REMOTE)

    for name, packet in odd():
        sent = inside.send(packet)
        left = outside.next(name, lambda packet: packet.dst == REMOTE)
        assert left.src == EXTERNAL, left.src
        port = "id" if ICMP in left else "sport"
        expected = {"src": EXTERNAL, "hops": sent.ttl - 1, port: port_of(left)}
        same(name, left, with_fields(sent, **expected))

        sent = outside.send(answer(left))
        back = inside.next(f"the answer to {name}", lambda packet: packet.src == REMOTE)
        port = "id" if ICMP in back else "dport"
        expected = {"dst": CLIENT, "hops": sent.ttl - 1, port: port_of(packet)}
        same(f"the answer to {name}", back, with_fields(sent, **expected))
        print(f"{name}: {left.summary()}")


def lying():
    """Packets whose IP headers are wrong, with a name each."""
    ip = {"src": CLIENT, "dst": REMOTE}
    udp = {"sport": 5100, "dport": 53}
    yield "a header of four words", IP(ihl=4, **ip) / UDP(**udp) / b"data"
    yield "a header longer than the packet", IP(ihl=15, **ip) / UDP(**udp) / b"data"
    yield "a packet longer than its frame", IP(len=200, **ip) / UDP(**udp) / b"data"
    yield "a packet shorter than its header", IP(len=19, **ip) / UDP(**udp) / b"data"
    yield "a version that is none", IP(version=5, **ip) / UDP(**udp) / b"data"


def lying_inside():
    """Packets whose IP header is right and whose next one is not, with a name each."""
    ip = {"src": CLIENT, "dst": REMOTE}
    udp = {"sport": 5200, "dport": 53}
    tcp = {"sport": 5201, "dport": 80}
    yield "a datagram longer than its packet", IP(**ip) / UDP(len=200, **udp) / b"data"
    yield "a datagram shorter than its header", IP(**ip) / UDP(len=7, chksum=0, **udp) / b"data"
    yield "a segment header of four words", IP(**ip) / TCP(dataofs=4, **tcp) / b"data"
    yield "half a datagram header", IP(proto=17, **ip) / Raw(bytes(UDP(**udp))[:4])
    yield "half a segment header", IP(proto=6, **ip) / Raw(bytes(TCP(**tcp))[:12])
    yield "half a query", IP(proto=1, **ip) / Raw(bytes(ICMP())[:4])


def packets_that_lie_about_themselves_show_nobody_the_client(inside, outside):
    for name, packet in lying():
        inside.send(packet)
        left = [packet.summary() for packet in outside.left_since(inside)]
        assert not left, f"{name}: {left}"
        print(f"{name}: nothing left")
    # Whether a transport header is true is its receiver's business; whose it was is ours.
    for name, packet in lying_inside():
        inside.send(packet)
        left = outside.left_since(inside)
        assert all(packet.src == EXTERNAL for packet in left), f"{name}: {left}"
        print(f"{name}: {[packet.summary() for packet in left] or 'nothing left'}")


def what_was_damaged_on_its_way_does_not_look_right_afterwards(inside, outside):
    ip = IP(src=CLIENT, dst=REMOTE)
    packets = {
        "a datagram": ip / UDP(sport=5301, dport=53) / b"data",
        "a SYN": ip / TCP(sport=5302, dport=80) / b"data",
        "an echo request": ip / ICMP(id=5303) / b"data",
    }
    outside.is_judged = False
    for name, packet in packets.items():
        inside.send(packet)
        whole = outside.next(name, lambda packet: packet.dst == REMOTE)
        same(name, rebuilt(whole), whole)
        for part in ("header", "checksum", "data"):
            inside.send(damaged(packet, part))
            for left in outside.left_since(inside):
                assert left.src == EXTERNAL, left
                assert bytes(rebuilt(left)) != bytes(left), f"{name}, its {part}: {left!r}"
            print(f"{name}, its {part}: not mended")


def damaged(packet, part):
    """The packet with one bit that is not what its sender made."""
    again = IP(bytes(packet))
    if part == "header":
        again.chksum ^= 0x0100
    elif part == "checksum":
        again.payload.chksum ^= 0x0100
    else:
        again = IP(bytes(again)[:-1] + bytes([bytes(again)[-1] ^ 0x10]))
    return again
