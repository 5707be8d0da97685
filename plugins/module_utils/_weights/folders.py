# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Access files through folder descriptors, because other users may be able to write to the folder of the models.

Other users can replace a part of a path by a link to any file of the host at any time. Therefore, each folder is opened
once, part by part and without following links of other users. All files in the folder are then opened, renamed and
removed relative to its descriptor. Only regular files are opened.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
from types import TracebackType
from typing import Any

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening a named pipe would wait until another program writes to it.
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAXIMUM_LINKS = 40
MAX_JSON_CHARACTERS = 256 << 20


class UnsafePathError(OSError):
    """The path leads to a file or folder that other users control. The message contains its path and a remedy."""


def resolve(path: str) -> str:
    """Return the path with all links resolved. Parts that do not exist are kept.

    :raises UnsafePathError: if a link belongs to another user, who could change its target to any folder.
    """
    todo, done, links = os.path.abspath(path).split("/")[::-1], "/", 0
    while todo:
        part = todo.pop()
        if part in ("", ".", ".."):
            done = os.path.dirname(done) if part == ".." else done
            continue
        here = os.path.join(done, part)
        try:
            found = os.lstat(here)
        except (FileNotFoundError, NotADirectoryError):
            done = here
            continue
        if not stat.S_ISLNK(found.st_mode):
            done = here
            continue
        links += 1
        if links > _MAXIMUM_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if found.st_uid not in (0, os.geteuid()):
            raise UnsafePathError(
                "%s is a link that belongs to the user id %d, who can point it to any folder; use the path of the "
                "folder itself, or make root the owner of the link (chown -h)" % (here, found.st_uid))
        target = os.readlink(here)
        done = "/" if target.startswith("/") else done
        todo += target.split("/")[::-1]
    return done


class Folder:
    """An open folder. All paths are relative to the folder, and must not lead out of it.

    :param descriptor: the descriptor of the folder, which is closed at the end of the ``with`` statement.
    :param path: the path of the folder, for messages and for links with an absolute target in the folder.
    """

    def __init__(self, descriptor: int, path: str) -> None:
        self.descriptor, self.path = descriptor, path

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
                 ) -> None:
        os.close(self.descriptor)

    @classmethod
    def open(cls, path: str, mode: int = 0, trusted: bool = False) -> Folder:
        """Open the folder at a path.

        :param mode: the mode with which the folder is created if it does not exist. Missing folders above it are also
            created. With 0, no folder is created.
        :param trusted: whether to require that only this user and root can change or replace the folder.
        :raises OSError: if the folder does not exist, or if other users control it.
        """
        real = resolve(path)
        folder = cls(os.open("/", _FOLDER), os.path.abspath(path))
        parts = [part for part in real.split("/") if part]
        for at, part in enumerate(parts):
            with folder as parent:
                folder = parent.folder(part, mode and (0o755 if at + 1 < len(parts) else mode))
                folder.path = os.path.join("/", *parts[:at + 1])
            if trusted:
                try:
                    folder.require_trusted(at + 1 == len(parts))
                except BaseException:
                    os.close(folder.descriptor)
                    raise
        folder.path = os.path.abspath(path)
        return folder

    def require_trusted(self, last: bool = True) -> None:
        """Raise UnsafePathError if users other than this user and root can change the folder.

        :param last: False for a folder above the trusted folder. Other users may write to it if it has the sticky bit,
            like ``/tmp``.
        """
        found = os.fstat(self.descriptor)
        writable = _writable_by_others(found) and (last or not found.st_mode & stat.S_ISVTX)
        if writable or found.st_uid not in (0, os.geteuid()):
            raise UnsafePathError("%s can be written by users other than root (owner %d, mode %o), and so cannot be "
                                  "trusted; change its owner and mode" % (
                                      self.path, found.st_uid, stat.S_IMODE(found.st_mode)))

    def own_folder(self, name: str, create: bool) -> Folder:
        """Open a folder in this folder that only this user can change, even if other users can write to this folder.

        :param create: whether to create the folder if it does not exist.
        :raises UnsafePathError: if the path is a link, or if another user can change the folder.
        """
        path = os.path.join(self.path, name)
        try:
            folder = self.folder(name, 0o700 if create else 0)
        except (NotADirectoryError, UnsafePathError) as error:
            raise UnsafePathError("%s is not a folder; remove it" % path) from error
        found = os.fstat(folder.descriptor)
        if _writable_by_others(found) or (found.st_uid != os.geteuid() and found.st_uid != self._uid_of_new_folders()):
            os.close(folder.descriptor)
            raise UnsafePathError(
                "%s can be written by users other than root (owner %d, mode %o); remove it to have it created again" % (
                    path, found.st_uid, stat.S_IMODE(found.st_mode)))
        return folder

    def _uid_of_new_folders(self) -> int:
        """Return the owner of a folder that this user creates here. On NFS with root_squash, this is another user."""
        name = ".new-" + os.urandom(8).hex()
        os.mkdir(name, 0o700, dir_fd=self.descriptor)
        try:
            return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False).st_uid
        finally:
            os.rmdir(name, dir_fd=self.descriptor)

    def folder(self, path: str, mode: int = 0) -> Folder:
        """Open a folder in this folder. Links are refused. Missing folders are created if ``mode`` is not 0."""
        folder, parent = Folder(os.dup(self.descriptor), self.path), ""
        for part in path.split("/") if path else ():
            parent = os.path.join(parent, part)
            with folder as above:
                _require_name(part, path)
                if mode:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, mode, dir_fd=above.descriptor)
                folder = Folder(_open(part, _FOLDER, above), os.path.join(self.path, parent))
        return folder

    def file(self, path: str, flags: int = os.O_RDONLY, mode: int = 0o600) -> int:
        """Open a regular file in this folder and return its descriptor. Links are refused."""
        parent, name = os.path.split(path)
        with self.folder(parent) as folder:
            _require_name(name, path)
            return _regular(_open(name, flags | _FILE, folder, mode), os.path.join(self.path, path))

    def opener(self, path: str, flags: int) -> int:
        """Open a regular file like `file`, but follow links to files in this folder. An ``opener`` for open()."""
        todo, links = path.split("/")[::-1], 0
        above = [Folder(os.dup(self.descriptor), self.path)]
        try:
            while todo:
                part = todo.pop()
                if part == ".." and len(above) > 1:
                    os.close(above.pop().descriptor)
                    continue
                if part in ("", "."):
                    continue
                _require_name(part, path)
                try:
                    target = os.readlink(part, dir_fd=above[-1].descriptor)
                except OSError as error:
                    if error.errno != errno.EINVAL:  # EINVAL: the file is not a link
                        raise
                    opened = _open(part, flags | _FILE if not todo else _FOLDER, above[-1])
                    if not todo:
                        return _regular(opened, os.path.join(self.path, path))
                    above.append(Folder(opened, path))
                    continue
                links += 1
                if links > _MAXIMUM_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                if target.startswith("/"):
                    if not target.startswith(self.path + "/"):
                        raise UnsafePathError("%s is a link out of the folder" % path)
                    target = target[len(self.path) + 1:]
                    while len(above) > 1:
                        os.close(above.pop().descriptor)
                todo += target.split("/")[::-1]
            raise UnsafePathError("%s is not a file" % path)
        finally:
            for folder in above:
                os.close(folder.descriptor)

    def is_inside(self, path: str) -> bool:
        """Return whether a file is in this folder and is not a link to a file outside the folder."""
        try:
            with contextlib.suppress(FileNotFoundError):
                os.close(self.opener(path, os.O_RDONLY))
        except UnsafePathError:
            return False
        return True

    def files(self, links: bool) -> dict[str, os.stat_result]:
        """Return ``{path: os.stat_result}`` of the files that are not hidden, and optionally of links to files."""
        found, todo = {}, [""]
        while todo:
            parent = todo.pop()
            # Another user can remove or replace files in the meantime. A broken link counts as a missing file.
            with contextlib.suppress(OSError), self.folder(parent) as folder:
                for name in os.listdir(folder.descriptor):
                    if name.startswith("."):
                        continue
                    with contextlib.suppress(OSError):
                        status = os.stat(name, dir_fd=folder.descriptor, follow_symlinks=False)
                        if stat.S_ISDIR(status.st_mode):
                            todo.append(os.path.join(parent, name))
                        if links and stat.S_ISLNK(status.st_mode):
                            status = os.stat(name, dir_fd=folder.descriptor)
                        if stat.S_ISREG(status.st_mode):
                            found[os.path.join(parent, name)] = status
        return found

    def unlink(self, path: str) -> None:
        """Remove a file, or a link itself. Do nothing if the file does not exist, or if its folder is a link."""
        parent, name = os.path.split(path)
        _require_name(name, path)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), self.folder(parent) as folder:
            os.unlink(name, dir_fd=folder.descriptor)

    def move(self, path: str, target: Folder, target_path: str) -> None:
        """Move a file or folder to another folder on the same file system by a rename. An existing file is replaced."""
        (source_parent, source), (parent, name) = os.path.split(path), os.path.split(target_path)
        _require_name(source, path)
        _require_name(name, target_path)
        with self.folder(source_parent) as source_folder, target.folder(parent, 0o755) as target_folder:
            os.rename(source, name, src_dir_fd=source_folder.descriptor, dst_dir_fd=target_folder.descriptor)

    def remove_tree(self, name: str) -> None:
        """Remove a folder and its content, or a file. Links are removed and not followed."""
        _require_name(name, name)
        # Below this path, rmtree itself opens folders by descriptor.
        shutil.rmtree("/proc/self/fd/%d/%s" % (self.descriptor, name), ignore_errors=True)
        with contextlib.suppress(OSError):  # rmtree does not remove a file or a link
            os.unlink(name, dir_fd=self.descriptor)

    def identity(self) -> str:
        """Return the device and the inode of the folder, which are the same in a container that mounts the folder."""
        found = os.fstat(self.descriptor)
        return "%d:%d" % (found.st_dev, found.st_ino)

    def read_json(self, name: str) -> Any:
        """Return the content of a JSON file, or None if the file does not exist.

        :raises OSError: if the file cannot be read.
        :raises ValueError: if the file is not JSON, or has more than `MAX_JSON_CHARACTERS`.
        """
        try:
            descriptor = self.file(name)
        except FileNotFoundError:
            return None
        with open(descriptor, encoding="utf-8") as stream:
            try:
                return json.loads(stream.read(MAX_JSON_CHARACTERS))
            except RecursionError as error:
                raise ValueError("%s is nested too deeply" % os.path.join(self.path, name)) from error

    def write_json(self, name: str, data: Any) -> None:
        """Write a JSON file atomically. Only this user can read it."""
        temporary = ".new-" + os.urandom(8).hex()
        descriptor = self.file(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            with open(descriptor, "w", encoding="utf-8") as stream:
                json.dump(data, stream, indent=1, sort_keys=True)
                stream.write("\n")
                stream.flush()
                os.fsync(stream.fileno())
            self.move(temporary, self, name)
        except BaseException:
            self.unlink(temporary)
            raise


def open_existing(path: str, trusted: bool = False) -> contextlib.AbstractContextManager[Folder | None]:
    """Open the folder at a path like `Folder.open`, for a ``with`` statement. The target is None without a folder."""
    try:
        return Folder.open(path, trusted=trusted)
    except (FileNotFoundError, NotADirectoryError):
        return contextlib.nullcontext()


def _writable_by_others(found: os.stat_result) -> bool:
    # With a umask of 002, folders of root are writable by the group root, which has no other members.
    foreign_group = found.st_gid not in (0, os.getegid())
    return bool(found.st_mode & (stat.S_IWOTH | (stat.S_IWGRP if foreign_group else 0)))


def _open(name: str, flags: int, folder: Folder, mode: int = 0o600) -> int:
    try:
        return os.open(name, flags, mode, dir_fd=folder.descriptor)
    except OSError as error:
        # ENXIO: the file is a socket, or a named pipe that no program reads
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise UnsafePathError("%s is not a regular file" % os.path.join(folder.path, name)) from error
        raise


def _regular(descriptor: int, path: str) -> int:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnsafePathError("%s is not a regular file" % path)
    return descriptor


def _require_name(name: str, path: str) -> None:
    if name in ("", ".", "..") or "/" in name:
        raise UnsafePathError("%s leads out of its folder" % path)
