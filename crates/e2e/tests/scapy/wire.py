"""The two wires of a gateway, seen from their other ends: what scapy crafts goes in as it is, and what
comes out is taken apart by scapy.

Every packet that comes out must have right checksums, whatever the sentence is about: scapy builds it
once more without them, and it must be the same.
"""

import ctypes
import os
import select
import socket
import time

from scapy.layers.inet import ICMP, IP, UDP, IPerror
from scapy.layers.inet6 import (
    ICMPv6MLReport2,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_RS,
    IPerror6,
    IPv6,
    IPv6ExtHdrFragment,
)
from scapy.layers.l2 import Ether

# How long a packet may take: it may wait for a neighbour to be resolved, and for the CPU.
PATIENCE = 5.0
# What stands nowhere in scapy or Python: linux/sched.h, linux/if_ether.h, linux/socket.h,
# linux/if_packet.h.
CLONE_NEWNET = 0x40000000
ETH_P_ALL = 0x0003
SOL_PACKET = 263
PACKET_IGNORE_OUTGOING = 23
# What links say among themselves.
LINK_ONLY = (ICMPv6ND_NS, ICMPv6ND_NA, ICMPv6ND_RS, ICMPv6ND_RA, ICMPv6MLReport2)
# What no policy wants, and the gateway's kernel forwards: the source of markers.
MARKER = "203.0.113.99"


class Edge:
    """The wire at one interface of the gateway."""

    def __init__(self, name, namespace, port, here, gateway, beyond):
        self.name = name
        self.beyond = beyond
        self.header = Ether(src=here, dst=gateway)
        self.markers = 0
        # A sentence about damaged packets turns this off.
        self.is_judged = True
        enter(namespace)
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self.socket.bind((port, 0))

    def send(self, *packets):
        """Sends packets to the gateway, in order; returns the last one as it went out."""
        for packet in packets:
            frame = bytes(self.header / packet)
            self.socket.send(frame)
        return Ether(frame).payload

    def next(self, what, wanted=lambda packet: True):
        """Waits for the next packet that is wanted; the others are forgotten."""
        deadline = time.monotonic() + PATIENCE
        seen = []
        while (left := deadline - time.monotonic()) > 0:
            packet = self.receive(left)
            if packet is None:
                continue
            if wanted(packet):
                return packet
            seen.append(packet.summary())
        raise AssertionError(f"{what} did not leave on the {self.name}; there were {seen}")

    def left_since(self, entry):
        """Everything that left here before a marker that goes in by the other edge now.

        The gateway's kernel forwards the marker, which is the longest way through it.
        """
        self.markers += 1
        number = 7000 + self.markers
        entry.send(IP(src=MARKER, dst=self.beyond) / UDP(sport=number, dport=number))
        left = []
        while True:
            packet = self.next("the marker")
            if IP in packet and packet[IP].src == MARKER:
                if UDP in packet and packet[UDP].sport == number:
                    return left
            else:
                left.append(packet)

    def receive(self, seconds):
        """The next packet that is not the link's own, with right checksums; nothing in time is None."""
        if not select.select([self.socket], [], [], seconds)[0]:
            return None
        packet = Ether(self.socket.recv(65536)).payload
        is_ip = isinstance(packet, (IP, IPv6))
        if not is_ip or any(layer in packet for layer in LINK_ONLY):
            return None
        # What stands behind an IP packet is the link's padding.
        length = packet.len if isinstance(packet, IP) else packet.plen + 40
        packet = packet.__class__(bytes(packet)[:length])
        if self.is_judged:
            check(packet)
        return packet


def enter(namespace):
    """Goes into a network namespace: sockets that are made from now on are in it."""
    handle = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(handle, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), f"cannot enter the namespace {namespace}")
    os.close(handle)


def check(packet):
    """Fails unless the checksums of a packet are those that scapy gives it."""
    again = rebuilt(packet)
    if bytes(again) != bytes(packet):
        packet.show()
        raise AssertionError(f"scapy has other checksums: {again.show2(dump=True)}")


def rebuilt(packet):
    """The same packet with the checksums that scapy gives it; those of quoted packets stay."""
    again = packet.__class__(bytes(packet))
    layer = again
    while layer:
        if isinstance(layer, (IPerror, IPerror6)):
            break
        # IPv4 knows a UDP packet without a checksum.
        is_without = isinstance(layer, UDP) and layer.chksum == 0 and IP in again
        for field in ("chksum", "cksum"):
            if field in layer.fields and not is_without:
                delattr(layer, field)
        # The checksum of a fragmented packet covers all of its fragments.
        if isinstance(layer, IPv6ExtHdrFragment) and (layer.offset or layer.m):
            break
        if isinstance(layer, IP) and (layer.frag or layer.flags.MF):
            break
        layer = layer.payload
    return again.__class__(bytes(again))


def same(what, got, expected):
    """Fails unless two packets are the same, byte for byte."""
    if bytes(got) != bytes(expected):
        raise AssertionError(
            f"{what}: got\n{got.show2(dump=True)}\n{bytes(got).hex()}\ninstead of\n"
            f"{expected.show2(dump=True)}\n{bytes(expected).hex()}"
        )


def with_fields(packet, **fields):
    """The packet as scapy builds it with other fields, of IP or of what is in it.

    `src`, `dst` and `hops` are of IP; `sport`, `dport` and `id` of what is in it (an ICMP query has its
    identifier where others have a port).
    """
    again = packet.__class__(bytes(packet))
    names = {"hops": "ttl" if isinstance(again, IP) else "hlim"}
    inner = next((layer for layer in layers(again) if "sport" in layer.fields), None)
    for name, value in fields.items():
        if name in ("src", "dst", "hops"):
            setattr(again, names.get(name, name), value)
        elif inner is not None and name in ("sport", "dport"):
            setattr(inner, name, value)
        else:
            setattr(query(again), "id", value)
    return rebuilt(again)


def layers(packet):
    while packet:
        yield packet
        packet = packet.payload


def query(packet):
    """The ICMP query in a packet."""
    return next(
        layer
        for layer in layers(packet)
        if isinstance(layer, ICMP) or layer.__class__.__name__.startswith("ICMPv6Echo")
    )


def port_of(packet, side="sport"):
    """The port at one side, or a query's identifier."""
    for layer in layers(packet):
        if side in layer.fields:
            return layer.fields[side]
    return query(packet).id
