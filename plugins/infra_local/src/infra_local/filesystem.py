"""Where a SQLite file must not be: file systems whose locks and shared memory do not hold between machines."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_NETWORK: Final = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2"}
    | {"smb", "smb2", "smb3", "smbfs"}
    | {f"fuse.{kind}" for kind in ("ceph", "davfs", "gcsfuse", "glusterfs", "rclone", "s3fs", "sshfs")}
)


def network_file_system(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str | None:
    """The type of the network file system that `path` is on; None when it is local or the system does not say (proc(5), mountinfo).

    Args:
        path: The file; it need not exist.
        mounts: Linux's list of mounts.
    """
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    target = path.resolve()
    longest, found = -1, ""
    for line in lines:
        fields = line.split(" ")
        if "-" not in fields or len(fields) < 10:
            continue
        point = fields[4].encode(errors="surrogateescape").decode("unicode_escape")
        if target.is_relative_to(point) and len(point) >= longest:  # a later mount on the same point hides the earlier
            longest, found = len(point), fields[fields.index("-") + 1]
    return found if found in _NETWORK else None
