"""The stand-in for S3: objects are files under the data folder, `s3/<bucket>/<key>`."""

import re
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

PRESIGNED = re.compile(r"\$\{aws:iot:s3-presigned-url:([^}]+)\}")


class Objects:
    """Objects by URL. `base`: where the stand-in serves them over HTTP."""

    def __init__(self, folder: Path, base: str) -> None:
        self.folder = folder
        self._base = base

    def read(self, url: str) -> bytes | None:
        """The object's bytes, None when there is none or the URL is no S3 URL."""
        try:
            path = self._path(url)
            return path.read_bytes() if path is not None and path.is_file() else None
        except (OSError, ValueError):  # a stranger's URL may hold what no file can be called
            return None

    def listed(self, bucket: str) -> list[tuple[str, int, float]]:
        """(key, bytes, Unix seconds of the last change) of the files of a bucket, the newest first."""
        folder = self.folder / bucket
        files = [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
        found = [(path.name, path.stat().st_size, path.stat().st_mtime) for path in files]
        return sorted(found, key=lambda entry: (-entry[2], entry[0]))

    def delete(self, bucket: str, key: str) -> bool:
        """Delete a file of a bucket; False when there is none of this name."""
        if key not in {name for name, _, _ in self.listed(bucket)}:
            return False
        (self.folder / bucket / key).unlink()
        return True

    def presigned(self, text: str) -> str:
        """Replace each presigned-URL placeholder by an address from which the object can be fetched now."""
        return PRESIGNED.sub(lambda found: self.address(found[1]), text)

    def address(self, url: str) -> str:
        """Where an object can be fetched over HTTP; a URL that is none of S3 stays as it is."""
        place = _place(url)
        return url if place is None else f"{self._base}/s3/{quote('/'.join(place))}"

    def host_and_path(self, url: str) -> dict[str, str]:
        """`{"host", "path"}` of an object, from which devices make https://<host>/<path>."""
        host, _, path = self.address(url).partition("://")[2].partition("/")
        return {"host": host, "path": path}

    def own(self, url: str) -> str | None:
        """The s3:// URL of what is served here at an http:// or https:// address, None for any other address."""
        served, found = urlsplit(self._base), url.partition("://")
        prefix = f"{served.netloc}/s3/"
        if found[0] not in ("http", "https") or not found[2].startswith(prefix):
            return None
        return f"s3://{found[2].removeprefix(prefix)}"

    def _path(self, url: str) -> Path | None:
        place = _place(url)
        if place is None:
            return None
        path = self.folder.joinpath(*place).resolve()
        return path if path.is_relative_to(self.folder.resolve()) else None


def _place(url: str) -> tuple[str, str] | None:
    """(bucket, key) of s3://bucket/key, https://bucket.s3.region.amazonaws.com/key or https://s3.region.amazonaws.com/bucket/key."""
    parts = urlsplit(url)
    path = unquote(parts.path).lstrip("/")
    if parts.scheme == "s3" and parts.netloc and path:
        return parts.netloc, path
    host = re.fullmatch(r"(?:(?P<bucket>[a-z0-9.-]+)\.)?s3[.-][a-z0-9.-]*amazonaws\.com", parts.netloc)
    if parts.scheme != "https" or host is None:
        return None
    bucket, key = (host["bucket"], path) if host["bucket"] else path.partition("/")[::2]
    return (bucket, key) if bucket and key else None
