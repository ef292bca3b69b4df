"""The program that holds a pod's namespaces open, as bytes. Pure.

Enters: a machine's name as ``uname -m`` gives it.
Leaves: a static ELF executable of about 200 bytes, so that no registry is needed to start the first pod.
Holds: it ends at once on SIGTERM or SIGINT, and it reaps whatever is handed to it as PID 1 of a shared PID namespace.
Next: containerd.pause_image.

The program, in C's words:

    sigprocmask(SIG_BLOCK, {SIGINT, SIGTERM, SIGCHLD});
    for (;;) {
        int signal = sigtimedwait(set, NULL, NULL);
        if (signal == SIGCHLD) while (wait4(-1, NULL, WNOHANG, NULL) > 0) ;
        else if (signal > 0) _exit(0);      // negative: interrupted, wait again
    }

Waiting for blocked signals needs no handler, no signal trampoline and no stack. It also works as PID 1, for which the kernel
drops signals with a default action unless they are blocked (signal(7), pid_namespaces(7)).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

#: The sandbox image's name; the tag changes when the bytes do.
REFERENCE: Final = "edgekube.local/pause:1"

#: Where the file is mapped: any page-aligned address above vm.mmap_min_addr.
_BASE: Final = 0x400000
_SIGNALS: Final = 1 << (2 - 1) | 1 << (15 - 1) | 1 << (17 - 1)  # SIGINT, SIGTERM, SIGCHLD: the same numbers on all three

# Each row is one instruction, its offset from the code's start and its meaning. SET stands for the address of the signal set,
# the 8 bytes that follow the code. Jumps are relative, so only SET depends on where the code ends.

_X86_64: Final = (
    ("31 ff", "00 xor edi, edi        rt_sigprocmask(SIG_BLOCK,"),
    ("be SET", "02 mov esi, set            &set,"),
    ("31 d2", "07 xor edx, edx            NULL,"),
    ("41 ba 08 00 00 00", "09 mov r10d, 8             8)"),
    ("b8 0e 00 00 00", "0f mov eax, 14"),
    ("0f 05", "14 syscall"),
    ("bf SET", "16 mov edi, set        wait: rt_sigtimedwait(&set,"),
    ("31 f6", "1b xor esi, esi            NULL,"),
    ("31 d2", "1d xor edx, edx            NULL,"),
    ("41 ba 08 00 00 00", "1f mov r10d, 8             8)"),
    ("b8 80 00 00 00", "25 mov eax, 128"),
    ("0f 05", "2a syscall"),
    ("85 c0", "2c test eax, eax"),
    ("78 e6", "2e js 16               interrupted: wait"),
    ("83 f8 11", "30 cmp eax, 17         SIGCHLD?"),
    ("75 1a", "33 jne 4f              no: exit"),
    ("83 cf ff", "35 or edi, -1          reap: wait4(-1,"),
    ("31 f6", "38 xor esi, esi            NULL,"),
    ("ba 01 00 00 00", "3a mov edx, 1              WNOHANG,"),
    ("45 31 d2", "3f xor r10d, r10d          NULL)"),
    ("b8 3d 00 00 00", "42 mov eax, 61"),
    ("0f 05", "47 syscall"),
    ("85 c0", "49 test eax, eax"),
    ("7f e8", "4b jg 35               one reaped: reap"),
    ("eb c7", "4d jmp 16              none left: wait"),
    ("31 ff", "4f xor edi, edi        exit_group(0)"),
    ("b8 e7 00 00 00", "51 mov eax, 231"),
    ("0f 05", "56 syscall"),
)

# Arm instructions are 4 bytes, written here as the number that the manual shows; the set's address is loaded in two halves
# (LO: its low, HI: its high 16 bits).

_AARCH64: Final = (
    (0xD2800000, "00 mov x0, #0          rt_sigprocmask(SIG_BLOCK,"),
    (0xD2800001, "04 movz x1, #LO            &set,"),
    (0xF2A00001, "08 movk x1, #HI, lsl 16"),
    (0xD2800002, "0c mov x2, #0              NULL,"),
    (0xD2800103, "10 mov x3, #8              8)"),
    (0xD28010E8, "14 mov x8, #135"),
    (0xD4000001, "18 svc #0"),
    (0xD2800000, "1c movz x0, #LO        wait: rt_sigtimedwait(&set,"),
    (0xF2A00000, "20 movk x0, #HI, lsl 16"),
    (0xD2800001, "24 mov x1, #0              NULL,"),
    (0xD2800002, "28 mov x2, #0              NULL,"),
    (0xD2800103, "2c mov x3, #8              8)"),
    (0xD2801128, "30 mov x8, #137"),
    (0xD4000001, "34 svc #0"),
    (0x7100001F, "38 cmp w0, #0"),
    (0x54FFFF0B, "3c b.lt 1c             interrupted: wait"),
    (0x7100441F, "40 cmp w0, #17         SIGCHLD?"),
    (0x54000141, "44 b.ne 6c             no: exit"),
    (0x92800000, "48 mov x0, #-1         reap: wait4(-1,"),
    (0xD2800001, "4c mov x1, #0              NULL,"),
    (0xD2800022, "50 mov x2, #1              WNOHANG,"),
    (0xD2800003, "54 mov x3, #0              NULL)"),
    (0xD2802088, "58 mov x8, #260"),
    (0xD4000001, "5c svc #0"),
    (0x7100001F, "60 cmp w0, #0"),
    (0x54FFFF2C, "64 b.gt 48             one reaped: reap"),
    (0x17FFFFED, "68 b 1c                none left: wait"),
    (0xD2800000, "6c mov x0, #0          exit_group(0)"),
    (0xD2800BC8, "70 mov x8, #94"),
    (0xD4000001, "74 svc #0"),
)

_ARMV7: Final = (
    (0xE3A00000, "00 mov r0, #0          rt_sigprocmask(SIG_BLOCK,"),
    (0xE3001000, "04 movw r1, #LO            &set,"),
    (0xE3401000, "08 movt r1, #HI"),
    (0xE3A02000, "0c mov r2, #0              NULL,"),
    (0xE3A03008, "10 mov r3, #8              8)"),
    (0xE3A070AF, "14 mov r7, #175"),
    (0xEF000000, "18 svc #0"),
    (0xE3000000, "1c movw r0, #LO        wait: rt_sigtimedwait(&set,"),
    (0xE3400000, "20 movt r0, #HI"),
    (0xE3A01000, "24 mov r1, #0              NULL,"),
    (0xE3A02000, "28 mov r2, #0              NULL,"),
    (0xE3A03008, "2c mov r3, #8              8)"),
    (0xE3A070B1, "30 mov r7, #177"),
    (0xEF000000, "34 svc #0"),
    (0xE3500000, "38 cmp r0, #0"),
    (0xBAFFFFF6, "3c blt 1c              interrupted: wait"),
    (0xE3500011, "40 cmp r0, #17         SIGCHLD?"),
    (0x1A000008, "44 bne 6c              no: exit"),
    (0xE3E00000, "48 mvn r0, #0          reap: wait4(-1,"),
    (0xE3A01000, "4c mov r1, #0              NULL,"),
    (0xE3A02001, "50 mov r2, #1              WNOHANG,"),
    (0xE3A03000, "54 mov r3, #0              NULL)"),
    (0xE3A07072, "58 mov r7, #114"),
    (0xEF000000, "5c svc #0"),
    (0xE3500000, "60 cmp r0, #0"),
    (0xCAFFFFF7, "64 bgt 48              one reaped: reap"),
    (0xEAFFFFEB, "68 b 1c                none left: wait"),
    (0xE3A00000, "6c mov r0, #0          exit_group(0)"),
    (0xE3A070F8, "70 mov r7, #248"),
    (0xEF000000, "74 svc #0"),
)

#: OCI's names of what we can run on (image-spec config.md: GOARCH), by ``uname -m``.
ARCHITECTURES: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "x86_64": ("amd64", ""),
        "aarch64": ("arm64", "v8"),
        "armv7l": ("arm", "v7"),
        # A 64-bit kernel below a 32-bit Raspberry Pi OS, seen from a 32-bit process.
        "armv8l": ("arm", "v7"),
    }
)


def executable(machine: str) -> bytes:
    """The ELF file for ``machine``. Raises KeyError for one that ARCHITECTURES does not name."""
    architecture, _ = ARCHITECTURES[machine]
    if architecture == "amd64":
        return _elf64(62, _x86_64)
    if architecture == "arm64":
        return _elf64(183, _aarch64)
    return _elf32(_armv7)


def _x86_64(address: int) -> bytes:
    size = len(bytes.fromhex("".join(row.replace("SET", "00" * 4) for row, _ in _X86_64)))
    place = struct.pack("<I", address + size).hex()
    return bytes.fromhex("".join(row.replace("SET", place) for row, _ in _X86_64))


def _aarch64(address: int) -> bytes:
    place = address + 4 * len(_AARCH64)
    words = []
    for word, meaning in _AARCH64:
        half = place & 0xFFFF if "#LO" in meaning else place >> 16 if "#HI" in meaning else 0
        words.append(word | half << 5)  # imm16 is in bits 5 to 20
    return struct.pack(f"<{len(words)}I", *words)


def _armv7(address: int) -> bytes:
    place = address + 4 * len(_ARMV7)
    words = []
    for word, meaning in _ARMV7:
        half = place & 0xFFFF if "#LO" in meaning else place >> 16 if "#HI" in meaning else 0
        words.append(word | half >> 12 << 16 | half & 0xFFF)  # imm4 in bits 16 to 19, imm12 in bits 0 to 11
    return struct.pack(f"<{len(words)}I", *words)


def _elf64(machine: int, code_at: Callable[[int], bytes]) -> bytes:
    """One loadable segment, readable and executable, that covers headers, code and the signal set (elf(5))."""
    headers = 64 + 56
    body = code_at(_BASE + headers) + struct.pack("<Q", _SIGNALS)
    size = headers + len(body)
    identity = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, _BASE + headers, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x10000)
    return identity + header + segment + body


def _elf32(code_at: Callable[[int], bytes]) -> bytes:
    headers = 52 + 32
    body = code_at(_BASE + headers) + struct.pack("<Q", _SIGNALS)
    size = headers + len(body)
    identity = b"\x7fELF" + bytes([1, 1, 1]) + bytes(9)
    # 0x05000000: the fifth version of the Arm EABI, without which the kernel takes the file for an old one.
    header = struct.pack("<HHIIIIIHHHHHH", 2, 40, 1, _BASE + headers, 52, 0, 0x05000000, 52, 32, 1, 0, 0, 0)
    segment = struct.pack("<IIIIIIII", 1, 0, _BASE, _BASE, size, size, 5, 0x10000)
    return identity + header + segment + body
