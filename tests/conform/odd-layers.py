#!/usr/bin/env python3
"""Makes folders of odd but decodable layers: odd-layers.py OUT makes OUT/CASE/1.tar, 2.tar, ...

Each case is one shape of CASES.md's L1, L2 and L7, and of image-spec/layer.md: links that lead elsewhere, types that change between
layers, whiteouts, names. What a layer means is asked of another implementation, not written down here.
"""
import io
import os
import sys
import tarfile

CASES = {}


def case(*layers):
    """A case is a name and a list of layers; a layer is a list of entries."""
    name, *rest = layers
    CASES[name] = rest


def entry(name, kind, mode=0o644, data=b"", link="", uid=0, gid=0, mtime=1500000000, pax=None, dev=(0, 0)):
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname = kind, mode, link
    info.uid, info.gid, info.mtime = uid, gid, mtime
    info.size = len(data)
    info.devmajor, info.devminor = dev
    info.pax_headers = pax or {}
    return info, data


def F(name, data=b"file", **kw):
    return entry(name, tarfile.REGTYPE, data=data, **kw)


def D(name, mode=0o755, **kw):
    return entry(name, tarfile.DIRTYPE, mode=mode, **kw)


def S(name, to, **kw):
    return entry(name, tarfile.SYMTYPE, mode=0o777, link=to, **kw)


def H(name, to, **kw):
    return entry(name, tarfile.LNKTYPE, link=to, **kw)


def W(name):
    return F(name, b"")


# --- plain things ---
case("types", [D("./"), D("d", 0o1777, uid=5, gid=6), F("d/f", b"x" * 5000, mode=0o4755), F("empty", b""), S("s", "d/f"),
               S("long", "t/" * 100 + "end"), S("sixty", "x" * 60), S("fiftynine", "x" * 59), H("h", "d/f"),
               entry("null", tarfile.CHRTYPE, 0o666, dev=(1, 3)), entry("big", tarfile.BLKTYPE, 0o660, dev=(259, 70000)),
               entry("fifo", tarfile.FIFOTYPE)])
case("owners", [F("a", uid=65536, gid=70000), F("b", uid=4294967294, gid=4294967294), D("c", uid=100000, gid=1)])
case("times", [F("a", mtime=0), F("b", mtime=-1), F("c", mtime=4294967296), F("d", mtime=9000000000),
               F("e", pax={"mtime": "1600000000.123456789"}), F("f", mtime=2147483648)])
case("xattrs", [F("a", pax={"SCHILY.xattr.user.one": "1", "SCHILY.xattr.user.two": "x" * 300}), D("d", pax={"SCHILY.xattr.user.d": "d"}),
                F("b", pax={"SCHILY.xattr.trusted.t": "t" * 2000}), S("s", "a"),
                F("c", pax={"SCHILY.xattr.user.empty": ""})],
     [D("d", 0o700, pax={"SCHILY.xattr.user.e": "new"}), F("a")])
case("names", [F("caf\u00e9"), F("e\u0301"), F("n" * 255), F(" leading"), F("new\nline"), F("back\\slash"), F("..."), F("..x"), F("-rf"),
               F("d/" * 200 + "deep")])
case("slashes", [F("/abs"), D("//d///"), F("./././d/x"), F("d/./y"), F("d/../z")])
case("missing-parents", [F("a/b/c/d"), S("x/y", "z"), F("w/.wh.none", b""), D("p/q")])
case("many-links", [F("f")] + [H(f"l{i}", "f") for i in range(500)])
case("wide", [D("w")] + [F(f"w/{i:05d}-{'n' * (i % 60)}", b"") for i in range(5000)], [W(f"w/.wh.{i:05d}-{'n' * (i % 60)}") for i in range(0, 5000, 2)])
case("subdirs", [D("w")] + [D(f"w/{i}") for i in range(300)])
case("big-file", [F("big", os.urandom(9 * 1024 * 1024) + b"\0" * 3000000 + b"end")])
case("holes", [F("holes", b"".join((b"A" * 4096 if i % 3 == 0 else b"\0" * 4096) for i in range(3000)))])
case("sizes", [F(f"s{n}", b"z" * n) for n in (1, 4095, 4096, 4097, 8191, 8192, 65536, 1048575, 1048576, 1048577)])
case("twice", [F("a", b"one"), F("a", b"two!"), D("d"), F("d/x"), D("d", 0o700), S("s", "a"), F("s", b"file now")])
case("empty-layers", [], [F("a")], [])
case("sixty-layers", *[[F("f", str(i).encode() * 1000), F(f"n{i}"), D("d", mtime=i)] for i in range(60)])

# --- whiteouts ---
case("whiteout", [D("a"), F("a/b"), D("a/c"), F("a/c/x"), F("k")], [W("a/.wh.b"), W("a/.wh.c"), W(".wh.none"), W("no/.wh.such")])
case("whiteout-tree", [D("a"), D("a/b"), D("a/b/c"), F("a/b/c/f"), F("x")], [W(".wh.a")], [F("a/b/new")])
case("opaque-first", [D("a"), F("a/old"), D("a/od"), F("a/od/x")], [D("a"), W("a/.wh..wh..opq"), F("a/new")])
case("opaque-last", [D("a"), F("a/old"), F("a/both", b"1")], [D("a"), F("a/both", b"2"), F("a/new"), W("a/.wh..wh..opq")])
case("opaque-root", [F("old"), D("d"), F("d/x")], [W(".wh..wh..opq"), F("new")])
case("opaque-through-link", [D("r"), F("r/old"), S("l", "r")], [W("l/.wh..wh..opq"), F("l/new")])
case("whiteout-link", [D("r"), F("r/old"), S("l", "r")], [W(".wh.l")])
case("whiteout-in-link", [D("r"), F("r/old"), S("l", "r")], [W("l/.wh.old")])
case("whiteout-then-new", [D("a"), F("a/x")], [W(".wh.a"), D("a", 0o711), F("a/y")])
case("whiteout-hardlink", [F("a", b"shared"), H("b", "a"), H("c", "a")], [W(".wh.a")], [F("c", b"other")])
case("aufs", [F(".wh..wh.aufs", b""), D(".wh..wh.plnk"), D(".wh..wh.orph"), F("a")])

# --- types that change ---
case("file-over-dir", [D("a"), D("a/b"), F("a/b/c", b"y" * 10000), F("z")], [F("a", b"file")])
case("dir-over-file", [F("a")], [D("a", 0o700), F("a/x")])
case("dir-over-link", [D("r"), F("r/x"), S("a", "r")], [D("a", 0o750), F("a/y")])
case("link-over-dir", [D("a"), F("a/x"), D("r")], [S("a", "r"), F("a/y")])
case("round", [D("a"), F("a/x")], [F("a")], [S("a", "b")], [D("a"), F("a/y")], [entry("a", tarfile.FIFOTYPE)], [D("a")])
case("dir-over-dir", [D("a", 0o700, uid=1, mtime=5), F("a/x")], [D("a", 0o755, uid=2, mtime=7)])

# --- parents that are links ---
case("usr-merge", [D("usr"), D("usr/lib"), S("lib", "usr/lib")], [F("lib/x"), D("lib/d"), F("lib/d/y"), F("usr/lib/z")])
case("parent-absolute", [D("real"), S("l", "/real")], [F("l/x")])
case("parent-up", [D("a"), D("r"), S("a/l", "../r")], [F("a/l/x"), F("a/l/../y")])
case("parent-out", [S("l", "../../../../etc"), D("d")], [F("l/x")])
case("parent-out-absolute", [S("l", "/etc")], [F("l/evil/x")])
case("parent-dangling", [S("l", "no/such")], [F("l/x")])
case("parent-loop", [S("a", "b"), S("b", "a")], [F("a/x")])
case("parent-self", [S("a", "a")], [F("a/x")])
case("parent-chain", [D("r")] + [S("l0", "r")] + [S(f"l{i}", f"l{i - 1}") for i in range(1, 30)], [F("l29/x")])
case("parent-long-chain", [D("r")] + [S("l0", "r")] + [S(f"l{i}", f"l{i - 1}") for i in range(1, 60)], [F("l59/x")])
case("parent-file", [F("a")], [F("a/x")])
case("several-in-a-row", [D("d"), S("d/a", ".."), S("d/b", "a/.."), S("c", "d/b/../..")], [F("c/x"), F("d/b/y")])
case("link-to-empty", [F("e", b""), S("l", "e"), F("l", b"data")])
case("write-through-link", [F("t", b"old"), S("l", "t"), F("l", b"new")])
case("dir-through-link", [S("l", "/tmp"), D("l"), F("l/x")])

# --- hard links ---
case("hard-relative", [D("d"), F("d/f"), H("d/h", "d/f"), H("h2", "./d/../d/f")])
case("hard-absolute", [F("f"), H("h", "/f")])
case("hard-out", [F("f"), H("h", "../f")])
case("hard-through-link", [D("d"), F("d/f"), S("l", "d"), H("h", "l/f")])
case("hard-through-link-out", [S("l", "/etc"), H("h", "l/passwd")])
case("hard-to-link", [F("f"), S("l", "f"), H("h", "l")])
case("hard-to-missing", [H("h", "none")])
case("hard-to-later", [H("h", "f"), F("f")])
case("hard-to-dir", [D("d"), H("h", "d")])
case("hard-to-self", [F("f"), H("f", "f")])
case("hard-across", [F("f", b"lower"), F("g")], [H("h", "f")], [F("f", b"upper")])
case("hard-over", [F("a", b"1"), F("b", b"2"), D("c"), F("c/x")], [H("b", "a"), H("c", "a")])
case("hard-into-removed", [D("d"), F("d/f")], [H("d", "d/f")])
case("hard-device", [entry("null", tarfile.CHRTYPE, 0o666, dev=(1, 3)), H("n2", "null"), entry("p", tarfile.FIFOTYPE), H("p2", "p")])

# --- names that climb ---
case("up", [F("../x")])
case("up-inside", [F("a/../../x")])
case("root-as-link", [S(".", "/etc"), F("x")])
case("root-as-file", [F("/")])
case("root-entry", [D(".", 0o711, uid=3, gid=4, mtime=77)])


def main():
    out = sys.argv[1]
    for name, layers in CASES.items():
        folder = os.path.join(out, name)
        os.makedirs(folder)
        for number, layer in enumerate(layers, 1):
            with tarfile.open(os.path.join(folder, f"{number}.tar"), "w", format=tarfile.PAX_FORMAT) as tar:
                for info, data in layer:
                    tar.addfile(info, io.BytesIO(data))


main()
