"""Connections of which scapy is both ends."""

from scapy.layers.inet import IP, TCP

from wire import same, with_fields

CLIENT = "10.1.0.70"
REMOTE = "203.0.113.7"
STRANGER = "203.0.113.66"
EXTERNAL = "192.0.2.10"


class Connection:
    """An open connection from the client to the remote."""

    def __init__(self, inside, outside, port):
        self.inside, self.outside, self.port = inside, outside, port
        self.external = None
        self.external = self.out("S", seq=1000).sport
        self.back("SA", seq=5000, ack=1001)
        self.out("A", seq=1001, ack=5001)

    def out(self, flags, data=b"", **fields):
        """A segment of the client's, as it leaves."""
        segment = TCP(sport=self.port, dport=80, flags=flags, **fields)
        sent = self.inside.send(IP(src=CLIENT, dst=REMOTE) / segment / data)
        left = self.outside.next(f"a segment {flags}", lambda packet: packet.dst == REMOTE)
        port = self.external or left.sport
        same(flags, left, with_fields(sent, src=EXTERNAL, sport=port, hops=sent.ttl - 1))
        return left

    def back(self, flags, data=b"", **fields):
        """A segment of the remote's, as it comes in."""
        sent = self.outside.send(self.segment(flags, **fields) / data)
        came = self.inside.next(f"a segment {flags}", lambda packet: packet.src == REMOTE)
        same(flags, came, with_fields(sent, dst=CLIENT, dport=self.port, hops=sent.ttl - 1))
        return came

    def segment(self, flags, src=REMOTE, sport=80, dport=None, **fields):
        """A segment from outside, as whoever sends it."""
        port = dport or self.external
        return IP(src=src, dst=EXTERNAL) / TCP(sport=sport, dport=port, flags=flags, **fields)

    def talk(self):
        self.out("PA", b"question", seq=1001, ack=5001)
        self.back("PA", b"answer", seq=5001, ack=1009)


def resets_from_elsewhere_do_not_come_in_and_the_connection_goes_on(inside, outside):
    open_one = Connection(inside, outside, 7100)
    open_one.talk()

    forged = [
        ("from a stranger", open_one.segment("R", src=STRANGER, seq=5001)),
        ("from another port of the remote's", open_one.segment("R", sport=81, seq=5001)),
        ("to another port", open_one.segment("RA", dport=open_one.external ^ 1, seq=5001)),
    ]
    for name, reset in forged:
        outside.send(reset)
        came = [packet.summary() for packet in inside.left_since(outside)]
        answered = [packet.summary() for packet in outside.left_since(inside)]
        assert not came and not answered, f"a reset {name}: {came}, {answered}"
        open_one.talk()
        print(f"a reset {name}: silence, and the connection goes on")
    # The remote's own comes in, and who never sent it can go on as well (RFC 7857 §2.2).
    open_one.back("R", seq=5007)
    open_one.talk()


def a_connection_is_translated_from_its_opening_to_its_end(inside, outside):
    # Urgent data, a keep-alive, zero windows and selective acknowledgements change nothing.
    open_one = Connection(inside, outside, 7200)
    open_one.talk()
    open_one.out("PAU", b"!", seq=1009, ack=5007, urgptr=1)
    open_one.back("A", seq=5007, ack=1010, window=0)
    open_one.out("A", b"\0", seq=1009, ack=5007)
    selective = [("NOP", None), ("NOP", None), ("SAck", (1010, 1020))]
    open_one.back("A", seq=5007, ack=1010, options=selective)
    open_one.out("FA", seq=1010, ack=5007)
    open_one.back("A", seq=5007, ack=1011)
    # Half closed: the remote goes on.
    open_one.back("PA", b"more", seq=5007, ack=1011)
    open_one.out("A", seq=1011, ack=5011)
    open_one.back("FA", seq=5011, ack=1011)
    open_one.out("A", seq=1011, ack=5012)
    # What is late finds its way, and so does a new connection from the same port (RFC 9293 §3.6.1).
    open_one.back("FA", seq=5011, ack=1011)
    again = open_one.out("S", seq=90_000)
    assert again.sport == open_one.external
    print(f"from SYN to FIN and again by port {again.sport}")


def both_ends_may_open_a_connection_at_once(inside, outside):
    syn = IP(src=CLIENT, dst=REMOTE) / TCP(sport=7300, dport=80, seq=1000)
    inside.send(syn)
    left = outside.next("the SYN", lambda packet: packet.dst == REMOTE)
    # RFC 5382 REQ-2: each gets the other's SYN, and each answers with SYN and ACK.
    sent = outside.send(IP(src=REMOTE, dst=EXTERNAL) / TCP(sport=80, dport=left.sport, seq=5000))
    came = inside.next("the remote's SYN", lambda packet: packet.src == REMOTE)
    same("its SYN", came, with_fields(sent, dst=CLIENT, dport=7300, hops=sent.ttl - 1))
    for edge, packet in [
        (inside, IP(src=CLIENT, dst=REMOTE) / TCP(sport=7300, dport=80, flags="SA", seq=1000, ack=5001)),
        (
            outside,
            IP(src=REMOTE, dst=EXTERNAL)
            / TCP(sport=80, dport=left.sport, flags="SA", seq=5000, ack=1001),
        ),
    ]:
        edge.send(packet)
    outside.next("the client's SYN ACK", lambda packet: TCP in packet and packet[TCP].flags == "SA")
    inside.next("the remote's SYN ACK", lambda packet: TCP in packet and packet[TCP].flags == "SA")
    print("both SYNs and both answers passed")
