"""A local server that answers as the Hugging Face Hub does, and the settings that lead to it."""

import contextlib
import hashlib
import http.server
import json
import pathlib
import threading
import urllib.parse
from collections.abc import Iterator

# Files that the Hub keeps as large ones, to which it redirects.
LARGE = (".bin", ".h5", ".safetensors")


def commit_of(revision: str) -> str:
    """The commit that a branch or tag stands for; a commit is itself."""
    is_commit = len(revision) == 40
    return revision if is_commit else hashlib.sha1(revision.encode()).hexdigest()


class HubServer(http.server.ThreadingHTTPServer):
    """Serves repositories.

    Attributes:
        repositories: Name -> revision -> directory.
        gated: Names of repositories whose terms must be accepted.
        cut: Names of large files of which only the first half arrives; each is cut once.
        status: The status of every answer, if the server refuses all requests.
        shortened: Names of large files that arrive shorter than they are, as if complete.
        moves: Names of branches whose files are of the revision "moved" after they were listed.
        requests: Method and path of each request.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, pathlib.Path]] = {}
        self.gated: set[str] = set()
        self.cut: set[str] = set()
        self.status: int | None = None
        self.shortened: set[str] = set()
        self.moves: set[str] = set()
        self.requests: list[str] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def downloads(self) -> list[str]:
        """The names of the files that were sent, in order."""
        paths = (request.split(" ")[1] for request in self.requests if request.startswith("GET"))
        return [path.rpartition("/")[2] for path in paths if not path.startswith("/api/")]

    def environment(self, cache) -> dict[str, str]:
        """The variables with which huggingface_hub asks this server, with its cache in a folder."""
        return {"HF_ENDPOINT": self.endpoint, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "0"}


@contextlib.contextmanager
def running_hub() -> Iterator[HubServer]:
    """Run a server in this process."""
    with HubServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        self._answer()

    def log_message(self, format, *args):
        pass

    def _answer(self):
        self.server.requests.append(f"{self.command} {self.path}")
        if self.server.status is not None:
            return self._refuse(self.server.status, "")
        path = urllib.parse.urlsplit(self.path).path
        # A slash in the name of a revision is quoted.
        match [urllib.parse.unquote(part) for part in path.strip("/").split("/")]:
            case ["large", owner, name, revision, *file]:
                self._send_file(self._folder(f"{owner}/{name}", revision) / "/".join(file))
            case ["api", "models", owner, name, *rest]:
                revision = rest[1] if rest[1:] else "main"
                if (folder := self._folder(f"{owner}/{name}", revision)) is not None:
                    files = _tree(folder) if rest[:1] == ["tree"] else _about(folder, revision)
                    self._send(json.dumps(files).encode(), {"Content-Type": "application/json"})
            case [owner, name, "resolve", revision, *file]:
                self._resolve(f"{owner}/{name}", revision, "/".join(file))
            case _:
                self._refuse(404, "EntryNotFound")

    def _folder(self, repository: str, revision: str) -> pathlib.Path | None:
        revisions = self.server.repositories.get(repository)
        if revisions is None:
            # The Hub does not tell whether a private repository exists.
            return self._refuse(401, "RepoNotFound")
        for name, folder in revisions.items():
            if revision in (name, commit_of(name)):
                return folder
        return self._refuse(404, "RevisionNotFound")

    def _resolve(self, repository: str, revision: str, file: str):
        revision = "moved" if revision in self.server.moves else revision
        folder = self._folder(repository, revision)
        if folder is None:
            return
        if repository in self.server.gated:
            self._refuse(401, "GatedRepo")
        elif not (folder / file).is_file():
            self._refuse(404, "EntryNotFound")
        elif file.endswith(LARGE):
            content = (folder / file).read_bytes()
            headers = {
                "Location": f"/large/{repository}/{revision}/{file}",
                "X-Repo-Commit": commit_of(revision),
                "X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"',
                "X-Linked-Size": str(len(content)),
            }
            # Another host, as that of the Hub's large files is, so that it is not followed at once.
            headers["Location"] = f"http://localhost:{self.server.server_port}{headers['Location']}"
            self._send(b"", headers, 302)
        else:
            self._send_file(folder / file, {"X-Repo-Commit": commit_of(revision)})

    def _send_file(self, path: pathlib.Path, headers: dict[str, str] | None = None):
        content = path.read_bytes()
        tag = f'"{hashlib.sha1(content).hexdigest()}"'
        if path.name in self.server.shortened:
            content = content[:-1]
        status, start = 200, 0
        if wanted := self.headers.get("Range"):
            status, start = 206, int(wanted.removeprefix("bytes=").rstrip("-"))
            headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        self._send(content[start:], {"ETag": tag, **(headers or {})}, status, path.name)

    def _refuse(self, status: int, code: str):
        self._send(b"{}", {"X-Error-Code": code}, status)

    def _send(self, body: bytes, headers: dict[str, str], status: int = 200, name: str = ""):
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if name in self.server.cut:
            self.server.cut.remove(name)
            body = body[: len(body) // 2]
            self.close_connection = True
        self.wfile.write(body)


def _about(folder: pathlib.Path, revision: str) -> dict:
    siblings = [{"rfilename": entry["path"]} for entry in _tree(folder)]
    return {"id": folder.name, "sha": commit_of(revision), "siblings": siblings, "tags": []}


def _tree(folder: pathlib.Path) -> list[dict]:
    entries = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        content = path.read_bytes()
        file = path.relative_to(folder).as_posix()
        oid = hashlib.sha1(content).hexdigest()
        entry = {"type": "file", "path": file, "size": len(content), "oid": oid}
        if file.endswith(LARGE):
            sha = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"oid": sha, "size": len(content), "pointerSize": 134}
        entries.append(entry)
    return entries
