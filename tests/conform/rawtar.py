"""Tar members by hand, so that every format and every mistake in it can be written: v7, ustar, GNU, pax, sparse files of four kinds.

member() returns one entry's bytes, with the extra headers that its form needs; END is the end-of-archive mark.
"""
FILE, HARD, SYM, CHAR, BLOCK, DIR, FIFO, CONT = b'0', b'1', b'2', b'3', b'4', b'5', b'6', b'7'
END = bytes(1024)
MAGIC = {'v7': bytes(8), 'ustar': b'ustar\x0000', 'pax': b'ustar\x0000', 'gnu': b'ustar  \0'}
MTIME = 1500000000


def padded(data):
    return data + bytes(-len(data) % 512)


def number(value, width, binary=False):
    """Octal with a NUL behind it, or base-256 (of GNU, and of star) where octal does not hold it."""
    text = b'%0*o' % (width - 1, value) if value >= 0 else b''
    if binary or value < 0 or len(text) >= width:
        whole = (value + (1 << 8 * width)) % (1 << 8 * width)
        data = bytearray(whole.to_bytes(width, 'big'))
        data[0] |= 0x80
        return bytes(data)
    return text + b'\0'


def header(name, kind, mode=0o644, uid=0, gid=0, size=0, mtime=MTIME, link=b'', dev=(0, 0), form='ustar', prefix=b'',
           binary=False, tail=b''):
    """One block. `tail` replaces what stands behind the device numbers."""
    block = bytearray(512)
    fields = ((0, name[:100]), (100, number(mode, 8)), (108, number(uid, 8, binary)), (116, number(gid, 8, binary)),
              (124, number(size, 12, binary)), (136, number(mtime, 12, binary)), (156, kind), (157, link[:100]),
              (257, MAGIC[form]))
    if form != 'v7':
        fields += ((329, number(dev[0], 8)), (337, number(dev[1], 8)), (345, tail or prefix))
    for at, data in fields:
        block[at:at + len(data)] = data
    block[148:156] = b' ' * 8
    block[148:156] = b'%06o\0 ' % sum(block)
    return bytes(block)


def records(pairs):
    """A pax header's text; each record begins with its own length."""
    out = b''
    for key, value in pairs:
        rest = b' ' + key + b'=' + value + b'\n'
        length = len(rest) + 1
        while len(b'%d' % length) + len(rest) != length:
            length += 1
        out += b'%d' % length + rest
    return out


def pax(pairs, kind=b'x', name=b'PaxHeaders/x'):
    """A pax header (kind g: for all that follow)."""
    data = records(pairs)
    return header(name, kind, size=len(data)) + padded(data)


def gnu_long(text, kind):
    """kind L: the next member's name; K: its link target."""
    return header(b'././@LongLink', kind, size=len(text) + 1, form='gnu') + padded(text + b'\0')


def split(name):
    """ustar's prefix and name, or None."""
    if len(name) <= 100:
        return b'', name
    for at in range(len(name) - 101, min(len(name), 156)):
        if at > 0 and name[at:at + 1] == b'/' and len(name) - at - 1 > 0:
            return name[:at], name[at + 1:]
    return None


def whole(value):
    return int(value // 1)


def pax_time(value):
    text = '%.9f' % value if not isinstance(value, (int, str)) else str(value)
    return text.encode()


def in_octal(value, width):
    return 0 <= value < 8 ** (width - 1)


def member(name, kind=FILE, data=b'', form='pax', mode=None, uid=0, gid=0, mtime=MTIME, link=b'', dev=(0, 0), xattrs=(), extra=(),
           binary=False, size=None):
    """One entry. mtime may be a text ("1.5", only in pax). xattrs and extra are pairs of bytes for a pax header, whatever the form.
    `size` is what the header says, if that is not the data's."""
    mode = mode if mode is not None else {DIR: 0o755, SYM: 0o777}.get(kind, 0o644)
    pairs, before, prefix, short = list(extra), b'', b'', name
    if isinstance(mtime, (str, float)):
        pairs.append((b'mtime', pax_time(mtime)))
        mtime = max(0, whole(float(mtime)))
    if form == 'pax':
        if len(name) > 100 or not name.isascii():
            pairs.append((b'path', name))
        if len(link) > 100 or not link.isascii():
            pairs.append((b'linkpath', link))
        for key, value, width in ((b'uid', uid, 8), (b'gid', gid, 8), (b'mtime', mtime, 12)):
            if not in_octal(value, width):
                pairs.append((key, b'%d' % value))
        uid, gid, mtime = (value if in_octal(value, width) else 0 for value, width in ((uid, 8), (gid, 8), (mtime, 12)))
    elif form == 'gnu':
        before += gnu_long(link, b'K') if len(link) > 100 else b''
        before += gnu_long(name, b'L') if len(name) > 100 else b''
    elif form == 'ustar' and len(name) > 100:
        parts = split(name)
        if parts is None:
            pairs.append((b'path', name))
        else:
            prefix, short = parts
    pairs += [(b'SCHILY.xattr.' + key, value) for key, value in xattrs]
    before += pax(pairs) if pairs else b''
    size = size if size is not None else len(data)
    return before + header(short, kind, mode, uid, gid, size, mtime, link, dev, form, prefix, binary) + padded(data)


# --- sparse files: pieces are (offset, bytes); `size` is the file's ---

def sparse_old_gnu(name, size, pieces, **meta):
    """Type S: four pieces in the header, 21 in each block behind it."""
    def entry(offset, length):
        return number(offset, 12) + number(length, 12)
    maps = [entry(offset, len(data)) for offset, data in pieces]
    stored = b''.join(data for _, data in pieces)
    tail = bytearray(167)
    head = b''.join(maps[:4])
    tail[41:41 + len(head)] = head      # at 386
    tail[137] = 1 if len(maps) > 4 else 0  # at 482
    tail[138:150] = number(size, 12)    # at 483
    out = header(name, b'S', size=len(stored), form='gnu', tail=bytes(tail), **meta)
    rest = maps[4:]
    while rest:
        block = bytearray(512)
        now, rest = rest[:21], rest[21:]
        text = b''.join(now)
        block[:len(text)] = text
        block[504] = 1 if rest else 0
        out += bytes(block)
    return out + padded(stored)


def sparse_pax(version, name, size, pieces, **meta):
    """Versions 0.0, 0.1 and 1.0 of GNU tar's pax sparse files."""
    stored = b''.join(data for _, data in pieces)
    if version == '1.0':
        pairs = [(b'GNU.sparse.major', b'1'), (b'GNU.sparse.minor', b'0'), (b'GNU.sparse.name', name),
                 (b'GNU.sparse.realsize', b'%d' % size)]
        text = b'%d\n' % len(pieces) + b''.join(b'%d\n%d\n' % (offset, len(data)) for offset, data in pieces)
        stored, name = padded(text) + stored, b'GNUSparseFile.0/x'
    else:
        pairs = [(b'GNU.sparse.size', b'%d' % size), (b'GNU.sparse.numblocks', b'%d' % len(pieces))]
        if version == '0.0':
            for offset, data in pieces:
                pairs += [(b'GNU.sparse.offset', b'%d' % offset), (b'GNU.sparse.numbytes', b'%d' % len(data))]
        else:
            pairs += [(b'GNU.sparse.map', b','.join(b'%d,%d' % (offset, len(data)) for offset, data in pieces)),
                      (b'GNU.sparse.name', name)]
    return pax(pairs) + header(name, FILE, size=len(stored), **meta) + padded(stored)
