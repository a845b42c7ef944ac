"""What is said on a broker, into a file."""
import os
import subprocess
import time
from pathlib import Path

from device import end_with_parent


def listen(port, path, *words):
    """A mosquitto_sub that adds to a file, and has subscribed on return, also to a broker that is just starting. The broker keeps its session
    under the file's name, so that nothing is missed between the broker's start and its own."""
    topic, token = f"heard/{Path(path).stem}", os.urandom(8).hex()
    command = ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(port), "-i", Path(path).stem, "-c", "-q", "1", "-t", topic, *words]
    process = None
    for _ in range(200):
        if process is None or process.poll() is not None:  # it ends when the broker is not there yet
            with open(path, "ab") as out:
                process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL, preexec_fn=end_with_parent)
        subprocess.run(["mosquitto_pub", "-h", "127.0.0.1", "-p", str(port), "-t", topic, "-m", token], capture_output=True)
        heard = Path(path).read_bytes()
        if token.encode() in heard or token.encode().hex().encode() in heard:
            return process
        time.sleep(0.05)
    raise AssertionError(f"mosquitto_sub does not hear the broker on port {port}")
