"""A whole machine under system emulation: Debian's kernel, a small initramfs, one ext4 disk that outlives resets, the watchdog card i6300esb.
The host runs commands in it over a second serial port. Ended by its process id; no network."""
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(HERE.parents[1] / "integration/control"))
from device import end_with_parent  # noqa: E402

QEMU = "qemu-system-x86_64"
MODULES = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4", "i6300esb")
BOOT_S = 60.0  # emulated without KVM, on a busy machine
UP = "machine: up"
END = "machine: end "
# Serial line 1 is the console, line 2 the host's: one command a line, run by this shell.
INIT = f"""#!/bin/busybox sh
export PATH=/bin
/bin/busybox mkdir -p /proc /sys /dev /data /tmp
busybox mount -t proc none /proc
busybox mount -t sysfs none /sys
busybox mount -t devtmpfs none /dev
for module in $(busybox cat /modules/order); do busybox insmod /modules/$module.ko; done
busybox mount -t ext4 -o noatime /dev/vda /data || echo "machine: no disk"
exec 3<>/dev/ttyS1  # kept open: the first open resets the line
busybox stty -F /dev/ttyS1 raw -echo
echo "{UP}"
while read -r line <&3; do
  eval "$line" >&3 2>&1
  echo "{END}$?" >&3
done
"""


class Missing(Exception):
    """What this computer lacks, and what to do."""


def in_order(files):
    """The wanted modules behind all that they need, as insmod wants them; what has no file is built into the kernel."""
    order = []

    def need(name):
        if name not in files or name in order:
            return
        depends = re.search(rb"\0depends=([^\0]*)\0", files[name].read_bytes())
        for other in depends[1].decode().split(",") if depends else ():
            need(other)
        order.append(name)
    for name in MODULES:
        need(name)
    return {name: files[name] for name in order}


def find_kernel():
    """(kernel image, {module: file} in order) of build/kernel/amd64, or of a Debian that runs here."""
    places = [(ROOT / "build/kernel/amd64/vmlinuz", ROOT / "build/kernel/amd64/modules")]
    places += [(image, Path("/lib/modules") / image.name.removeprefix("vmlinuz-")) for image in sorted(Path("/boot").glob("vmlinuz-*"), reverse=True)]
    for image, folder in places:
        modules = {path.stem: path for path in folder.rglob("*.ko")}
        if "i6300esb" in modules and os.access(image, os.R_OK):
            return image, in_order(modules)
    raise Missing("no kernel with the i6300esb watchdog: run tests/system/qemu/get-kernel")


def tool(name, package):
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if not found:
        raise Missing(f"{name} is not installed (package {package}): run tools/setup --tests")
    return found


def check_tools():
    if os.uname().machine != "x86_64":
        raise Missing(f"the machine under test is an x86-64 one, and this computer is {os.uname().machine}")
    tool(QEMU, "qemu-system-x86")
    tool("mkfs.ext4", "e2fsprogs")
    busybox = tool("busybox", "busybox-static")
    if b"/ld-linux" in Path(busybox).read_bytes():
        raise Missing(f"{busybox} is not linked statically: install busybox-static (tools/setup --tests)")
    find_kernel()


class Cpio:
    """An initramfs in the `newc` format (Documentation/driver-api/early-userspace/buffer-format.rst in the kernel)."""

    def __init__(self):
        self.data = b""
        self.count = 0

    def add(self, name, mode, content=b""):
        self.count += 1
        encoded = name.encode() + b"\0"
        numbers = (self.count, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
        self._put(b"070701" + b"".join(b"%08x" % number for number in numbers) + encoded)
        self._put(content)

    def _put(self, part):
        self.data += part + bytes(-(len(self.data) + len(part)) % 4)

    def folder(self, name):
        self.add(name, stat.S_IFDIR | 0o755)

    def file(self, name, content, mode=0o755):
        self.add(name, stat.S_IFREG | mode, content)

    def link(self, name, target):
        self.add(name, stat.S_IFLNK | 0o777, target.encode())

    def finish(self):
        self.add("TRAILER!!!", 0)
        return self.data


def initramfs():
    _, modules = find_kernel()
    archive = Cpio()
    for folder in ("bin", "modules"):
        archive.folder(folder)
    archive.file("bin/busybox", Path(tool("busybox", "busybox-static")).read_bytes())
    archive.link("bin/sh", "busybox")
    archive.link("lib64", "/data/lib")  # where the dynamic linker is looked for
    for name, file in modules.items():
        archive.file(f"modules/{name}.ko", file.read_bytes(), 0o644)
    archive.file("modules/order", "\n".join(modules).encode() + b"\n", 0o644)
    archive.file("init", INIT.encode())
    return archive.finish()


def add_program(program, folder):
    """The program and every library that it loads, into folder/bin and folder/lib."""
    for name in ("bin", "lib"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    shutil.copy2(program, folder / "bin")
    listed = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True).stdout
    for path in re.findall(r"(/\S+) \(0x", listed):
        shutil.copy2(path, folder / "lib")


class Machine:
    def __init__(self, folder, content, disk_bytes=512 << 20, memory="768M"):
        """`content`: the folder that the disk begins with; found under /data in the machine."""
        self.folder = folder
        self.memory = memory
        self.image, _ = find_kernel()
        (folder / "initramfs").write_bytes(initramfs())
        self.disk = folder / "disk.img"
        with open(self.disk, "wb") as file:
            file.truncate(disk_bytes)
        made = subprocess.run([tool("mkfs.ext4", "e2fsprogs"), "-q", "-F", "-d", content, self.disk], capture_output=True, text=True, check=False)
        if made.returncode:
            raise RuntimeError(f"mkfs.ext4: {made.stderr}")
        self.process = None
        self.console = ""
        self.port = None

    def start(self):
        port = str(self.folder / "port")
        command = [tool(QEMU, "qemu-system-x86"), "-no-user-config", "-nodefaults", "-display", "none", "-accel", "tcg", "-cpu", "max",
                   "-m", self.memory, "-kernel", self.image, "-initrd", self.folder / "initramfs", "-append", "console=ttyS0 quiet panic=-1",
                   "-drive", f"file={self.disk},format=raw,if=virtio", "-serial", "stdio",
                   "-chardev", f"socket,id=port,path={port},server=on,wait=off", "-serial", "chardev:port",
                   "-device", "i6300esb", "-action", "watchdog=reset"]
        self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        preexec_fn=end_with_parent)
        threading.Thread(target=self._listen, daemon=True).start()
        self.wait_for_boot(1)
        self.port = socket.socket(socket.AF_UNIX)
        self.port.connect(port)

    def _listen(self):
        try:
            while data := os.read(self.process.stdout.fileno(), 1 << 16):
                self.console += data.decode(errors="replace")
        except (OSError, ValueError):
            pass  # closed: the machine was switched off

    @property
    def boots(self):
        return self.console.count(UP)

    def wait_for_boot(self, number, seconds=BOOT_S):
        """Until it has come up that often since it was switched on; returns the seconds that took."""
        begun = time.monotonic()
        while self.boots < number:
            if self.process.poll() is not None:
                raise RuntimeError(f"{QEMU} ended with {self.process.returncode}: {self.console[-2000:]}")
            if time.monotonic() - begun > seconds:
                raise TimeoutError(f"no boot number {number} within {seconds:.0f} s; the end of the console:\n{self.console[-2000:]}")
            time.sleep(0.02)
        return time.monotonic() - begun

    def send(self, command):
        """A line after which nobody answers."""
        self.port.sendall(command.encode() + b"\n")

    def run(self, command, seconds=30.0):
        """One line for the machine's shell; returns (exit status, output)."""
        self.port.settimeout(seconds)
        self.send(command)
        said = b""
        while True:
            ends = re.search(END.encode() + rb"(\d+)\r?\n", said)
            if ends:
                return int(ends[1]), said[:ends.start()].decode(errors="replace").replace("\r", "")
            part = self.port.recv(1 << 16)
            if not part:
                raise RuntimeError("the machine is gone")
            said += part

    def close(self):
        if self.port is not None:
            self.port.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
