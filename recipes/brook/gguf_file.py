"""Reads and writes GGUF v3 files with numpy: as much of the format as these recipes need.

Read: F32, F16, BF16, Q4_0, Q4_1, Q8_0 (dequantised to float32). Write: F32, F16, Q8_0 and Q4_0, rounded as ggml does it:
a block of 32 weights has d = max|w| / 127 kept as f16, and codes round(w / d) with halves away from zero.
"""

import struct
import numpy as np

F32, F16, Q4_0, Q4_1, Q8_0, BF16 = 0, 1, 2, 3, 8, 30
BLOCK = {F32: (1, 4), F16: (1, 2), BF16: (1, 2), Q4_0: (32, 18), Q4_1: (32, 20), Q8_0: (32, 34)}
SCALAR = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}


def quantize_q8_0(x):
    """float32 [.., n] with n a multiple of 32 -> bytes [.., n / 32 * 34]."""
    b = np.ascontiguousarray(x, np.float32).reshape(-1, 32)
    amax = np.abs(b).max(1, keepdims=True)
    d = amax / np.float32(127)
    inv = np.divide(np.float32(1), d, out=np.zeros_like(d), where=d > 0)
    y = b * inv
    q = np.trunc(y + np.copysign(np.float32(0.5), y)).astype(np.int8)
    return np.concatenate([d.astype(np.float16).view(np.uint8), q.view(np.uint8)], 1)


def quantize_q4_0(x):
    """As ggml does it: a block of 32 has d = (the value of largest magnitude) / -8 as f16, and codes w / d + 8.5, cut at 15."""
    b = np.ascontiguousarray(x, np.float32).reshape(-1, 32)
    most = np.take_along_axis(b, np.abs(b).argmax(1)[:, None], 1)
    d = most / np.float32(-8)
    inv = np.divide(np.float32(1), d, out=np.zeros_like(d), where=d != 0)
    q = np.minimum(15, (b * inv + np.float32(8.5)).astype(np.int8)).astype(np.uint8)
    return np.concatenate([d.astype(np.float16).view(np.uint8), q[:, :16] | q[:, 16:] << 4], 1)


def dequantize(raw, kind):
    if kind == F32:
        return raw.view(np.float32).copy()
    if kind == F16:
        return raw.view(np.float16).astype(np.float32)
    if kind == BF16:
        return (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    b = raw.reshape(-1, BLOCK[kind][1])
    d = b[:, :2].copy().view(np.float16).astype(np.float32)
    if kind == Q8_0:
        return (d * b[:, 2:].view(np.int8)).astype(np.float32).ravel()
    low = 2 if kind == Q4_0 else 4
    q = np.concatenate([b[:, low:] & 15, b[:, low:] >> 4], 1).astype(np.float32)
    return ((q - 8) * d if kind == Q4_0 else q * d + b[:, 2:4].copy().view(np.float16).astype(np.float32)).ravel()


def read(path):
    """(metadata, {name: float32 array, rows first})"""
    f = np.memmap(path, np.uint8, "r")
    at = 0

    def take(fmt):
        nonlocal at
        v = struct.unpack_from(fmt, f, at)[0]
        at += struct.calcsize(fmt)
        return v

    def string():
        nonlocal at
        n = take("<Q")
        s = bytes(f[at : at + n]).decode("utf-8", "replace")
        at += n
        return s

    def value(t):
        if t == 8:
            return string()
        if t == 9:
            e, n = take("<I"), take("<Q")
            return [value(e) for _ in range(n)]
        return take(SCALAR[t])

    assert bytes(f[:4]) == b"GGUF", f"{path} is no GGUF file"
    at = 8
    n_tensors, n_meta = take("<Q"), take("<Q")
    meta = {}
    for _ in range(n_meta):
        k = string()
        meta[k] = value(take("<I"))
    infos = []
    for _ in range(n_tensors):
        name = string()
        dims = [take("<Q") for _ in range(take("<I"))]
        infos.append((name, dims, take("<I"), take("<Q")))
    align = meta.get("general.alignment", 32)
    base = (at + align - 1) // align * align
    out = {}
    for name, dims, kind, off in infos:
        n = int(np.prod(dims))
        per, size = BLOCK[kind]
        raw = np.array(f[base + off : base + off + n // per * size])
        out[name] = dequantize(raw, kind).reshape(dims[::-1])
    return meta, out


def write(path, meta, tensors):
    """meta: {key: value or (type, value)}; tensors: [(name, float32 array, kind)]."""

    def s(x):
        b = x.encode()
        return struct.pack("<Q", len(b)) + b

    def val(v):
        if isinstance(v, tuple):
            t, v = v
            return struct.pack("<I", t) + struct.pack(SCALAR[t], v)
        if isinstance(v, bool):
            return struct.pack("<I?", 7, v)
        if isinstance(v, int):
            return struct.pack("<II", 4, v)
        if isinstance(v, float):
            return struct.pack("<If", 6, v)
        if isinstance(v, str):
            return struct.pack("<I", 8) + s(v)
        if isinstance(v[0], str):
            return struct.pack("<IIQ", 9, 8, len(v)) + b"".join(s(x) for x in v)
        return struct.pack("<IIQ", 9, 5, len(v)) + np.asarray(v, np.int32).tobytes()

    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(meta)) + b"".join(s(k) + val(v) for k, v in meta.items())
    off, data = 0, []
    for name, x, kind in tensors:
        quantize = {Q8_0: quantize_q8_0, Q4_0: quantize_q4_0}.get(kind)
        raw = (
            quantize(x).tobytes()
            if quantize
            else np.ascontiguousarray(x, np.float16 if kind == F16 else np.float32).tobytes()
        )
        head += (
            s(name)
            + struct.pack("<I", x.ndim)
            + b"".join(struct.pack("<Q", n) for n in x.shape[::-1])
            + struct.pack("<IQ", kind, off)
        )
        raw += b"\0" * (-len(raw) % 32)
        off += len(raw)
        data.append(raw)
    with open(path, "wb") as f:
        f.write(head + b"\0" * (-len(head) % 32))
        f.writelines(data)
