"""A small Hugging Face Hub on 127.0.0.1: as much of it as the real client needs to push, pull, tag and search.

Repositories live in memory. Commits are named by the hash of their content, files by the hash that git or LFS would
give them. `Hub.fail` makes requests go wrong on purpose.
"""

import base64
import hashlib
import json
import re
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

# users: two tokens of "lab", of which one may write, and one of "others"
OWNER, READER, OTHER = (f"hf_{name * 5}" for name in ("Owner", "Reader", "Other"))

SAFE_PART = r"[A-Za-z0-9._-]+"
MOST_SENT = 300_000_000
REPO = rf"(?P<repo>{SAFE_PART}/{SAFE_PART})"


@dataclass(frozen=True)
class Stored:
    """One file of a repository; what a lying server lists of it, says as its ETag, and sends without an end."""

    data: bytes
    lfs: bool = False
    listed_size: int | None = None
    listed_hash: str | None = None
    told_hash: str | None = None
    endless: bool = False

    @property
    def size(self):
        return len(self.data) if self.listed_size is None else self.listed_size

    @property
    def git_hash(self):
        return hashlib.sha1(b"blob %d\0" % len(self.data) + self.data).hexdigest()

    @property
    def sha256(self):
        return hashlib.sha256(self.data).hexdigest()

    @property
    def hash(self):
        return self.listed_hash or (self.sha256 if self.lfs else self.git_hash)

    @property
    def etag(self):
        return self.told_hash or self.hash


@dataclass
class Repo:
    """Files of each commit, and what branches and tags point to."""

    private: bool = False
    commits: dict[str, dict[str, Stored]] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, files, title):
        content = [
            self.branches.get("main"),
            title,
            sorted((name, file.hash) for name, file in files.items()),
        ]
        oid = hashlib.sha1(json.dumps(content).encode()).hexdigest()
        self.commits[oid], self.titles[oid], self.branches["main"] = files, title, oid
        return oid

    def find(self, revision):
        revision = self.tags.get(revision, self.branches.get(revision, revision))
        return revision if revision in self.commits else None

    @property
    def files(self):
        return self.commits[self.branches["main"]]

    def metadata(self):
        """Read what the card says above its text."""
        card = self.files.get("README.md")
        match = card and re.match(rb"---\n(.*?)\n---\n", card.data, re.DOTALL)
        return (match and yaml.safe_load(match.group(1))) or {}


@dataclass
class Fault:
    """Requests that go wrong: with a status, with a page instead, or cut off after some bytes of the body."""

    method: str
    pattern: str
    times: int
    status: int | None = None
    cut_after: int | None = None
    page: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def matches(self, method, path):
        return self.times > 0 and method == self.method and re.search(self.pattern, path) is not None


class Hub:
    """The server and its state.

    `users` gives the user of each token and whether it may write. `requests` lists method, path and token of all that
    was asked.
    """

    def __init__(self):
        self.users = {OWNER: ("lab", True), READER: ("lab", False), OTHER: ("others", True)}
        self.lock = threading.RLock()
        self.reset()
        # large files are sent from another host, as by the real one
        self.servers = [
            ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": self})) for _ in "ab"
        ]
        self.url, self.storage_url = (f"http://127.0.0.1:{server.server_port}" for server in self.servers)
        for server in self.servers:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def reset(self):
        """Forget everything."""
        self.repos, self.lfs, self.faults, self.requests = {}, {}, [], []
        self.sent_bytes = 0
        self.lfs_suffixes = (".safetensors",)

    def close(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def put(self, repo, files, private=False, tag=None):
        """Store a commit whatever it holds, as a repository of someone else may."""
        stored = {
            name: data if isinstance(data, Stored) else Stored(data, name.endswith(self.lfs_suffixes))
            for name, data in files.items()
        }
        with self.lock:
            repository = self.repos.setdefault(repo, Repo(private))
            oid = repository.commit(stored, "put")
            if tag is not None:
                repository.tags[tag] = oid
        return oid

    def fail(self, method, pattern, times=1, **how):
        self.faults.append(Fault(method, pattern, times, **how))

    def paths(self, method, pattern=""):
        """List the paths that were asked for with a method."""
        return [path for one, path, _ in self.requests if one == method and re.search(pattern, path)]

    def fault_for(self, method, path):
        with self.lock:
            fault = next((one for one in self.faults if one.matches(method, path)), None)
            if fault is not None:
                fault.times -= 1
        return fault


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    hub: Hub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer("GET")

    def do_HEAD(self):
        self.answer("HEAD")

    def do_POST(self):
        self.answer("POST")

    def do_PUT(self):
        self.answer("PUT")

    def do_DELETE(self):
        self.answer("DELETE")

    def answer(self, method):
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        path = unquote(url.path)
        self.query = parse_qs(url.query)
        self.token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        self.hub.requests.append((method, path, self.token))
        self.fault = self.hub.fault_for(method, path)
        if self.fault is not None and self.fault.status is not None:
            return self.error(self.fault.status, "on purpose", headers=self.fault.headers)
        if self.fault is not None and self.fault.page is not None:
            return self.send(200, self.fault.page, "text/html")
        for known, pattern, handle in ROUTES:
            match = re.fullmatch(pattern, path)
            if match and method in known.split():
                with self.hub.lock:
                    return handle(self, **match.groupdict())
        return self.error(404, f"nothing at {method} {path}")

    def send(self, status, body, content_type="application/json", headers=None):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.fault is not None and self.fault.cut_after is not None:
            self.wfile.write(body[: self.fault.cut_after])
            self.wfile.flush()
            self.close_connection = True
            return
        self.wfile.write(body)

    def json(self, content, status=200, headers=None):
        self.send(status, json.dumps(content).encode(), headers=headers)

    def error(self, status, message, code=None, headers=None, **content):
        headers = {"X-Error-Message": message, **(headers or {})}
        if code is not None:
            headers["X-Error-Code"] = code
        self.json({"error": message, **content}, status, headers)

    @property
    def user(self):
        return self.hub.users.get(self.token, (None, False))

    def allowed(self, repo, write=False):
        """Find a repository, or answer with what the Hub says to someone who may not see or change it."""
        if self.token is not None and self.token not in self.hub.users:
            self.error(401, "Invalid credentials in Authorization header")
            return None
        found = self.hub.repos.get(repo)
        own = self.user[0] == repo.split("/")[0]
        if found is None or (found.private and not own):
            self.error(404 if self.token else 401, "Repository not found", "RepoNotFound")
            return None
        if write and not (own and self.user[1]):
            self.error(403, "Your token may not write to this repository")
            return None
        return found

    def at(self, repo, revision):
        """Find a repository and a commit of it."""
        found = self.allowed(repo)
        if found is None:
            return None, None
        oid = found.find(revision or "main")
        if oid is None:
            self.error(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return (found, oid) if oid else (None, None)

    # what is asked

    def whoami(self):
        if self.user[0] is None:
            return self.error(401, "Invalid credentials in Authorization header")
        return self.json({"name": self.user[0], "type": "user"})

    def create(self):
        asked = json.loads(self.body)
        owner = asked.get("organization") or self.user[0]
        name = f"{owner}/{asked['name']}"
        if self.user[0] is None:
            return self.error(401, "Invalid credentials in Authorization header")
        if self.user != (owner, True):
            return self.error(403, f"You don't have the rights to create a model under {owner}")
        content = {"url": f"{self.hub.url}/{name}", "name": name}
        if name in self.hub.repos:
            return self.error(409, "You already created this model repo", **content)
        self.hub.repos[name] = Repo(
            private=asked.get("visibility") == "private" or bool(asked.get("private"))
        )
        self.hub.repos[name].commit(
            {".gitattributes": Stored(b"*.safetensors filter=lfs\n")}, "initial commit"
        )
        return self.json(content)

    def validate_yaml(self):
        content = json.loads(self.body)["content"]
        match = re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)
        try:
            yaml.safe_load(match.group(1) if match else "")
        except yaml.YAMLError as error:
            return self.json({"errors": [{"message": str(error)}], "warnings": []}, 400)
        return self.json({"errors": [], "warnings": []})

    def preupload(self, repo, revision):
        found = self.allowed(repo, write=True)
        if found is None:
            return None
        present = found.files
        files = [
            {
                "path": one["path"],
                "uploadMode": "lfs" if one["path"].endswith(self.hub.lfs_suffixes) else "regular",
                "shouldIgnore": False,
                **({"oid": present[one["path"]].hash} if one["path"] in present else {}),
            }
            for one in json.loads(self.body)["files"]
        ]
        return self.json({"files": files})

    def lfs_batch(self, repo):
        if self.allowed(repo, write=True) is None:
            return None
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.hub.url}/lfs/{one['oid']}"}}}
            if one["oid"] not in self.hub.lfs
            else one
            for one in json.loads(self.body)["objects"]
        ]
        return self.json({"transfer": "basic", "objects": objects})

    def lfs_upload(self, oid):
        if hashlib.sha256(self.body).hexdigest() != oid:
            return self.error(400, "other content than announced")
        self.hub.lfs[oid] = self.body
        return self.send(200, b"")

    def commit(self, repo, revision):
        found = self.allowed(repo, write=True)
        if found is None:
            return None
        files = dict(found.files)
        header = {}
        for line in self.body.decode().splitlines():
            key, value = (json.loads(line)[part] for part in ("key", "value"))
            if key == "header":
                header = value
            elif key == "file":
                files[value["path"]] = Stored(base64.b64decode(value["content"]))
            elif key == "lfsFile":
                files[value["path"]] = Stored(self.hub.lfs[value["oid"]], lfs=True)
            elif key == "deletedFile":
                del files[value["path"]]
        if header.get("parentCommit") not in (None, found.branches["main"]):
            return self.error(412, "A commit has happened since. Please refresh and try again.")
        oid = found.commit(files, header["summary"])
        return self.json({"commitOid": oid, "commitUrl": f"{self.hub.url}/{repo}/commit/{oid}"})

    def info(self, repo, revision=None):
        found, oid = self.at(repo, revision)
        if found is not None:
            self.json(self.described(repo, found, oid, "blobs" in self.query))

    def described(self, repo, found, oid, blobs=False):
        siblings = []
        for name, file in found.commits[oid].items():
            one = {"rfilename": name}
            if blobs:
                one |= {"size": file.size, "blobId": file.git_hash if file.lfs else file.hash}
                if file.lfs:
                    one["lfs"] = {"size": file.size, "sha256": file.hash, "pointerSize": 130}
            siblings.append(one)
        metadata = found.metadata() if oid == found.branches["main"] else {}
        return {
            **{"id": repo, "modelId": repo, "sha": oid, "private": found.private, "siblings": siblings},
            **{"tags": metadata.get("tags", []), "cardData": metadata, "downloads": 0, "likes": 0},
            "lastModified": "2026-01-01T00:00:00.000Z",
        }

    def search(self):
        wanted, words = set(self.query.get("filter", [])), self.query.get("search", [""])[0]
        listed = [
            self.described(name, repo, repo.branches["main"])
            for name, repo in self.hub.repos.items()
            if words in name and (not repo.private or name.split("/")[0] == self.user[0])
        ]
        self.json([one for one in listed if wanted <= {*one["tags"], one["cardData"].get("library_name")}])

    def tree(self, repo, revision):
        found, oid = self.at(repo, revision)
        if found is not None:
            self.json(
                [
                    {
                        **{"type": "file", "path": name, "size": file.size, "oid": file.git_hash},
                        **(
                            {"lfs": {"size": file.size, "oid": file.hash, "pointerSize": 130}}
                            if file.lfs
                            else {}
                        ),
                    }
                    for name, file in found.commits[oid].items()
                ]
            )

    def resolve(self, repo, revision, path):
        found, oid = self.at(repo, revision)
        if found is None:
            return None
        file = found.commits[oid].get(path)
        headers = {"X-Repo-Commit": oid}
        if file is None:
            return self.error(404, "Entry not found", "EntryNotFound", headers)
        if file.lfs:
            headers |= {"X-Linked-ETag": f'"{file.etag}"', "X-Linked-Size": str(file.size)}
            headers["Location"] = f"{self.hub.storage_url}/stored/{repo}/{oid}/{path}?signature=x"
            return self.send(302, b"", headers=headers)
        headers["ETag"] = f'"{file.etag}"'
        return self.send_file(file, headers)

    def stored(self, repo, revision, path):
        self.send_file(self.hub.repos[repo].commits[revision][path], {})

    def send_file(self, file, headers):
        """Send a file, or the rest of it."""
        if file.endless and self.command == "GET":
            return self.send_forever(file.data, headers)
        data, status = file.data, 200
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if start:
            first = int(start.group(1))
            headers = {**headers, "Content-Range": f"bytes {first}-{len(data) - 1}/{len(data)}"}
            data, status = data[first:], 206
        self.send(status, data, "application/octet-stream", {**headers, "Accept-Ranges": "bytes"})

    def send_forever(self, data, headers):
        """Send a file again and again until nobody takes it, without saying how much comes."""
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        with suppress(ConnectionError):
            while self.hub.sent_bytes < MOST_SENT:
                self.hub.sent_bytes += self.wfile.write(data)

    def refs(self, repo):
        found = self.allowed(repo)
        if found is None:
            return None

        def listed(names, where):
            return [
                {"name": name, "ref": f"refs/{where}/{name}", "targetCommit": oid}
                for name, oid in names.items()
            ]

        return self.json(
            {"branches": listed(found.branches, "heads"), "tags": listed(found.tags, "tags"), "converts": []}
        )

    def add_tag(self, repo, revision):
        found = self.allowed(repo, write=True)
        if found is None:
            return None
        tag, oid = json.loads(self.body)["tag"], found.find(revision)
        if oid is None:
            return self.error(404, "Invalid rev id", "RevisionNotFound")
        if tag in found.tags:
            return self.error(409, f"Tag reference exists already: {tag}")
        found.tags[tag] = oid
        return self.json({})

    def drop_tag(self, repo, revision):
        found = self.allowed(repo, write=True)
        if found is not None and found.tags.pop(revision, None) is None:
            return self.error(404, "no such tag", "RevisionNotFound")
        return found and self.json({})


MODELS = f"/api/models/{REPO}"
REVISION = "(?P<revision>[^/]+|refs/[^/]+/[^/]+)"
ROUTES = [
    ("GET", "/api/whoami-v2", Handler.whoami),
    ("POST", "/api/repos/create", Handler.create),
    ("POST", "/api/validate-yaml", Handler.validate_yaml),
    ("GET", "/api/models", Handler.search),
    ("POST", f"{MODELS}/preupload/{REVISION}", Handler.preupload),
    ("POST", f"/{REPO}\\.git/info/lfs/objects/batch", Handler.lfs_batch),
    ("PUT", "/lfs/(?P<oid>[0-9a-f]{64})", Handler.lfs_upload),
    ("POST", f"{MODELS}/commit/{REVISION}", Handler.commit),
    ("GET", MODELS, Handler.info),
    ("GET", f"{MODELS}/revision/{REVISION}", Handler.info),
    ("GET", f"{MODELS}/tree/{REVISION}", Handler.tree),
    ("GET", f"{MODELS}/refs", Handler.refs),
    ("POST", f"{MODELS}/tag/{REVISION}", Handler.add_tag),
    ("DELETE", f"{MODELS}/tag/{REVISION}", Handler.drop_tag),
    ("GET HEAD", f"/{REPO}/resolve/{REVISION}/(?P<path>.+)", Handler.resolve),
    ("GET", f"/stored/{REPO}/{REVISION}/(?P<path>.+)", Handler.stored),
]
