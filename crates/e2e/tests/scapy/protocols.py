"""Protocols without ports that could differ: their addresses alone are translated."""

from scapy.layers.inet import IP
from scapy.layers.ipsec import ESP
from scapy.layers.l2 import GRE
from scapy.layers.sctp import (
    SCTP,
    SCTPChunkCookieEcho,
    SCTPChunkData,
    SCTPChunkInit,
    SCTPChunkInitAck,
    SCTPChunkParamStateCookie,
)
from scapy.packet import Raw

from wire import same, with_fields

CLIENT = "10.1.0.70"
OTHER = "10.1.0.71"
REMOTE = "203.0.113.7"
EXTERNAL = ["192.0.2.10", "192.0.2.11"]


def there_and_back(inside, outside, name, body, answer, client=CLIENT):
    """Sends a packet and its answer, of which nothing may change but the client's address."""
    sent = inside.send(IP(src=client, dst=REMOTE, tos=0x28) / body)
    left = outside.next(name, lambda packet: packet.dst == REMOTE)
    assert left.src in EXTERNAL, left.src
    same(name, left, with_fields(sent, src=left.src, hops=sent.ttl - 1))

    sent = outside.send(IP(src=REMOTE, dst=left.src) / answer)
    came = inside.next(f"the answer to {name}", lambda packet: packet.src == REMOTE)
    same(f"the answer to {name}", came, with_fields(sent, dst=client, hops=sent.ttl - 1))
    print(f"{name}: {left.summary()}")
    return left.src


def associations_of_sctp_keep_their_ports_and_scapys_checksum(inside, outside):
    out, back = {"sport": 2905, "dport": 3868}, {"sport": 3868, "dport": 2905}
    init = SCTPChunkInit(init_tag=0x1234, a_rwnd=65535, n_out_streams=4, n_in_streams=4, init_tsn=1)
    cookie = SCTPChunkParamStateCookie(cookie=b"c" * 31)
    answer = SCTPChunkInitAck(init_tag=0x4321, a_rwnd=65535, init_tsn=9, params=[cookie])
    data = SCTPChunkData(tsn=1, stream_id=1, beginning=1, ending=1, data=b"seventeen bytes ..")
    exchange = [
        ("an INIT", SCTP(tag=0, **out) / init, SCTP(tag=0x1234, **back) / answer),
        ("a cookie", SCTP(tag=0x4321, **out) / SCTPChunkCookieEcho(cookie=b"c" * 31), None),
        ("data", SCTP(tag=0x4321, **out) / data, SCTP(tag=0x1234, **back) / data),
    ]
    for name, body, reply in exchange:
        there_and_back(inside, outside, name, body, reply or SCTP(tag=0x1234, **back) / data)


def two_clients_of_one_remote_have_two_addresses_by_gre_and_by_esp(inside, outside):
    inner = IP(src="172.16.0.1", dst="172.16.0.2") / Raw(b"inside the tunnel")
    gre = GRE(chksum_present=1) / inner
    esp = ESP(spi=0x1001, seq=1) / Raw(b"\x5a" * 61)
    for name, body in {"GRE": gre, "ESP": esp}.items():
        seen = [
            there_and_back(inside, outside, f"{name} of {client}", body, body, client)
            for client in (CLIENT, OTHER)
        ]
        assert sorted(seen) == EXTERNAL, f"{name}: {seen}"
