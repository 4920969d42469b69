#!/usr/bin/env python3
"""Prints a line for each UDP datagram that arrives by an interface: its source, TTL, the length of
the IP packet, and 1 where that is a fragment.

   frames.py INTERFACE [TEXT]     only those that contain TEXT
"""
import socket
import sys

ALL_PROTOCOLS, OUTGOING = 3, 4
wanted = sys.argv[2].encode() if len(sys.argv) > 2 else b''
tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
tap.bind((sys.argv[1], 0))
print('ready', flush=True)
while True:
    frame, address = tap.recvfrom(70000)
    ip = frame[14:]
    if address[2] == OUTGOING or frame[12:14] != b'\x08\x00' or ip[9] != socket.IPPROTO_UDP:
        continue
    if wanted in ip:
        fragment = int.from_bytes(ip[6:8], 'big') & 0x3fff != 0
        length = int.from_bytes(ip[2:4], 'big')
        print(socket.inet_ntoa(ip[12:16]), ip[8], length, int(fragment), flush=True)
