#!/usr/bin/env python3
"""Stacks of layers by storage plugins and by `umoci unpack`: the trees must be equal, or both refuse.

    same-trees.py BUILD SCRATCH CASES PLUGIN:OPTIONS…      CASES holds a folder for each stack: 1.tar, 2.tar, …

umoci runs as root and without --keep-dirlinks: a folder over a symbolic link replaces the link, as image-spec/layer.md has it. Names, types, modes,
owners, times, links, attributes, devices and content are compared; the two tables below are all that may differ, each line with its reason.
A refusal of ours names the entry and leaves nothing behind. Every image passes its filesystem's own check.
"""
import collections
import concurrent.futures
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time

# Ours is a refusal where umoci goes on: what our message says.
WE_REFUSE = [
    ('path climbs out of the image', 'umoci cuts "..", containerd and docker refuse it as we do'),
    ('lies below a whiteout', 'a name that no later layer could hide; the spec reserves it'),
    ('more than 40 symbolic links', 'Linux follows 40, umoci 255'),
    ('hard link whose target is not a path inside', 'as for paths that climb'),
    ('slash.*content in an entry that is not a file', 'a folder to GNU tar, a file to Go: refused'),
    ('Ignoring malformed pax extended attribute', 'two extended headers for one entry, of which one would be lost'),
    ('the entry behind it has no readable name', 'umoci takes an empty name for the root'),
    ('(owner|device number) out of range', 'Linux has no such owner or device; umoci leaves the file to root, or makes another device'),
]
# Ours is a tree where umoci gives up: what its message says.
THEY_REFUSE = [
    (r"unknown typeflag '\\x67'", 'global pax headers: skipped by containerd and docker, as by us'),
    (r"unknown typeflag '\\x53'", "old GNU tar's sparse files: a file with what GNU tar writes"),
    (r"unknown typeflag '\\x", 'POSIX: a contiguous file, or one of a type that the reader does not know, is a file'),
    ('archive/tar: invalid tar header', 'a pax value that is no number or holds a NUL: libarchive reads it up to there'),
    ('refusing to change type of root', 'a file named "/" is a folder to GNU tar and to us'),
    ('no space left on device', 'EROFS holds larger attributes than the ext4 that umoci unpacks onto'),
    ('file name too long', "a path of up to 4,095 bytes, which umoci's own folder in front makes longer"),
]


def run(*command, **more):
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)


def write_layout(folder, tars):
    """An OCI layout with uncompressed layers, which are links to the tars."""
    blobs = os.path.join(folder, 'blobs', 'sha256')
    os.makedirs(blobs)

    def add(data):
        name = hashlib.sha256(data).hexdigest()
        with open(os.path.join(blobs, name), 'wb') as out:
            out.write(data)
        return {'digest': 'sha256:' + name, 'size': len(data)}

    def text(document):
        return json.dumps(document).encode()

    layers = []
    for tar in tars:
        with open(tar, 'rb') as file:
            layers.append(dict(add(file.read()), mediaType='application/vnd.oci.image.layer.v1.tar'))
    config = add(text({'architecture': 'amd64', 'os': 'linux', 'config': {},
                       'rootfs': {'type': 'layers', 'diff_ids': [layer['digest'] for layer in layers]}}))
    kind = 'application/vnd.oci.image.'
    manifest = add(text({'schemaVersion': 2, 'mediaType': kind + 'manifest.v1+json',
                         'config': dict(config, mediaType=kind + 'config.v1+json'), 'layers': layers}))
    with open(os.path.join(folder, 'oci-layout'), 'w') as out:
        out.write('{"imageLayoutVersion":"1.0.0"}')
    with open(os.path.join(folder, 'index.json'), 'wb') as out:
        out.write(text({'schemaVersion': 2, 'manifests': [dict(manifest, mediaType=kind + 'manifest.v1+json',
                                                               annotations={'org.opencontainers.image.ref.name': 't'})]}))


# --- the two sides; each returns (lines of the dump, None) or (None, why it refused) ---

def theirs(build, folder, tars):
    write_layout(folder + '/layout', tars)
    result = run('umoci', 'raw', 'unpack', '--image', folder + '/layout:t', folder + '/rootfs')
    if result.returncode != 0:
        return None, result.stderr.decode(errors='replace').strip().splitlines()[-1]
    return dump(build, '-d', folder + '/rootfs'), None


def dump(build, *what):
    result = run(build + '/tests/bin/ext4-dump', *what)
    if result.returncode != 0:
        raise RuntimeError(f'dump of {what[-1]}: {result.stderr.decode()}')
    return result.stdout.decode().splitlines()


def check(*command):
    result = run(*command)
    if result.returncode != 0:
        raise RuntimeError(f'{" ".join(command)}: {(result.stdout + result.stderr).decode(errors="replace")[-1000:]}')


def dump_ext4(build, disk):
    check('e2fsck', '-fn', disk)
    return dump(build, disk)


def dump_erofs(build, disk):
    """The kernel reads it: what it makes of the image is what a guest sees."""
    point = disk + '.mounted'
    os.mkdir(point)
    check('mount', '-t', 'erofs', '-o', 'ro,loop', disk, point)
    try:
        return dump(build, '-d', point)
    finally:
        check('umount', point)


DUMPS = {'storage-ext4': dump_ext4, 'storage-erofs': dump_erofs}


def can_dump(build, scratch, plugin):
    """Is there a way to look into its disks here? Without loop devices the kernel cannot read EROFS."""
    name, _, options = plugin.partition(':')
    try:
        ours(build, f'{scratch}/probe-{name}', name, options, [])
        return True
    except RuntimeError as error:
        if 'mount' not in str(error):
            raise
        print(f'{name} is not compared: {error}')
        return False


def what_is_left(store):
    """Files of layers and snapshots; not locks, and not what the plugin prepares for all."""
    return [os.path.join(top, name) for top, _, names in os.walk(store) for name in names
            if os.path.getsize(os.path.join(top, name)) > 0 and '/blank' not in top + '/' + name]


def ours(build, folder, plugin, options, tars):
    store, disk = f'{folder}/{plugin}', f'{folder}/{plugin}.disk'
    os.makedirs(store)
    tool = [f'{build}/tests/bin/storage-tool', f'{build}/lib/ctr/plugins/{plugin}.so', store, options]
    result = run(*tool, 'build', 'it', *tars)
    if result.returncode != 0:
        text = result.stderr.decode(errors='replace')
        why = re.search('^storage-tool: (-[0-9]+: .*layer.*)', text, re.S | re.M)
        if result.returncode != 1 or why is None:
            raise RuntimeError(f'no refusal by name: exit {result.returncode}: {text[-600:]}')
        if what_is_left(store):
            raise RuntimeError(f'a refusal left something behind: {what_is_left(store)}')
        return None, why.group(1).strip()
    check(*tool, 'raw', 'it', disk)
    return DUMPS[plugin](build, disk), None


# --- comparing ---

# Paths that are not compared: AUFS's own files (docker leaves them out, as we do; umoci makes them), and files whose names end with a
# slash (a folder to GNU tar and to us, a file to Go).
LEFT_OUT = re.compile(r'.*/(\.wh\.\.wh\.|slash)')

LINE = re.compile(r'^(?P<path>\S*/) (?P<type>.) (?P<mode>\d+) (?P<owner>\S+) (?P<time>-?\d+)\.(?P<nsec>\d+)(?P<rest>.*)$')


def differences(one, other, since):
    """one is umoci's. Folders that no layer names get the time of the unpacking from it: those times are left out."""
    def table(lines):
        return {m['path']: m for m in (LINE.match(line) for line in lines) if not LEFT_OUT.match(m['path'])}

    a, b, out = table(one), table(other), []
    for path in sorted(a.keys() | b.keys()):
        x, y = a.get(path), b.get(path)
        if x is None or y is None:
            out.append(('- ' if y is None else '+ ') + (x or y).group(0))
            continue
        made_now = x['type'] == 'd' and since - 2 <= int(x['time']) <= time.time() + 2
        inherits = made_now and int(x['mode'], 8) & 0o2000  # its group and setgid come from umoci's folder above it
        fields = ['type', 'rest'] if inherits else ['type', 'mode', 'owner', 'rest']
        if any(x[field] != y[field] for field in fields) or not (made_now or is_same_time(x, y)):
            out += ['- ' + x.group(0), '+ ' + y.group(0)]
    return out


def is_same_time(x, y):
    """umoci counts nanoseconds in 64 bits, and its files lie on ext4, which begins in 1901: times beyond are cut there."""
    seconds = int(y['time'])
    if seconds > (2 ** 63 - 1) // 10 ** 9 or seconds <= -2 ** 31:
        return True
    return x['time'] == y['time'] and x['nsec'] == y['nsec']


def excused(table, text):
    return next((reason for pattern, reason in table if re.search(pattern, text, re.S)), None)


def judge(build, scratch, case, plugins):
    """One stack: lines of what came out, and whether that is right."""
    name = os.path.basename(case)
    folder = f'{scratch}/{name}'
    os.makedirs(folder)
    tars = [f'{case}/{i}.tar' for i in range(1, 1 + len(os.listdir(case)))]
    since, out = time.time(), []
    want, they = theirs(build, folder, tars)
    for plugin in plugins:
        plugin, _, options = plugin.partition(':')
        label = f'{name} {plugin}'
        try:
            got, we = ours(build, folder, plugin, options, tars)
        except RuntimeError as error:
            out.append(('BROKEN', label, str(error)))
            continue
        if want is None and got is None:
            out.append(('refused', label, we))
        elif want is None:
            reason = excused(THEY_REFUSE, they)
            out.append(('excused' if reason else 'ONLY US', label, reason or they))
        elif got is None:
            reason = excused(WE_REFUSE, we)
            out.append(('excused' if reason else 'ONLY THEM', label, reason or we))
        else:
            lines = differences(want, got, since)
            out.append(('DIFFERS', label, '\n    '.join(lines[:20])) if lines else ('equal', label, ''))
    shutil.rmtree(folder)
    return out


def main():
    build, scratch, cases, *plugins = sys.argv[1:]
    os.environ['ASAN_OPTIONS'] = 'detect_leaks=0'
    folders = sorted(entry.path for entry in os.scandir(cases))
    plugins = [plugin for plugin in plugins if can_dump(build, scratch, plugin)]
    counts = collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for lines in pool.map(lambda case: judge(build, scratch, case, plugins), folders):
            for verdict, label, detail in lines:
                counts[verdict] += 1
                if verdict != 'equal':
                    print(f'{verdict:9}{label}: {detail}')
    print(f'{len(folders)} stacks:', ', '.join(f'{n} {verdict}' for verdict, n in counts.most_common()))
    sys.exit(any(verdict.isupper() for verdict in counts) or not counts)


main()
