#!/usr/bin/env python3
"""An OCI layout with small layers stacked on another one's image: stack-layers.py FROM TO N.

Layer i brings /stack/i, and takes /stack/i-2 away by a whiteout; /stack/top, which all bring, tells the last.
"""
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile


def main():
    source, target, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
    shutil.copytree(source, target)

    def read(digest):
        with open(os.path.join(target, "blobs", *digest.split(":")), "rb") as file:
            return json.load(file)

    def write(data):
        hexes = hashlib.sha256(data).hexdigest()
        with open(os.path.join(target, "blobs", "sha256", hexes), "wb") as file:
            file.write(data)
        return {"digest": "sha256:" + hexes, "size": len(data)}

    with open(os.path.join(target, "index.json")) as file:
        index = json.load(file)
    manifest = read(index["manifests"][0]["digest"])
    config = read(manifest["config"]["digest"])
    for i in range(1, n + 1):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for name, data in ((f"stack/{i}", b"%d\n" % i), ("stack/top", b"%d\n" % i), (f"stack/.wh.{i - 2}", b"")):
                info = tarfile.TarInfo(name)
                info.size, info.mode = len(data), 0o644
                tar.addfile(info, io.BytesIO(data))
        blob = write(out.getvalue())
        manifest["layers"].append({"mediaType": "application/vnd.oci.image.layer.v1.tar", **blob})
        config["rootfs"]["diff_ids"].append(blob["digest"])
    config.pop("history", None)
    manifest["config"].update(write(json.dumps(config).encode()))
    entry = index["manifests"][0]
    entry.update(write(json.dumps(manifest).encode()))
    entry.setdefault("annotations", {})["org.opencontainers.image.ref.name"] = f"stack:{n}"
    with open(os.path.join(target, "index.json"), "w") as file:
        json.dump(index, file)


main()
