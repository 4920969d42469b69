"""Runs a command that may not make sockets of the family AF_NETLINK, as a service manager can arrange it.

    python3 forbid.py COMMAND ARGUMENT...

It sets a filter for system calls (seccomp(2)): socket(AF_NETLINK, ..) says EAFNOSUPPORT, everything else goes on as
before.
"""

import ctypes
import errno
import os
import platform
import sys

AF_NETLINK = 16
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_MODE_FILTER = 2

# Of linux/bpf_common.h and linux/seccomp.h.
LOAD_WORD = 0x20
JUMP_EQUAL = 0x15
RETURN = 0x06
ALLOW = 0x7FFF0000
ERRNO = 0x00050000

# `struct seccomp_data`: the number of the call, and the lower half of its first argument.
NUMBER = 0
FIRST_ARGUMENT = 16

SOCKET = {"x86_64": 41, "aarch64": 198, "riscv64": 198}


class Instruction(ctypes.Structure):
    _fields_ = [
        ("code", ctypes.c_ushort),
        ("jump_true", ctypes.c_ubyte),
        ("jump_false", ctypes.c_ubyte),
        ("value", ctypes.c_uint32),
    ]


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.POINTER(Instruction))]


def forbid():
    number = SOCKET.get(platform.machine())
    if number is None:
        sys.exit(f"the number of socket(2) on {platform.machine()} is not known here")
    instructions = [
        Instruction(LOAD_WORD, 0, 0, NUMBER),
        Instruction(JUMP_EQUAL, 0, 3, number),
        Instruction(LOAD_WORD, 0, 0, FIRST_ARGUMENT),
        Instruction(JUMP_EQUAL, 0, 1, AF_NETLINK),
        Instruction(RETURN, 0, 0, ERRNO | errno.EAFNOSUPPORT),
        Instruction(RETURN, 0, 0, ALLOW),
    ]
    filter = (Instruction * len(instructions))(*instructions)
    program = Program(len(instructions), filter)
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in [
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0),
    ]:
        if libc.prctl(*arguments) != 0:
            sys.exit(os.strerror(ctypes.get_errno()))


forbid()
os.execvp(sys.argv[1], sys.argv[1:])
