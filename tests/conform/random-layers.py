#!/usr/bin/env python3
"""Makes odd and hostile stacks of layers by number: random-layers.py FIRST COUNT OUT makes OUT/NUMBER-THEME/1.tar, 2.tar, ...

The same number always gives the same bytes. A number's theme is its remainder, so that any few dozen in a row have all of them; each theme
draws from the shapes that CASES.md names under L1, L2, L7 and from tar's many formats. What a stack means is not written down here.
"""
import os
import random
import sys

from rawtar import (BLOCK, CHAR, CONT, DIR, END, FIFO, FILE, HARD, SYM, gnu_long, header, member, padded, pax, sparse_old_gnu, sparse_pax)

FORMS = ('pax', 'gnu', 'ustar', 'v7')
NAMES = [b'a', b'b', b'c', b'd', b'lib', b'usr', b'etc']
FOLDERS = [b'd', b'usr', b'lib']
THEMES = []


def theme(function):
    THEMES.append(function)
    return function


# --- parts that themes share ---

def some_path(r, depth=3):
    """Parents mostly are names that mostly are folders, so that not every stack ends with a file on the way."""
    parents = [r.choice(FOLDERS if r.random() < 0.95 else NAMES) for _ in range(r.randrange(depth))]
    return b'/'.join(parents + [r.choice(NAMES)])


def spelled(r, path):
    """Another way to write the same path."""
    way = r.randrange(9)
    if way == 0:
        return b'./' + path
    if way == 1:
        return b'/' + path
    if way == 2:
        return path.replace(b'/', b'//')
    if way == 3:
        return path.replace(b'/', b'/./')
    if way == 4:
        return b'././' + path
    if way == 5:
        return r.choice(NAMES) + b'/../' + path
    return path


def content(r):
    size = r.choice((0, 1, 7, 511, 512, 513, 4095, 4096, 4097, r.randrange(70000)))
    return r.randbytes(size) if r.random() < 0.5 else bytes([r.randrange(65, 91)]) * size


def meta(r):
    """Owner, mode, time: mostly plain."""
    out = {}
    if r.random() < 0.3:
        out['uid'], out['gid'] = r.choice((0, 1, 1000, 65534, 65535, 65536)), r.choice((0, 5, 100, 70000))
    if r.random() < 0.3:
        out['mode'] = r.choice((0, 0o4755, 0o2755, 0o6711, 0o1777, 0o600, 0o7777, 0o755))
    if r.random() < 0.3:
        out['mtime'] = r.choice((0, 1, 999999999, 1234567890, 1599999999))
    if r.random() < 0.1:
        out['xattrs'] = [(b'user.' + r.choice(NAMES), content(r)[:900] or b'v')]
    return out


def some_target(r):
    """Where links lead: near, up, out, to nothing, round about."""
    return r.choice((some_path(r), b'/' + some_path(r), b'../' + some_path(r), b'../../../../' + some_path(r), b'..', b'.', b'/', b'/..',
                     b'./' + r.choice(NAMES), b'/proc/self/root/etc', b'no/such'))


def step(r, path=None):
    """One entry of the kind that any real layer could hold."""
    path = path or some_path(r)
    pick, parent, base = r.random(), *(path.rpartition(b'/')[::2])
    slash = parent + b'/' if parent else b''
    if base in FOLDERS and r.random() < 0.85:
        pick = r.choice((0.5, 0.5, 0.8, 0.95))
    if pick < 0.35:
        return member(spelled(r, path), FILE, content(r), **meta(r))
    if pick < 0.60:
        return member(spelled(r, path) + r.choice((b'', b'/')), DIR, **meta(r))
    if pick < 0.72:
        return member(spelled(r, path), SYM, link=some_target(r))
    if pick < 0.77:
        return member(path, r.choice((CHAR, BLOCK, FIFO)), dev=(r.randrange(1, 200), r.randrange(200)))
    if pick < 0.92:
        return member(slash + b'.wh.' + base, FILE)
    return member(slash + b'.wh..wh..opq', FILE)


# --- themes ---

@theme
def mixed(r):
    """All against all: types over types, whiteouts before and behind what they name, parents that are links."""
    return [b''.join(step(r) for _ in range(r.randint(1, 9))) + END for _ in range(r.randint(2, 5))]


@theme
def tall(r):
    """Many layers over few names."""
    return [b''.join(step(r, some_path(r, 2)) for _ in range(r.randint(0, 2))) + END for _ in range(r.choice((10, 20, 60, 128)))]


@theme
def hard_links(r):
    """To names as written, absolute, through links, across layers; over what is there; to one that is replaced; seldom to nothing."""
    layers, files = [], []
    for _ in range(r.randint(1, 3)):
        out = b''
        for _ in range(r.randint(1, 4)):
            path = some_path(r, 2)
            if not any(path.startswith(f + b'/') or f.startswith(path + b'/') for f in files):
                kind = r.choice((FILE, FILE, FILE, FILE, SYM, FIFO, CHAR))
                out += member(path, kind, content(r) if kind == FILE else b'', link=some_target(r) if kind == SYM else b'', dev=(1, 3))
                files.append(path)
        for _ in range(r.randint(1, 5)):
            target = r.choice(files)
            spell = r.choice((target, b'/' + target, b'./' + target, b'x/../' + target))
            out += member(b'h%d' % r.randrange(8), HARD, link=spell)
        if r.random() < 0.4:
            out += member(b'.wh.' + r.choice(files).split(b'/')[0], FILE)
        if r.random() < 0.15:
            out += member(b'bad', HARD, link=r.choice((b'none', b'bad', b'.', b'../x', b'/etc/passwd', r.choice(NAMES))))
        layers.append(out + END)
    return layers


@theme
def links_on_the_way(r):
    """Parents that are symbolic links of this or a lower layer: absolute, up and out, in a row, of folders and of nothing."""
    out = b''.join(member(d, DIR) for d in (b'real', b'real/deep', b'usr', b'usr/lib'))
    targets = [b'real', b'/real', b'real/deep', b'../real', b'../../../real', b'/../real/deep', b'usr/lib', b'./real/.', b'nowhere/yet', b'/new']
    links = [b'l%d' % i for i in range(r.randint(1, 5))]
    for i, name in enumerate(links):
        out += member(name, SYM, link=r.choice(targets + [b'l%d' % j for j in range(i)] * 2))
    layers = [out + END] if r.random() < 0.7 else [out]
    more = b''
    for _ in range(r.randint(1, 6)):
        base = r.choice(links) + b'/' + r.choice((b'', b'', b'../')) + some_path(r, 2)
        pick = r.random()
        if pick < 0.5:
            more += member(base, FILE, content(r))
        elif pick < 0.7:
            more += member(base, DIR, mode=0o700)
        else:
            more += member(r.choice(links), r.choice((DIR, FILE, SYM)), link=b'real')
    last = b''.join(member(r.choice(links) + b'/.wh.' + r.choice(NAMES + [b'deep', b'lib', b'.wh..opq']), FILE) for _ in range(r.randrange(3)))
    layers = layers + [more] if layers[0].endswith(END) else [layers[0] + more]
    return [layer + END for layer in layers + [last]]


@theme
def types_over_types(r):
    """One name through all types, a layer each or several in one; with content below it where it is a folder."""
    layers, out = [], b''
    for _ in range(r.randint(4, 10)):
        kind = r.choice((FILE, DIR, SYM, FIFO, CHAR, DIR, SYM))
        out += member(b'x', kind, content(r) if kind == FILE else b'', link=r.choice((b'y', b'/y', b'none')) if kind == SYM else b'',
                      dev=(5, 1), mode=None if kind == SYM else r.choice((0o755, 0o700, 0o4711)))
        if kind == DIR:
            out += b''.join(member(b'x/' + n, FILE, content(r)) for n in r.sample(NAMES, 2))
        out += member(b'y/' + r.choice(NAMES), FILE, b'y') if r.random() < 0.3 else b''
        if r.random() < 0.6:
            layers, out = layers + [out + END], b''
    return layers + [out + END]


@theme
def whiteouts(r):
    """Before and behind their entries, of files, folders and nothing; opaque ones with and without entries, of what is no folder."""
    out = b''.join(member(d + b'/' + f, FILE, content(r)) for d in (b'a', b'a/b', b'c') for f in r.sample(NAMES[3:], 2))
    layers = [out + END]
    for _ in range(r.randint(1, 3)):
        parts = [member(p, FILE, b'new') for p in r.sample([b'a/new', b'a/b/new', b'c/new', b'a/d', b'new'], r.randint(0, 3))]
        parts += [member(p, DIR, mode=0o711) for p in r.sample([b'a', b'a/b', b'c', b'e'], r.randint(0, 2))]
        parts += [member(p, FILE) for p in r.sample([b'.wh.a', b'a/.wh.b', b'a/.wh..wh..opq', b'.wh.c', b'c/.wh..wh..opq', b'.wh.none',
                                                     b'none/.wh.x', b'none/.wh..wh..opq', b'a/b/.wh.new', b'.wh.new', b'c/.wh.d',
                                                     b'a/.wh.d'], r.randint(1, 4))]
        r.shuffle(parts)
        layers.append(b''.join(parts) + END)
    return layers


@theme
def odd_whiteouts(r):
    """Names at the edge of what is a whiteout."""
    names = [b'.wh..wh.plnk/x', b'.wh..wh.aufs', b'.wh..wh..opq', b'.wh', b'.whx', b'a/.wh.a', b'wh.a', b'.wh.' + b'n' * 251,
             b'.wh.new\nline', b'.wh.\xff', b'x.wh.y', b'.wh.-', b'.wh.a b']
    if r.random() < 0.4:
        names += [b'.wh.', b'.wh..', b'.wh...', b'a/.wh.', b'.wh.x/below', b'.wh.dir/', b'.wh..wh.', b'.wh..wh..wh.x']
    low = b''.join(member(n, FILE, b'low') for n in (b'a', b'b', b'n' * 251, b'new\nline', b'\xff', b'-', b'a b', b'.whx'))
    return [low + END, b''.join(member(n, r.choice((FILE, FILE, DIR) if b'opq' not in n else (FILE,))) for n in r.sample(names, 4)) + END]


@theme
def names(r):
    """Bytes that are no letters, lengths at the limits, in every format that holds them."""
    odd = [b'new\nline', b'tab\t', b'back\\slash', 'Grüße'.encode(), '日本'.encode(), b'\xff\xfe', b'\xc3', b'e\xcc\x81', b'\xc3\xa9', b' ',
           b'  lead', b'trail ', b'-rf', b'...', b'..x', b'x..', b'.hidden', b'~', b'$HOME', b'`id`', b'\x01', b'\x7f', b'a:b', b'*', b'"',
           b'n' * 255, b'\xe6\x97\xa5' * 85, b'C:', b'a=b', b'%00', b'con', b'CASE', b'case']
    out = b''
    for name in r.sample(odd, 8):
        form = r.choice(('pax', 'gnu', 'ustar'))
        out += member(r.choice((name, name, b'd/' + name)), FILE, name, form=form)
        if r.random() < 0.2:
            out += member(b'to-' + name[:200], SYM, link=name, form=form)
    if r.random() < 0.12:
        out += member(r.choice((b'n' * 256, b'd/' + b'n' * 300)), FILE, form=r.choice(('pax', 'gnu')))
    return [out + END]


@theme
def long_ones(r):
    """Paths and targets around the lengths where formats and systems change their mind."""
    out = b''
    for length in r.sample((99, 100, 101, 154, 155, 156, 255, 256, 257, 500, 1023, 1024, 2000, 3000), 3):
        part = r.choice((20, 50, 100))
        path = (b'p' * part + b'/') * (length // (part + 1)) + b'q' * (length % (part + 1))
        out += member(path.rstrip(b'/'), FILE, b'long', form=r.choice(('pax', 'gnu', 'ustar')))
    for length in r.sample((1, 59, 60, 61, 99, 100, 101, 255, 1000, 4000, 4095), 3):
        out += member(b's%d' % length, SYM, link=b't' * length if length < 256 else b't/' * (length // 2), form=r.choice(('pax', 'gnu')))
    out += member(b'f' * 150, FILE, b'f') + member(b'hard', HARD, link=b'f' * 150, form=r.choice(('pax', 'gnu')))
    if r.random() < 0.15:
        out += member(b'p/' * r.choice((2046, 2047, 2048, 3000)) + b'x', FILE, b'too long?')
    return [out + END]


@theme
def climbing(r):
    """Paths that lead out, alone so that the rest of a stack does not hide them."""
    name = r.choice((b'../x', b'a/../../x', b'/../x', b'a/b/../../../x', b'..', b'../', b'./..', b'../../../../../tmp/evil', b'a/..', b'/', b'.',
                     b'./', b'//', b'a/b/..', b'a/../b/../c', b'...'))
    kind = r.choice((FILE, DIR, SYM))
    return [member(b'keep', FILE, b'keep') + END, member(name, kind, b'x' if kind == FILE else b'', link=b'/etc' if kind == SYM else b'') + END]


@theme
def root_entry(r):
    """What a layer says about the root folder itself."""
    name = r.choice((b'./', b'.', b'/', b'', b'a/..'))
    first = member(b'./', DIR, mode=r.choice((0o755, 0o700, 0o1777, 0o111)), uid=r.choice((0, 33, 100000)), gid=7, mtime=12345,
                   xattrs=[(b'user.root', b'yes')] if r.random() < 0.5 else ())
    second = member(name, DIR if r.random() < 0.8 else r.choice((SYM, FILE, FIFO)), mode=0o750, uid=3, mtime=99, link=b'/etc')
    layers = [first + member(b'f', FILE, b'f') + END, member(b'g', FILE, b'g') + END, second + END]
    r.shuffle(layers)
    return layers


@theme
def numbers(r):
    """Owners, times and devices at their limits, in octal, base-256 and pax."""
    out = b''
    for i in range(8):
        form = r.choice(('pax', 'gnu', 'gnu', 'ustar', 'v7'))
        big = form in ('pax', 'gnu')
        mtime = r.choice((0, 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 33) + ((-1, -2 ** 31, 8 ** 11, 2 ** 34 - 2 ** 31 - 1) if big else ()) +
                         (('1.5', '0.000000001', '1500000000.999999999', '-1.5', '1500000000.1', '7.1234567891234', '1500000000.') if form == 'pax' else ()))
        owner = (0, 65535, 65536, 2 ** 21 - 1) + ((2 ** 21, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 2) if big else ())
        kind = r.choice((FILE, FILE, DIR, SYM, CHAR, BLOCK))
        dev = r.choice(((0, 0), (1, 3), (255, 255), (8, 256), (259, 65535), (4095, 1048575)))
        out += member(b'n%d' % i, kind, uid=r.choice(owner), gid=r.choice(owner), mtime=mtime, form=form, binary=form == 'gnu',
                      link=b'to' if kind == SYM else b'', dev=dev if kind in (CHAR, BLOCK) else (0, 0))
    if r.random() < 0.2:
        out += member(b'bad', FILE, **r.choice(({'uid': -1, 'form': 'gnu'}, {'gid': 2 ** 32, 'form': 'gnu'}, {'uid': 2 ** 32 - 1},
                                                {'mtime': 2 ** 62, 'form': 'gnu'}, {'mtime': 2 ** 40}, {'mtime': -2 ** 40, 'form': 'gnu'})))
    return [out + END]


@theme
def kinds(r):
    """Types of entries that no base layer has: sockets' and unknown letters, contiguous files, directories that are files with a slash."""
    out = b''
    for i in range(4):
        name = b'k%d' % i
        pick = r.randrange(10)
        if pick == 0:
            out += member(name, CONT, content(r))
        elif pick == 1:
            out += member(name + b'/', b'\0', form='v7')
        elif pick == 2:
            out += member(name, b'\0', b'old file', form='v7')
        elif pick == 3:
            out += member(name, DIR, size=0, mode=0o1777)
        elif pick == 4:
            out += member(name, CHAR, dev=(0, 0))
        elif pick == 5:
            out += member(b'slash%d/' % i, FILE, b'a folder to tar, a file to Go' if r.random() < 0.2 else b'')
        elif pick == 6:
            out += member(name, DIR, b'x' * r.choice((5, 600)))
        elif pick == 7:
            out += member(b't', FILE, b't') + member(name, HARD, b'body' if r.random() < 0.5 else b'', link=b't')
        elif pick == 8:
            out += member(name, FIFO, mode=0o622)
        else:
            out += member(name, r.choice((b'V', b'D', b'M', b'N', b'Z', b's', b'A', b'9')), b'' if r.random() < 0.5 else b'data') \
                if r.random() < 0.4 else member(name, FILE, b'plain')
    return [out + END]


@theme
def attributes(r):
    """Extended attributes: capabilities, ACLs, binary, empty and large ones, on all types, replaced by a later layer."""
    capability = bytes.fromhex('0100000200040000000000000000000000000000')
    acl = bytes.fromhex('02000000' '01000600ffffffff' '020006000a000000' '04000400ffffffff' '10000600ffffffff' '20000400ffffffff')
    choices = [(b'security.capability', capability), (b'user.a', b'text'), (b'user.bin', bytes(range(256))), (b'user.nul', b'a\0b\0'),
               (b'trusted.t', b't'), (b'user.big', b'B' * r.choice((1000, 3000))), (b'user.' + b'n' * r.choice((10, 249)), b'long name'),
               (b'user.eq=ual', b'v'), (b'user.new\nline', b'v\nv'), (b'security.other', b's'), (b'user.utf', 'ü'.encode()),
               (b'user.percent%41', b'%41'), (b'system.posix_acl_access', acl), (b'system.posix_acl_default', acl), (b'user.empty', b''),
               (b'trusted.overlay.opaque', b'y'), (b'user.overlay.whiteout', b'y'), (b'security.selinux', b'system_u:object_r:x:s0\0'),
               (b'security.ima', b'\1\2'), (b'com.apple.quarantine', b'q'), (b'nospace', b'x'), (b'system.other', b'x')]
    layers = []
    for _ in range(2):
        out = b''
        for i in range(5):
            kind = r.choice((FILE, FILE, FILE, DIR, SYM, CHAR)) if r.random() < 0.5 else FILE if i % 2 else DIR
            usable = [c for c in choices if kind in (FILE, DIR) or c[0].startswith((b'trusted.', b'security.o'))]
            usable = [c for c in usable if c[0] != b'system.posix_acl_default' or kind == DIR]
            out += member(b'x%d' % i, kind, xattrs=r.sample(usable, min(len(usable), r.randint(0, 3))), link=b'x' if kind == SYM else b'', dev=(1, 3))
        layers.append(out + END)
    return layers


@theme
def pax_overrides(r):
    """Extended headers that say something else than the header behind them, for one entry and for all."""
    parts = [
        lambda: member(b'p0', FILE, b'twelve bytes', extra=[(b'path', b'real-name')]),
        lambda: member(b'p1', FILE, b'x' * 700, size=0, extra=[(b'size', b'700')]),
        lambda: member(b'p2', FILE, b'', uid=5, extra=[(b'uid', b'77'), (b'gid', b'88'), (b'uname', b'root'), (b'gname', b'wheel')]),
        lambda: member(b'p3', SYM, link=b'short', extra=[(b'linkpath', b'the/long/one')]),
        lambda: member(b'p4', FILE, b'x', extra=[(b'mtime', b'1400000000.25'), (b'atime', b'5'), (b'ctime', b'6.5'), (b'comment', b'hi')]),
        lambda: member(b'p5', FILE, b'x', extra=[(b'path', b'first'), (b'path', b'second')]),
        lambda: pax([(b'path', b'lost')]) + pax([(b'uid', b'9')]) + member(b'p6', FILE, b'x', form='ustar'),
        lambda: pax([(b'mtime', b'1300000000')], b'g') + member(b'p7', FILE, b'x') + member(b'p8', FILE, b'y'),
        lambda: pax([(b'uid', b'1234'), (b'gid', b'4321')], b'g') + member(b'p9', FILE, b'x') + pax([(b'uid', b'')], b'g') + member(b'p10', FILE),
        lambda: member(b'p11', FILE, b'x', extra=[(b'uid', b'')]),
        lambda: member(b'p12', FILE, b'x', extra=[(b'path', b'./dotted//name')]),
        lambda: member(b'p13', FILE, b'x', extra=[(b'hdrcharset', b'BINARY'), (b'path', b'\xff\xfe')]),
        lambda: member(b'p14', FILE, b'x', extra=[(b'VENDOR.key', b'value'), (b'SCHILY.xattr.user.v', b'1')]),
        lambda: member(b'p15', FILE, b'x', extra=[(b'SCHILY.dev', b'66'), (b'SCHILY.ino', b'5'), (b'SCHILY.nlink', b'2'), (b'SCHILY.fflags', b'nodump')]),
        lambda: pax([(b'comment', b'git')], b'g', b'pax_global_header') + member(b'p16', FILE, b'x'),
        lambda: gnu_long(b'long/' * 30 + b'name', b'L') + pax([(b'path', b'pax-wins-or-not')]) + member(b'p17', FILE, b'x', form='gnu'),
        lambda: member(b'p18', DIR, extra=[(b'path', b'dir-by-pax/')]),
        lambda: member(b'p19', FILE, b'', extra=[(b'path', b'slash/')]),
    ]
    bad = [
        lambda: padded_pax(b'99 path=x\n') + member(b'b0', FILE),
        lambda: padded_pax(b'path=x\n') + member(b'b1', FILE),
        lambda: member(b'b2', FILE, b'x', extra=[(b'size', b'-1')]),
        lambda: member(b'b3', FILE, b'x', extra=[(b'uid', b'not a number')]),
        lambda: member(b'b4', FILE, b'x', extra=[(b'path', b'nul\0byte')]),
        lambda: member(b'b5', FILE, b'x', extra=[(b'mtime', b'soon')]),
        lambda: member(b'b6', FILE, b'x', extra=[(b'path', b'')]),
        lambda: member(b'b7', FILE, b'x', extra=[(b'size', b'99999999999999999999')]),
    ]
    picked = [make() for make in r.sample(parts, 4)] + ([r.choice(bad)()] if r.random() < 0.2 else [])
    return [b''.join(picked) + END]


def padded_pax(text):
    return header(b'PaxHeaders/x', b'x', size=len(text)) + padded(text)


@theme
def sparse(r):
    """Sparse files of old GNU tar and of pax 0.0, 0.1, 1.0; seldom with a map that lies."""
    out = b''
    for i in range(3):
        size, at, pieces = r.choice((0, 5000, 100000, 3000000)), 0, []
        for _ in range(r.choice((0, 1, 3, 4, 5, 26, 50))):
            at += r.choice((0, 512, 4096, r.randrange(9000)))
            length = r.choice((1, 512, 4096, r.randrange(1, 3000)))
            if at + length <= size:
                pieces.append((at, r.randbytes(length)))
            at += length
        if r.random() < 0.5 or not pieces:
            pieces.append((size, b''))
        kind = r.choice(('old', '0.0', '0.1', '1.0'))
        name = b's%d' % i
        out += sparse_old_gnu(name, size, pieces) if kind == 'old' else sparse_pax(kind, name, size, pieces)
    if r.random() < 0.2:
        wrong = r.choice(([(100, b'x' * 10), (50, b'y')], [(0, b'x' * 700)], [(2 ** 62, b'x')]))
        out += sparse_old_gnu(b'bad', 600, wrong) if r.random() < 0.5 else sparse_pax(r.choice(('0.0', '0.1', '1.0')), b'bad', 600, wrong)
    return [out + member(b'behind', FILE, b'behind') + END]


@theme
def formats(r):
    """The same few entries in v7, ustar, GNU and pax, mixed."""
    out = b''
    for i in range(8):
        form = r.choice(FORMS)
        kind = r.choice((FILE, FILE, DIR, SYM, HARD)) if i else FILE
        out += member(b'e%d' % i if form != 'v7' or kind != DIR else b'e%d/' % i, kind, content(r) if kind == FILE else b'', form=form,
                      link=b'e0' if kind in (SYM, HARD) else b'', uid=r.choice((0, 1000)))
    return [out + END]


@theme
def endings(r):
    """What stands behind the last entry, or does not."""
    body = b''.join(step(r) for _ in range(3)) + member(b'last', FILE, b'l' * r.choice((0, 1, 512, 700)))
    end = r.choice((END, b'', END * 9, END + b'garbage behind the end' * 50, bytes(512), END + member(b'after', FILE, b'x') + END, END + bytes(7),
                    bytes(512) + member(b'after-one', FILE, b'x') + END, b'short' if r.random() < 0.3 else END))
    layers = [body + end]
    if r.random() < 0.3:
        layers.append(r.choice((b'', END, bytes(10240), bytes(512))))
    if r.random() < 0.25:
        layers.append((member(b'big', FILE, b'x' * 5000) + END)[:r.choice((100, 512, 600, 3000, 5512))])
    return layers


@theme
def twice(r):
    """The same names again and again in one layer, spelled differently, and parents that come late or never."""
    paths = [b'p/q/r', b'p/q', b'p', b's', b's/t', b'u/v']
    out = b''
    for _ in range(r.randint(6, 14)):
        path = r.choice(paths)
        kind = DIR if path in (b'p/q', b'p') or r.random() < 0.2 else FILE
        if path == b's':
            kind = r.choice((FILE, DIR))
        out += member(spelled(r, path), kind, content(r) if kind == FILE else b'', **meta(r))
    return [out + END] if r.random() < 0.5 else [out[:] + END, out + END]


def main():
    first, count, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    for number in range(first, first + count):
        make = THEMES[number % len(THEMES)]
        case = os.path.join(folder, '%05d-%s' % (number, make.__name__.replace('_', '-')))
        os.makedirs(case)
        for index, layer in enumerate(make(random.Random(number)), 1):
            with open(os.path.join(case, f'{index}.tar'), 'wb') as out:
                out.write(layer)


main()
