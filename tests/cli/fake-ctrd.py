#!/usr/bin/env python3
"""A daemon for tests of ctrctl alone: `fake-ctrd.py SOCKET [MODE]`.

It speaks the part of the API that ctrctl uses. "Containers" are host processes run by their command line, with pipes or a pty. MODE makes it
misbehave: see MODES. If CTR_READY_FD is set it acts as ctrctl's own child does (`ctrd --profile FILE`: the socket comes from CTR_RUN).
Each request is appended to SOCKET.log as one JSON line, so that tests can look at what ctrctl asked.
"""
import fcntl, json, os, pty, select, signal, socket, struct, subprocess, sys, termios, threading, time, urllib.parse

MODES = ("honest", "badframe", "cut", "garbage", "bighead", "evilnames", "deaf", "slowboot")
containers, execs, images, lock = {}, {}, {"busybox:latest"}, threading.Lock()
mode = "honest"


class Container:
    def __init__(self, cid, name, body):
        self.id, self.name, self.body = cid, name, body
        self.state, self.code, self.log = "created", 0, []
        self.clients, self.changed, self.proc, self.removed = [], threading.Condition(), None, False

    def tty(self):
        return self.body.get("Tty", False)

    def start(self, pump=True):
        argv = (self.body.get("Entrypoint") or []) + (self.body.get("Cmd") or ["true"])
        argv = [a for a in argv if a]
        env = dict(os.environ, **dict(e.split("=", 1) for e in self.body.get("Env") or []))
        try:
            spawn(self, argv, env)
        except FileNotFoundError as e:
            raise Refuse(400, 'exec: "%s": executable file not found in $PATH' % e.filename)
        except PermissionError as e:
            raise Refuse(400, 'exec: "%s": permission denied' % e.filename)
        self.state = "running"
        if pump:
            self.go()

    def go(self):
        threading.Thread(target=self.pump, daemon=True).start()

    def send(self, stream, data):
        self.log.append((stream, data))
        frame = data if self.tty() else struct.pack(">BxxxI", stream, len(data)) + data
        if mode == "badframe":
            frame = b"\x07junkjunkjunk" + data
        for client in list(self.clients):
            try:
                client.sendall(frame)
            except OSError:
                self.clients.remove(client)

    def pump(self):
        fds = dict(self.outs)
        while fds:
            for fd in select.select(list(fds), [], [])[0]:
                try:
                    data = os.read(fd, 65536)
                except OSError:
                    data = b""
                if data:
                    self.send(fds[fd], data)
                else:
                    del fds[fd]
        code = self.proc.wait()
        with self.changed:
            self.code = code if code >= 0 else 128 - code
            self.state = "exited"
            for client in self.clients:
                try:
                    client.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
            if self.body.get("HostConfig", {}).get("AutoRemove"):
                self.removed = True
                containers.pop(self.id, None)
            self.changed.notify_all()

    def feed(self, sock):
        """One client's standard input."""
        while True:
            try:
                data = sock.recv(65536)
            except OSError:
                return
            if not data:
                break
            while self.state == "created":
                time.sleep(0.01)
            try:
                while data:
                    data = data[os.write(self.into, data):]
            except OSError:
                break
        while self.state == "created":
            time.sleep(0.01)
        if not self.tty():
            try:
                os.close(self.into)
            except OSError:
                pass


def spawn(box, argv, env):
    if box.tty():
        parent, child = pty.openpty()
        rows, cols = box.body.get("HostConfig", {}).get("ConsoleSize") or box.body.get("ConsoleSize") or [0, 0]
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
        box.proc = subprocess.Popen(argv, stdin=child, stdout=child, stderr=child, env=env, start_new_session=True,
                                    preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(child)
        box.into, box.outs = parent, [(parent, 1)]
        return
    box.proc = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    box.into = os.dup(box.proc.stdin.fileno())
    box.proc.stdin.close()
    box.outs = [(box.proc.stdout.fileno(), 1), (box.proc.stderr.fileno(), 2)]


def find(ref):
    for c in containers.values():
        if c.id == ref or c.name == ref or (len(ref) >= 4 and c.id.startswith(ref)):
            return c
    raise Refuse(404, "No such container: " + ref)


class Refuse(Exception):
    pass


class Client:
    def __init__(self, sock):
        self.sock, self.buf = sock, b""

    def line(self):
        while b"\n" not in self.buf:
            more = self.sock.recv(65536)
            if not more:
                raise EOFError
            self.buf += more
        text, self.buf = self.buf.split(b"\n", 1)
        return text.rstrip(b"\r").decode()

    def take(self, n):
        while len(self.buf) < n:
            more = self.sock.recv(65536)
            if not more:
                raise EOFError
            self.buf += more
        data, self.buf = self.buf[:n], self.buf[n:]
        return data

    def serve(self):
        try:
            method, target, _ = self.line().split(" ")
            head = {}
            while (text := self.line()):
                key, value = text.split(":", 1)
                head[key.lower()] = value.strip()
            url = urllib.parse.urlsplit(target)
            query = {k: v[0] for k, v in urllib.parse.parse_qs(url.query, keep_blank_values=True).items()}
            path = urllib.parse.unquote(url.path)
            if head.get("transfer-encoding") == "chunked":
                size = 0
                while (n := int(self.line(), 16)) > 0:
                    size += len(self.take(n))
                    self.line()
                body = {"bytes": size}
            else:
                n = int(head.get("content-length", 0))
                body = json.loads(self.take(n)) if n else None
            with lock, open(sys.argv[1] + ".log", "a") as log:
                log.write(json.dumps({"method": method, "path": path, "query": query, "body": body}) + "\n")
            if mode == "deaf":
                time.sleep(3600)
            if mode == "garbage":
                return self.sock.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")
            if mode == "bighead":
                return self.sock.sendall(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 10000000)
            self.route(method, path, query, body)
        except Refuse as no:
            self.reply(no.args[0], {"message": no.args[1]})
        except (EOFError, OSError):
            pass
        finally:
            try:
                self.sock.close()
            except OSError:
                pass

    def reply(self, status, value=None):
        text = b"" if value is None else json.dumps(value).encode()
        cut = len(text) // 2 if mode == "cut" else len(text)
        self.sock.sendall(b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(text)) + text[:cut])

    def chunks(self, kind="application/json"):
        self.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n" % kind.encode())

        def send(data):
            self.sock.sendall(b"%x\r\n" % len(data) + data + b"\r\n")
        return send

    def route(self, method, path, query, body):
        parts = path.split("/")[2:]
        name = "%s_%s" % (method.lower(), parts[0] if path.startswith("/v1.43") else "ctr")
        getattr(self, name, lambda *a: (_ for _ in ()).throw(Refuse(404, "page not found")))(parts, query, body)

    def get_info(self, parts, query, body):
        running = sum(c.state == "running" for c in containers.values())
        self.reply(200, {"Containers": len(containers), "ContainersRunning": running, "Images": len(images), "ServerVersion": "fake"})

    def get_version(self, parts, query, body):
        self.reply(200, {"Version": "fake", "ApiVersion": "1.43", "Os": "linux", "Arch": "amd64", "KernelVersion": "6"})

    def get_ctr(self, parts, query, body):
        if parts[1] == "plugins":
            return self.reply(200, [{"kind": "storage", "name": "ext4", "version": "1", "abi": 1, "path": "/x/storage-ext4.so",
                                     "help": "disks", "options": [{"name": "path", "type": "path", "default": "", "help": "where"}]},
                                    {"path": "/x/vmm-bad.so", "kind": "vmm", "name": "bad", "error": "ABI 9, this is 1"}])
        self.reply(200, {"profile": "fake", "vmm": {"plugin": "fake", "accel": "none", "hardware": False}})

    def post_ctr(self, parts, query, body):
        if parts[1:] == ["system", "stop"]:
            self.reply(204)
            os.kill(os.getpid(), signal.SIGTERM)
        elif parts[1:] == ["registry", "login"]:
            if body["secret"] == "wrong":
                raise Refuse(403, "the registry refuses this user name or password")
            self.reply(200, {"instance": "file"})
        elif parts[1:] == ["images", "load"]:
            send = self.chunks()
            send(b'{"stream":"Loaded image: demo:latest\\n"}\n')
            images.add("demo:latest")
            send(b"")

    def get_containers(self, parts, query, body):
        if parts[1] == "json":
            rows = [c for c in containers.values() if query.get("all") == "1" or c.state == "running"]
            evil = "\x1b]0;pwned\x07" if mode == "evilnames" else ""
            return self.reply(200, [{"Id": c.id, "Names": ["/" + c.name + evil], "Image": c.body["Image"] + evil, "Command": " ".join(c.body.get("Cmd") or []),
                                     "Created": int(time.time()) - 65, "State": c.state, "Status": "Up" if c.state == "running" else c.state,
                                     "Ports": [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}], "Labels": c.body.get("Labels")}
                                    for c in rows])
        c = find(parts[1])
        if parts[2] == "json":
            return self.reply(200, {"Id": c.id, "Name": "/" + c.name, "Config": {"Tty": c.tty(), "OpenStdin": c.body.get("OpenStdin", False), "Env": c.body.get("Env")},
                                    "State": {"Running": c.state == "running", "Status": c.state, "ExitCode": c.code}})
        send = self.chunks("application/vnd.docker.multiplexed-stream")
        for stream, data in c.log:
            send(data if c.tty() else struct.pack(">BxxxI", stream, len(data)) + data)
        send(b"")

    def post_containers(self, parts, query, body):
        if parts[1] == "create":
            if body["Image"] not in images:
                raise Refuse(404, "No such image: " + body["Image"])
            cid = os.urandom(32).hex()
            c = Container(cid, query.get("name", "made_up"), body)
            containers[cid] = c
            return self.reply(201, {"Id": cid, "Warnings": []})
        if parts[1] == "prune":
            return self.reply(200, {"ContainersDeleted": [], "SpaceReclaimed": 0})
        c = find(parts[1])
        getattr(self, "container_" + parts[2])(c, query, body)

    def container_start(self, c, query, body):
        if mode == "slowboot":
            with c.changed:
                c.changed.wait_for(lambda: c.removed, 60)
            raise Refuse(500, "it never came up")
        c.start()
        self.reply(204)

    def container_stop(self, c, query, body):
        c.proc.send_signal(signal.SIGTERM)
        with c.changed:
            c.changed.wait_for(lambda: c.state == "exited", 10)
        self.reply(204)

    def container_kill(self, c, query, body):
        if c.state != "running":
            raise Refuse(409, "Container %s is not running" % c.name)
        c.proc.send_signal(getattr(signal, query.get("signal", "SIGKILL")) if query.get("signal", "").startswith("SIG")
                           else getattr(signal, "SIG" + query["signal"]))
        self.reply(204)

    def container_resize(self, c, query, body):
        fcntl.ioctl(c.into, termios.TIOCSWINSZ, struct.pack("HHHH", int(query["h"]), int(query["w"]), 0, 0))
        self.reply(200)

    def container_rename(self, c, query, body):
        c.name = query["name"]
        self.reply(204)

    def container_wait(self, c, query, body):
        self.sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with c.changed:
            if query.get("condition") == "removed":
                c.changed.wait_for(lambda: c.removed)
            else:
                c.changed.wait_for(lambda: c.state == "exited")
        text = json.dumps({"StatusCode": c.code}).encode()
        self.sock.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(text), text))

    def upgrade(self):
        self.sock.sendall(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")

    def container_attach(self, c, query, body):
        self.upgrade()
        c.clients.append(self.sock)
        if query.get("stdin") == "1":
            c.feed(self.sock)
        with c.changed:
            c.changed.wait_for(lambda: c.state == "exited")

    def container_exec(self, c, query, body):
        eid = os.urandom(32).hex()
        execs[eid] = Container(eid, eid, body)
        self.reply(201, {"Id": eid})

    def post_exec(self, parts, query, body):
        e = execs[parts[1]]
        if parts[2] == "resize":
            return self.container_resize(e, query, body)
        if body.get("ConsoleSize"):
            e.body["ConsoleSize"] = body["ConsoleSize"]
        if body.get("Detach"):
            e.start()
            return self.reply(200)
        e.start(pump=False)
        self.upgrade()
        e.clients.append(self.sock)
        e.go()
        if e.body.get("AttachStdin"):
            e.feed(self.sock)
        with e.changed:
            e.changed.wait_for(lambda: e.state == "exited")

    def get_exec(self, parts, query, body):
        e = execs[parts[1]]
        self.reply(200, {"Running": e.state == "running", "ExitCode": e.code})

    def delete_containers(self, parts, query, body):
        c = find(parts[1])
        if c.state == "running":
            if query.get("force") != "1":
                raise Refuse(409, "container is running: stop it first, or remove it by force")
            c.proc.kill()
        with c.changed:
            containers.pop(c.id, None)
            c.removed = True
            c.changed.notify_all()
        self.reply(204)

    def get_images(self, parts, query, body):
        if parts[1] == "json":
            return self.reply(200, [{"Id": "sha256:" + "ab" * 32, "RepoTags": [i], "RepoDigests": [], "Created": 1700000000, "Size": 4260000} for i in sorted(images)])
        ref = "/".join(parts[1:-1])
        if ref not in images:
            raise Refuse(404, "No such image: " + ref)
        self.reply(200, {"Id": "sha256:" + "ab" * 32, "RepoTags": [ref], "Architecture": "amd64"})

    def post_images(self, parts, query, body):
        if parts[1] == "create":
            send = self.chunks()
            if query["fromImage"].startswith("missing"):
                send(json.dumps({"error": "manifest for %s not found: check the name" % query["fromImage"]}).encode() + b"\n")
            else:
                for n in range(0, 101, 10):
                    for layer in ("aaaaaaaaaaaa", "bbbbbbbbbbbb"):
                        send(json.dumps({"status": "Downloading", "id": layer, "progressDetail": {"current": n * 10000, "total": 1000000}}).encode() + b"\n")
                    time.sleep(float(os.environ.get("FAKE_PULL_STEP", "0")))
                send(json.dumps({"status": "Pull complete", "id": "aaaaaaaaaaaa"}).encode() + b"\n")
                send(json.dumps({"status": "Status: Downloaded newer image for " + query["fromImage"]}).encode() + b"\n")
                images.add(query["fromImage"] + ":" + query["tag"])
                images.add(query["fromImage"])
            send(b"")
        elif parts[1] == "prune":
            self.reply(200, {"ImagesDeleted": [{"Untagged": "old:1"}, {"Deleted": "sha256:" + "cd" * 32}], "SpaceReclaimed": 4260000})
        elif parts[1] == "load":
            send = self.chunks()
            send(json.dumps({"stream": "Loaded image: tar%d:latest\n" % body["bytes"]}).encode() + b"\n")
            send(b"")
        else:
            images.add(query["repo"] + ":" + query["tag"])
            self.reply(201)

    def delete_images(self, parts, query, body):
        ref = "/".join(parts[1:])
        if ref not in images:
            raise Refuse(404, "No such image: " + ref)
        images.discard(ref)
        self.reply(200, [{"Untagged": ref}])


def main():
    global mode
    ready = os.environ.get("CTR_READY_FD")
    if ready:
        sys.argv[1:] = [os.path.join(os.environ["CTR_RUN"], "ctr.sock"), os.environ.get("FAKE_MODE", "honest")]
    mode = sys.argv[2] if len(sys.argv) > 2 else "honest"
    assert mode in MODES, mode
    path = sys.argv[1]
    if os.path.exists(path):
        os.unlink(path)
    if ready and os.environ.get("FAKE_REFUSE"):
        os.write(int(ready), json.dumps({"error": {"message": os.environ["FAKE_REFUSE"]}}).encode() + b"\n")
        sys.exit(1)
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    os.chmod(path, 0o600)
    server.listen(64)
    if ready:
        with open(os.path.join(os.environ["CTR_RUN"], "starts"), "a") as starts:
            starts.write("%d\n" % os.getpid())
        os.write(int(ready), b'{"ok":{}}\n')
        os.close(int(ready))
    while True:
        sock = server.accept()[0]
        threading.Thread(target=Client(sock).serve, daemon=True).start()


if __name__ == "__main__":
    main()
